"""What pages in a browser may do: CORS, and no change by pages of others where nobody logs in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from agent.card_security import knows_callers
from agent.transport.problem import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from agent.settings import Settings
    from agent.settings.access import Authentication

logger = logging.getLogger(__name__)

# What scripts may read of a response beside what CORS always lets them.
EXPOSED = (
    "A2A-Extensions",
    "X-A2A-Extensions",
    "ETag",
    "Link",
    "Retry-After",
    "WWW-Authenticate",
    "X-Llama-Stack-Engine",
    "X-Request-ID",
    "X-Rerank-Method",
)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Cors:
    """Takes the requests that name an origin, which browsers do, and hardly anybody else."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Wrap ``app``."""
        cors = settings.service.cors
        self._app = app
        self._middleware = CORSMiddleware(
            app,
            allow_origins=allowed_origins(settings),
            allow_methods=cors.allow_methods,
            allow_headers=cors.allow_headers,
            allow_credentials=cors.allow_credentials,
            expose_headers=EXPOSED,
        )
        self._obeys_pages = not _shows_itself(settings.authentication)
        self._own = _origin(settings.service.public_url)
        self._has_told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer preflight requests; refuse what only a page that is up to no good sends."""
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        is_allowed = all(map(self._middleware.is_allowed_origin, origins))
        is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if is_allowed or is_preflight:
            if not is_allowed:
                self._tell(origins)
            await self._middleware(scope, receive, send)
        elif self._is_foreign(scope["method"], origins, headers.get("host", "")):
            self._tell(origins)
            text = "Pages of this origin may not change anything here; see service.cors"
            await problem(403, "PERMISSION_DENIED", text)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _tell(self, origins: list[str]) -> None:
        """Say once what to do for pages that should get in: any page can ask, and without end."""
        if not self._has_told:
            self._has_told = True
            logger.warning(
                "Pages of %.200r may not call; service.cors.allow_origins names those that may",
                ", ".join(origins),
            )

    def _is_foreign(self, method: str, origins: list[str], host: str) -> bool:
        """Whether a page of somebody else wants more than to read, which the browser prevents.

        A browser sends some requests before it asks whether it may. Where callers have to show who
        they are, such a request shows nothing; where everybody is believed, it would be obeyed. So
        it would behind a gateway that knows its callers by a cookie, which browsers send with it.
        """
        if not self._obeys_pages or method in _READING:
            return False
        return not all(origin == self._own or _is_of(host, origin) for origin in origins)


def allowed_origins(settings: Settings) -> tuple[str, ...]:
    """Return the origins whose pages may call; ``*`` is any.

    LCS lets all of them. Where everybody is believed that would let any page drive the agent that its
    reader runs, and behind a gateway that of whoever is logged in there, so that none may unless the
    settings say so.
    """
    said = settings.service.cors.allow_origins
    if said is not None:
        return said
    return ("*",) if _shows_itself(settings.authentication) else ()


def _shows_itself(authentication: Authentication) -> bool:
    """Whether callers add what they show by themselves, which pages of others cannot make them do."""
    return knows_callers(authentication) and authentication.module != "rh-identity"


def _is_of(host: str, origin: str) -> bool:
    """Compare as text: what comes from a caller need not be a URL, and ``null`` has no host."""
    return bool(host) and origin.partition("://")[2] == host


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
