"""``GET /a2a/health``: that A2A is served here, and by what; everybody may ask."""

from datetime import UTC, datetime
from importlib.metadata import version

from fastapi import APIRouter

from agent.card import own_version
from rest_compat.callers import Callers


def make_a2a_health(callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("a2a")
    sdk = version("a2a-sdk")

    @router.get(
        "/a2a/health",
        operation_id="a2a_health_check_a2a_health_get",
        summary="A2A Health Check",
    )
    async def a2a_health() -> dict[str, str]:
        """Tell that A2A is served, and the versions of this server and of the A2A SDK."""
        return {
            "status": "healthy",
            "service": "lightspeed-a2a",
            "version": own_version(),
            "a2a_sdk_version": sdk,
            "timestamp": datetime.now(UTC).isoformat(),
        }

    return router
