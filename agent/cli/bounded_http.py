"""uvicorn's HTTP protocol with bounds it lacks: to the head of a request, and to what it keeps."""

from __future__ import annotations

from typing import override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
_TOO_LARGE = b"The head of the request is too large."
_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_TOO_LARGE), _TOO_LARGE)
)


class BoundedHttp(HttpToolsProtocol):
    """Refuses a request whose line and headers have more than ``HEAD_BYTES``; forgets what is lost."""

    _in_head = False
    _head_bytes = 0
    _is_refused = False

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self._in_head:
            # What the parser keeps to itself until a header is whole.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # uvicorn lets the timer of a connection that was reset run on, and all that hangs on it live.
        self._unset_keepalive_if_required()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    @override
    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_bytes > HEAD_BYTES:
            self._refuse()
        elif not self._is_refused:
            super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        if not self._is_refused:
            super().on_message_complete()

    def _refuse(self) -> None:
        """Answer once, and hear no more."""
        if not self._is_refused and not self.transport.is_closing():
            self.logger.warning("The head of a request is larger than %d bytes", HEAD_BYTES)
            self.transport.write(_ANSWER)
            self.transport.close()
        self._is_refused = True
