"""Where the binding stands in the application: its own paths, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from starlette.routing import BaseRoute, Match, NoMatchFound

from agent.http_json.binding import HttpJson
from agent.http_json.paths import Paths, path_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from agent.auth.gate import Gate
    from agent.operations import Operations
    from agent.settings import Settings

_TARGET = "http_json.target"


class HttpJsonRoute(BaseRoute):
    """All paths of the binding: Starlette's own patterns cannot tell ``/tasks/a:b:cancel`` apart."""

    def __init__(
        self,
        operations: Operations,
        gate: Gate,
        settings: Settings,
    ) -> None:
        """``operations`` is the table that all bindings share."""
        self._binding = HttpJson(operations, gate, settings)
        self._paths = Paths(settings.a2a.tenants)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Claim the paths of the binding, whatever the method."""
        if scope["type"] != "http":
            return Match.NONE, {}
        target = self._paths.find(path_of(scope))
        return (Match.NONE, {}) if target is None else (Match.FULL, {_TARGET: target})

    def url_path_for(self, name: str, /, **path_params: Any) -> Never:
        """Refuse: no path here has a name."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._binding.answer(scope[_TARGET], scope, receive, send)
