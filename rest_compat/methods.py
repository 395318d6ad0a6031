"""The methods that a path has: FastAPI tells those of one route, of several that share the path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.routing import iter_route_contexts
from starlette.responses import JSONResponse
from starlette.routing import compile_path

if TYPE_CHECKING:
    from starlette.requests import Request


async def method_not_allowed(request: Request, _error: Exception) -> JSONResponse:
    """Answer a method that the path has not, with those that it has."""
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    allowed = {
        method
        for known in iter_route_contexts(request.app.routes)
        if known.path is not None and compile_path(known.path)[0].match(path)
        for method in known.methods or ()
    }
    headers = {"Allow": ", ".join(sorted(allowed))}
    return JSONResponse({"detail": "Method Not Allowed"}, 405, headers)
