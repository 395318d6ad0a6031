"""The two versions of A2A as a client writes and reads them, apart from the server's own code.

A wire is a version on a binding. What is read is held against the published types of its version,
then told in the words of 1.0, so that one test can speak about all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

type Json = Any


class Wire(Protocol):
    """How one version says it, on one binding."""

    version: str
    binding: str
    headers: Mapping[str, str]
    methods: Mapping[str, str]
    """Operations, by the names that the tests have for them, and their JSON-RPC methods."""

    @property
    def name(self) -> str:
        """What tests are named by."""
        return f"{self.version} {self.binding}"

    @property
    def send(self) -> str:
        """The method that sends a message."""
        return self.methods["send"]

    @property
    def stream(self) -> str:
        """The method that sends a message and streams."""
        return self.methods["stream"]

    @property
    def get(self) -> str:
        """The method that gets a task."""
        return self.methods["get"]

    def text(self, text: str) -> Json:
        """Write a part of text."""

    def data(self, data: Json) -> Json:
        """Write a part of data."""

    def raw(self, content: str, name: str, media_type: str) -> Json:
        """Write a file whose content is base64."""

    def url(self, url: str, name: str, media_type: str) -> Json:
        """Write a file that lies somewhere else."""

    def role(self, name: str) -> str:
        """Write ``user`` or ``agent``."""

    def state(self, name: str) -> str:
        """Write a state that 1.0 names TASK_STATE_ and ``name``."""

    def configuration(
        self,
        *,
        modes: list[str] | None = None,
        history: int | None = None,
        at_once: bool | None = None,
        push: Json = None,
    ) -> Json:
        """Write how to send; ``at_once`` does not wait for the task."""

    def push_config(
        self,
        url: str,
        *,
        config_id: str | None = None,
        token: str | None = None,
        bearer: str | None = None,
    ) -> Json:
        """Write a push notification configuration that is to come with a message."""

    def push_params(self, task_id: str, config: Json) -> Json:
        """Write the parameters that give a task such a configuration."""

    def push_id_params(self, task_id: str, config_id: str) -> Json:
        """Write the parameters that name one of a task's configurations."""

    def push_task_params(self, task_id: str) -> Json:
        """Write the parameters that name a task whose configurations are meant."""

    def read_push_config(self, config: Json) -> Json:
        """Hold a task's configuration against its type; returns it in the words of 1.0."""

    def read_push_configs(self, answer: Json) -> list[Json]:
        """Hold what listing answers against its type; returns the configurations."""

    def read_deleted(self, answer: Json) -> None:
        """Hold what deleting answers against its type."""

    def read_page(self, page: Json) -> Json:
        """Hold what listing tasks answers against its type; returns it in the words of 1.0."""

    def read_task(self, task: Json) -> Json:
        """Hold a task against its type; returns it in the words of 1.0."""

    def read_event(self, event: Json) -> Json:
        """Hold what send answers, or an event, against its type; returns it as a 1.0 stream response."""

    def read_card(self, card: Json) -> Json:
        """Hold an agent card against its type."""

    def check_error_data(self, code: int, data: Json) -> None:
        """Hold the details of an error against what the version says of them."""
