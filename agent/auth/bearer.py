"""Bearer tokens (RFC 6750): where they stand in a request, and what is said when there is no good one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

CHALLENGE = 'Bearer realm="llamastack-a2a"'
TOKEN_CHARS = 16 * 1024

# More than RFC 6750 allows, for keys that people make up. No comma: two headers are a list of two.
_TOKEN = r"[!-+\--~]+"  # noqa: S105 - a pattern
_CREDENTIALS = re.compile(rf"[ \t]*bearer[ \t]+({_TOKEN})[ \t]*", re.IGNORECASE | re.ASCII)
_UNQUOTABLE = re.compile(r"[^ !#-\[\]-~]")


def bearer_token(headers: Mapping[str, str]) -> str:
    """Return the token; the names of ``headers`` are lower-case. Raises ``Unauthenticated``."""
    shown = headers.get("authorization")
    if not shown:
        raise Unauthenticated("No Authorization header found", CHALLENGE)
    if not (credentials := _CREDENTIALS.fullmatch(shown)):
        raise Unauthenticated("No token found in Authorization header", CHALLENGE)
    token = credentials[1]
    if len(token) > TOKEN_CHARS:
        raise invalid_token("The token is too long")
    return token


def shown_token(headers: Mapping[str, str]) -> str | None:
    """Return the token, or what stands in its place; None when nothing does. It can be any text."""
    shown = headers.get("authorization")
    if not shown:
        return None
    credentials = _CREDENTIALS.fullmatch(shown)
    return credentials[1] if credentials else shown


def invalid_token(cause: str, *, counts: bool = True) -> Unauthenticated:
    """Return the error that says what is wrong with a token (section 3.1)."""
    description = _UNQUOTABLE.sub("?", cause)
    return Unauthenticated(
        cause,
        f'{CHALLENGE}, error="invalid_token", error_description="{description}"',
        counts=counts,
    )


def can_be_sent(token: str) -> bool:
    """Tell whether ``bearer_token`` could ever return this one."""
    return len(token) <= TOKEN_CHARS and re.fullmatch(_TOKEN, token) is not None
