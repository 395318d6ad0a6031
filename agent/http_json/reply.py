"""The HTTP response to one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.jsonrpc import echoing

if TYPE_CHECKING:
    from starlette.types import Send

    from agent.http_json.status import Problem

type Headers = list[tuple[bytes, bytes]]


class Reply:
    """Sends one response: JSON, an error, or nothing."""

    def __init__(self, send: Send, media_type: str, *, named: bool, is_head: bool) -> None:
        """``named`` errors carry what the SDKs of 0.3 look for; ``is_head`` leaves bodies out."""
        self.headers: Headers = []
        self.named = named
        self.send = send
        self._content_type = media_type.encode()
        self._is_head = is_head

    def echo(self, extensions: tuple[str, ...]) -> None:
        """Name the extensions that are in use, whatever is answered."""
        if extensions:
            self.send = echoing(self.send, extensions)

    async def json(self, body: bytes, status: int = 200) -> None:
        """Answer with JSON."""
        headers = [
            (b"content-type", self._content_type),
            (b"content-length", b"%d" % len(body)),
            *self.headers,
        ]
        await self._answer(status, headers, b"" if self._is_head else body)

    async def nothing(self) -> None:
        """Answer that all is done."""
        await self._answer(204, self.headers, b"")

    async def problem(self, problem: Problem) -> None:
        """Answer with an error."""
        if problem.retry_after is not None:
            self.headers.append((b"retry-after", b"%d" % problem.retry_after))
        if problem.challenge:
            self.headers.append((b"www-authenticate", problem.challenge.encode("latin-1")))
        if problem.allow:
            self.headers.append((b"allow", problem.allow.encode()))
        await self.json(problem.written(named=self.named), problem.code)

    async def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
