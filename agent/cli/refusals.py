"""What is refused before it is a request, and how that is answered."""

from __future__ import annotations

from typing import NamedTuple

HEADERS = 100


class Refusal(NamedTuple):
    """An answer after which the connection is closed: ``status`` with its phrase, and ASCII text."""

    status: str
    text: str

    def __bytes__(self) -> bytes:
        """Return the whole answer as it is sent."""
        lines = (
            f"HTTP/1.1 {self.status}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(self.text)}",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "connection: close",
        )
        return "\r\n".join((*lines, "", self.text)).encode("ascii")


LATE = Refusal("408 Request Timeout", "The request did not arrive in time.")
TOO_LARGE = Refusal("431 Request Header Fields Too Large", "The head of the request is too large.")
TOO_MANY = Refusal(
    "431 Request Header Fields Too Large", f"A request has at most {HEADERS} headers."
)
FULL = Refusal("503 Service Unavailable", "This server has as many connections as it can take.")
