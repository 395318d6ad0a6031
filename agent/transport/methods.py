"""What is answered where a path is known and its method is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Match, Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def not_this_way(request: Request, _error: Exception) -> Response:
    """Refuse as LCS does; ``Allow`` has the methods of all that is at the path."""
    allowed: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            allowed |= route.methods or set()
    headers = {"Allow": ", ".join(sorted(allowed))}
    return JSONResponse({"detail": "Method Not Allowed"}, 405, headers)
