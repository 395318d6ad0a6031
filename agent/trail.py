"""What one request touches, as far as it is known while it is served; the audit log tells it in the end."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

ID_CHARS = 256
"""How much of an id is kept; those that callers choose are bounded elsewhere, but not before all errors."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_current: ContextVar[str | None] = ContextVar("request id", default=None)


class Trail:
    """Ids of objects, and for whom they are touched; nothing else of what a request holds."""

    __slots__ = (
        *("objects", "owner", "request_id", "shows_credentials", "surface", "tenant"),
        *("user_id", "username"),
    )

    def __init__(self, request_id: str, surface: str) -> None:
        """``surface`` is what the request came by, such as ``jsonrpc``."""
        self.request_id = request_id
        self.surface = surface
        self.tenant = ""
        self.shows_credentials = False
        self.user_id: str | None = None
        self.username: str | None = None
        self.owner: str | None = None
        self.objects: dict[str, str] = {}

    def note(self, name: str, value: str | None) -> None:
        """Keep the id of an object, the latest by its name; None takes it back."""
        if value:
            self.objects[name] = value[:ID_CHARS]
        else:
            self.objects.pop(name, None)

    def anew(self) -> Trail:
        """Return an empty one for the same request: it may be a batch of many."""
        return Trail(self.request_id, self.surface)


def request_id_of(shown: str | None) -> str:
    """Return the ``X-Request-Id`` that a request shows, if it can be one, else one of our own."""
    if shown is not None and _REQUEST_ID.fullmatch(shown):
        return shown
    return secrets.token_hex(16)


def begin_request(shown: str | None) -> None:
    """Keep the ``X-Request-Id`` that the request shows which is now served; most are never asked for it."""
    _current.set(shown)


def current_request_id() -> str:
    """Return the one id of the request that is served, for whatever is told of it."""
    request_id = request_id_of(_current.get())
    _current.set(request_id)
    return request_id
