"""Against DNS rebinding: a page whose own name has come to mean this machine is not served."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.auth.warning import is_loopback
from agent.card_security import knows_callers
from agent.transport.problem import problem
from agent.transport.security_headers import security_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from agent.settings import Settings


def with_known_hosts(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Return ``app``, refusing unknown hosts where being on this machine is all that is asked of callers.

    Beyond loopback others call by whatever name they know it by, as LCS lets them.
    """
    if knows_callers(settings.authentication) or not is_loopback(settings.service.host):
        return app
    return _KnownHosts(app, settings)


class _KnownHosts:
    """Takes requests for loopback and the host of ``service.base_url`` alone."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        service = settings.service
        self._app = app
        self._own = urlsplit(service.public_url).hostname or ""
        # Looked up first; the names of loopback are many.
        self._known = {f"{name}:{service.port}".encode() for name in ("localhost", "127.0.0.1")}
        self._headers = {name.decode(): value.decode() for name, value in security_headers(service)}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"host" and value not in self._known and not self._is_known(value):
                    text = "This server is not known by that name; see service.base_url"
                    answer = problem(421, "FAILED_PRECONDITION", text, self._headers)
                    return answer(scope, receive, send)
        return self._app(scope, receive, send)

    def _is_known(self, value: bytes) -> bool:
        try:
            host = urlsplit(f"//{value.decode('ascii')}").hostname or ""
        except ValueError:
            return False
        return is_loopback(host.removesuffix(".")) or host == self._own
