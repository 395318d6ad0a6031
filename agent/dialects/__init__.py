"""The versions of A2A on the wire: nothing else knows how they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from agent.model import Task, with_history

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.errors import AgentError
    from agent.model import (
        Event,
        GetRequest,
        Json,
        ListRequest,
        PushConfig,
        PushConfigPage,
        PushConfigRequest,
        PushConfigsRequest,
        SendRequest,
        TaskPage,
        TaskRequest,
    )


class Encoder[Written](Protocol):
    """Writes the events of a task; ``version`` names how."""

    version: str

    def event(self, event: Event) -> Written:
        """Write an event of a stream, or what send answers."""


class Dialect(Encoder[bytes], Protocol):
    """Reads parameters and writes results; ``methods`` maps JSON-RPC methods to operations.

    What is read may raise ``InvalidParams``.
    """

    methods: ClassVar[Mapping[str, str]]

    def read_send(self, params: bytes) -> SendRequest:
        """Read the parameters of send and stream."""

    def read_get(self, params: bytes) -> GetRequest:
        """Read the parameters of get."""

    def read_list(self, params: bytes) -> ListRequest:
        """Read the parameters of list."""

    def read_task(self, params: bytes) -> TaskRequest:
        """Read the parameters of cancel and subscribe."""

    def read_push_config(self, params: bytes) -> PushConfig:
        """Read the push notification configuration to be created."""

    def read_push_config_id(self, params: bytes) -> PushConfigRequest:
        """Read which configuration to get or delete."""

    def read_push_configs(self, params: bytes) -> PushConfigsRequest:
        """Read whose configurations to list."""

    def read_tenant(self, params: bytes) -> str:
        """Read the parameters of the extended card."""

    def task(self, task: Task) -> bytes:
        """Write what get and cancel answer."""

    def page(self, page: TaskPage, *, with_artifacts: bool) -> bytes:
        """Write what list answers; an empty list of artifacts is written when they were asked for."""

    def push_config(self, config: PushConfig) -> bytes:
        """Write a push notification configuration."""

    def push_configs(self, page: PushConfigPage) -> bytes:
        """Write what listing configurations answers."""

    def deleted(self) -> bytes:
        """Write what deleting a configuration answers."""

    def card(self, card: bytes) -> bytes:
        """Write the extended card, which is in the JSON of the version."""

    def error_data(self, error: AgentError) -> Json:
        """Write the details of an error."""

    def request_data(self, request_id: str) -> Json:
        """Write the id that an internal error is logged under."""


class Trimmed:
    """A dialect for a follower who asked for less of a task's history (1.0 section 3.2.4)."""

    def __init__(self, dialect: Encoder[bytes], history_length: int) -> None:
        """Name the way of writing after both: events are encoded once for each name."""
        self.version = f"{dialect.version} history {history_length}"
        self._dialect = dialect
        self._history_length = history_length

    def event(self, event: Event) -> bytes:
        """Write an event, a task with the history asked for."""
        if isinstance(event, Task):
            event = with_history(event, self._history_length)
        return self._dialect.event(event)
