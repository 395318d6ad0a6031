"""The versions of A2A on the wire: nothing else knows how they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from agent.model import Task, with_history

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.errors import AgentError, RequestError
    from agent.model import Event, GetRequest, Json, SendRequest


class Encoder(Protocol):
    """Writes the events of a task; ``version`` names how."""

    version: str

    def event(self, event: Event) -> bytes:
        """Write an event of a stream, or what send answers."""


class Dialect(Encoder, Protocol):
    """Reads parameters and writes results; ``methods`` maps JSON-RPC methods to operations.

    ``refused`` are the methods of the specification that this server lacks, with the error it asks for.
    """

    methods: ClassVar[Mapping[str, str]]
    refused: ClassVar[Mapping[str, type[RequestError]]]

    def read_send(self, params: bytes) -> SendRequest:
        """Read the parameters of send and stream."""

    def read_get(self, params: bytes) -> GetRequest:
        """Read the parameters of get."""

    def task(self, task: Task) -> bytes:
        """Write what get answers."""

    def error_data(self, error: AgentError) -> Json:
        """Write the details of an error."""

    def request_data(self, request_id: str) -> Json:
        """Write the id that an internal error is logged under."""


class Trimmed:
    """A dialect for a follower who asked for less of a task's history (1.0 section 3.2.4)."""

    def __init__(self, dialect: Encoder, history_length: int) -> None:
        """Name the way of writing after both: events are encoded once for each name."""
        self.version = f"{dialect.version} history {history_length}"
        self._dialect = dialect
        self._history_length = history_length

    def event(self, event: Event) -> bytes:
        """Write an event, a task with the history asked for."""
        if isinstance(event, Task):
            event = with_history(event, self._history_length)
        return self._dialect.event(event)
