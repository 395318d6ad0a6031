"""uvicorn's HTTP protocol with bounds it lacks: to what a request may have, and to how long it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.app import LIMITS
from agent.cli.places import Places
from agent.cli.refusals import FULL, HEADERS, LATE, TOO_LARGE, TOO_MANY, Refusal
from agent.settings.own import Limits

if TYPE_CHECKING:
    import asyncio
    from asyncio import TimerHandle

    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

HEAD_BYTES = 64 * 1024
BODY_BYTES_PER_SECOND = 16 * 1024
"""A body that comes at least as fast may take longer than ``limits.body_seconds``."""

_COLON_AND_NEWLINE = 4
_HEARD = -1
_PLACES = "places"


class BoundedHttp(HttpToolsProtocol):
    """Refuses what is too large, too slow or one too many, and forgets what is lost.

    A request has ``limits.head_seconds`` for its head and ``limits.body_seconds`` for its body, and a
    new connection as long as a head; who reads nothing of an answer is disconnected like an idle
    connection. A timer is set only for a request that does not arrive in one piece. Answers that are
    under way are left alone, since then it is not the server that waits; a connection without one
    may have to give way to a new one.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take the limits from the state of the lifespan, which is each worker's own."""
        super().__init__(config, server_state, app_state, _loop)
        limits = app_state.get(LIMITS) or Limits()
        self._limits: Limits = limits
        if _PLACES not in app_state:
            app_state[_PLACES] = Places(limits.connections)
        self._places: Places = app_state[_PLACES]
        self._in_head = self._in_body = self._is_refused = False
        self._answered: RequestResponseCycle | None = None
        self._headers = 0
        self._head_bytes = 0
        # Bytes that came since the parser last gave something on, and of the body since the last look.
        self._unparsed = 0
        self._body_bytes = 0
        self._request_timer: TimerHandle | None = None
        self._reader_timer: TimerHandle | None = None
        self._unread = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if self._places.take(self):
            seconds = min(self.timeout_keep_alive, self._limits.head_seconds)
            self.timeout_keep_alive_task = self.loop.call_later(
                seconds, self.timeout_keep_alive_handler
            )
        else:
            self._refuse(FULL)

    def give_way(self) -> None:
        """Leave the place to another connection, whether or not the last answer was read."""
        self.transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._places.leave(self)
        # uvicorn lets the timer of a connection that was reset run on, and all that hangs on it live.
        self._unset_keepalive_if_required()
        # And it tells the last request alone, which may be one that waits behind the one being answered.
        self._give_up()
        self._stop_request_timer()
        self._stop_reader_timer()

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self._in_head or self._in_body:
            self._wait_for_more(len(data))
        elif self._request_timer is None and not self._is_answering:
            # Empty lines before a request, which are no beginning of one.
            self._wait_for_more(0)

    def _wait_for_more(self, size: int) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        # What the parser keeps to itself: a header, a chunk's extension or a trailer that has no end.
        self._unparsed = 0 if self._unparsed == _HEARD else self._unparsed + size
        if self._unparsed > HEAD_BYTES:
            self._refuse(TOO_LARGE)
        elif self._request_timer is None:
            self._body_bytes = 0
            self._set_request_timer()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stop_request_timer()
        self._in_head = True
        self._headers = self._head_bytes = self._unparsed = 0

    @override
    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_refused:
            return
        self._headers += 1
        self._head_bytes += len(name) + len(value) + _COLON_AND_NEWLINE
        if self._headers > HEADERS:
            self._refuse(TOO_MANY)
        elif self._head_bytes > HEAD_BYTES:
            self._refuse(TOO_LARGE)
        elif self._in_head:
            # What comes after the body is nobody's header: the application has read those.
            super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._stop_request_timer()
        if self._head_bytes > HEAD_BYTES:
            self._refuse(TOO_LARGE)
        self._in_head = False
        if not self._is_refused:
            super().on_headers_complete()
            self._in_body, self._unparsed = True, 0

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        self._places.begin(self)
        super()._start_asgi_task(cycle, app)

    @override
    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            self._unparsed = _HEARD
            self._body_bytes += len(body)
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._in_body = False
        self._stop_request_timer()
        if not self._is_refused:
            super().on_message_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(Refusal("400 Bad Request", msg))

    @property
    def _is_answering(self) -> bool:
        """Whether a request that was heard is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_waited_for(self) -> bool:
        """Whether it is the rest of this request that the server waits for, and not the other way round."""
        if self.pipeline or self.flow.read_paused:
            return False
        if self._in_body:
            return not self.cycle.response_started or self.cycle.response_complete
        return not self._is_answering

    @property
    def _is_fast(self) -> bool:
        """Whether enough of a body has come since the last look, and somebody still wants it."""
        enough = BODY_BYTES_PER_SECOND * self._limits.body_seconds
        return self._in_body and self._is_answering and self._body_bytes >= enough

    @property
    def _may_answer(self) -> bool:
        """Whether there is nothing under way that an answer would get mixed with."""
        if self._in_body:
            return not (self.pipeline or self.cycle is None or self.cycle.response_started)
        return not self._is_answering

    def _set_request_timer(self) -> None:
        limits = self._limits
        seconds = limits.body_seconds if self._in_body else limits.head_seconds
        self._request_timer = self.loop.call_later(seconds, self._look_at_request)

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _look_at_request(self) -> None:
        self._request_timer = None
        if self.transport.is_closing():
            return
        if not self._is_waited_for or self._is_fast:
            self._body_bytes = 0
            self._set_request_timer()
        elif self._in_head or self._in_body:
            self._refuse(LATE)
        else:
            self.transport.close()

    def _refuse(self, why: Refusal) -> None:
        """Answer once, and hear no more."""
        if not self._is_refused and not self.transport.is_closing():
            if why is not FULL:
                self.logger.warning("Refused: %s %s", why.status, why.text)
            if self._may_answer:
                self.transport.write(bytes(why))
            self._close()
        self._is_refused = True

    def _close(self) -> None:
        self.transport.close()
        self._expect_reading()
        self._give_up()

    def _give_up(self) -> None:
        """Tell the application that nobody will read what it answers."""
        cycle = self._answered
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_answering:
            self._places.end(self)
        if self.transport.is_closing():
            self._expect_reading()

    @override
    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_reading()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_reader_timer()

    def _expect_reading(self) -> None:
        """Cut the connection when its peer reads nothing: closing waits until all is read."""
        self._unread = self.transport.get_write_buffer_size()
        if self._unread and self._reader_timer is None:
            self._reader_timer = self.loop.call_later(self.timeout_keep_alive, self._look_at_reader)

    def _look_at_reader(self) -> None:
        self._reader_timer = None
        before = self._unread
        if before and self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._expect_reading()

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None
