"""The sections that LCS does not know."""

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, SecretStr, Tag, field_validator

from agent.settings.section import (
    Count,
    FilePath,
    HttpUrl,
    JsonObject,
    Number,
    Seconds,
    Section,
    Text,
    Whole,
)

_INSTRUCTIONS = (
    "You are a helpful assistant. Answer from the documents and tools you are given where they "
    "hold the answer, and say so when you do not know."
)
_TENANT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*")
# What paths begin with where the name of a tenant may stand.
PATHS = frozenset({"v1", "v2", "v1alpha", "v1beta", "a2a", "tasks", "contexts"})


class ToolGroup(Section):
    """A tool group with arguments for its tools."""

    name: Text
    args: JsonObject = Field(default_factory=dict)


class ClientTool(Section):
    """A tool that the caller runs itself; ``input_schema`` is a JSON schema."""

    name: Text
    description: str = ""
    input_schema: JsonObject = Field(default_factory=dict)


def _kind(value: Any) -> str:
    return "<name>" if isinstance(value, str) else "<group>"


type _NameOrGroup = Annotated[
    Annotated[Text, Tag("<name>")] | Annotated[ToolGroup, Tag("<group>")], Discriminator(_kind)
]


class Agent(Section):
    """How the agent behaves, in Llama Stack's words."""

    name: Text = "llamastack-a2a"
    instructions: Text = _INSTRUCTIONS
    toolgroups: tuple[_NameOrGroup, ...] | None = None
    input_shields: tuple[Text, ...] | None = None
    output_shields: tuple[Text, ...] = ()
    max_infer_iters: Count = 10
    max_tokens: Count | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    client_tools: tuple[ClientTool, ...] = ()


class OpenAI(Section):
    """The language model of the embedded stack: any server that speaks OpenAI's API."""

    base_url: HttpUrl | None = None
    api_key: SecretStr | None = None
    model: Text | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is a language model; its name may be left to the server."""
        return bool(self.base_url or self.api_key)


class Limits(Section):
    """How much is too much."""

    body_bytes: Count = 16 * 1024 * 1024
    body_values: Count = 500_000
    head_seconds: Seconds = 10.0
    body_seconds: Seconds = 60.0
    connections: Count = 4096
    parts: Count = 100
    file_bytes: Count = 10 * 1024 * 1024
    id_chars: Count = 256
    turn_seconds: Seconds = 600.0
    turn_bytes: Count = 64 * 1024 * 1024
    answer_bytes: Count = 16 * 1024 * 1024
    running_tasks: Count = 1000
    running_tasks_per_owner: Count = 100
    running_bytes: Count = 1024 * 1024 * 1024
    running_bytes_per_owner: Count = 128 * 1024 * 1024
    queue_seconds: Annotated[Number, Field(ge=0)] = 10.0
    stream_idle_seconds: Seconds = 3600.0
    streams_per_owner: Count = 200
    history_messages: Count = 1000
    referenced_tasks: Count = 10
    auth_failures_per_minute: Count = 30


class Extension(Section):
    """An extension of A2A that the stack supports, as the card declares it (1.0 section 4.6.1)."""

    uri: Text
    description: str | None = None
    required: bool = False
    params: JsonObject | None = None

    @property
    def on_card(self) -> dict[str, Any]:
        """Both versions of A2A write an extension alike; defaults are left out."""
        return self.model_dump(exclude_defaults=True)


class A2A(Section):
    """How the A2A protocol is spoken."""

    strict_version: bool = False
    extensions: tuple[Extension, ...] = ()
    recovery: Literal["resume", "retry", "fail"] = "resume"
    recovery_attempts: Count = 3
    lease_seconds: Seconds = 30.0
    drain_seconds: Annotated[Number, Field(ge=0)] = 5.0
    resume_by_context: bool = True
    keep_alive_seconds: Seconds = 15.0
    tenants: tuple[str, ...] = ()
    card_version: Literal["hybrid", "1.0", "0.3"] = "hybrid"
    card_max_age_seconds: Annotated[Whole, Field(ge=0)] = 300
    grpc_port: Annotated[Whole, Field(ge=1, le=65535)] | None = None
    grpc_url: Text | None = None
    signing_key: FilePath | None = None
    extended_card_path: FilePath | None = None

    @field_validator("tenants")
    @classmethod
    def _are_path_segments(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _TENANT.fullmatch(name):
                raise ValueError("a tenant's name has letters, digits and . _ ~ - only")
            if name in PATHS:
                raise ValueError(f"{name} is a path of this server and cannot name a tenant")
        if len(set(value)) < len(value):
            raise ValueError("a tenant is named twice")
        return value
