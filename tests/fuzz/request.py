"""One request as it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.conformance.wire import Wire
    from tests.fuzz.served import Headers


class Sent(NamedTuple):
    """``target`` is path and query."""

    wire: Wire
    method: str
    target: str
    headers: Headers
    body: bytes
