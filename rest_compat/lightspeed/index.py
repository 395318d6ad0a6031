"""``GET /``: a page with the way to the documentation."""

import base64
import hashlib
from html import escape

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse

from agent.settings import Settings
from rest_compat.callers import Callers
from rest_compat.lightspeed.responses import ACCESS

_STYLE = "body{font-family:sans-serif;text-align:center;margin-top:4em}a{line-height:2em}"
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"


def make_index(settings: Settings, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("root")
    name = escape(settings.name)

    @router.get(
        "/",
        operation_id="root_endpoint_handler__get",
        summary="Root Endpoint Handler",
        dependencies=[Depends(callers.may("info"))],
        response_class=HTMLResponse,
        responses=ACCESS,
    )
    async def index(request: Request) -> HTMLResponse:
        """Return a page with links to the documentation, as Swagger UI and as ReDoc."""
        prefix = request.scope.get("root_path", "").rstrip("/")
        page = _PAGE.format(name=name, style=_STYLE, prefix=escape(prefix))
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    return router


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{name}</title>
<style>{style}</style>
</head>
<body>
<h1>{name}</h1>
<div><a href="{prefix}/docs">Swagger UI</a></div>
<div><a href="{prefix}/redoc">ReDoc</a></div>
</body>
</html>
"""
