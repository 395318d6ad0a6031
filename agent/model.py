"""The A2A data model, in the shape of A2A 1.0 (section 4): what the server thinks in and what it stores.

Encoded with msgspec these values *are* the 1.0 JSON (ProtoJSON names and enums); ``dialects`` knows how other
versions say them. Values are frozen; a task that runs is built up in ``task_builder``.
"""

from __future__ import annotations

import enum
import secrets
import time
from collections.abc import Callable  # noqa: TC003 - msgspec resolves the annotations of fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from agent.clock import now
from agent.stacks.turn import AS_CONFIGURED, TurnEvent, TurnOptions

type Json = Any
type Metadata = dict[str, Json] | None


class Role(enum.Enum):
    """Who wrote a message."""

    USER = "ROLE_USER"
    AGENT = "ROLE_AGENT"


class TaskState(enum.Enum):
    """Where a task stands (section 4.1.3)."""

    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    REJECTED = "TASK_STATE_REJECTED"


TERMINAL = frozenset(
    {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED}
)
INTERRUPTED = frozenset({TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED})
# A stream, and a blocking send, end here.
SETTLED = TERMINAL | INTERRUPTED


class _Value(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Optional fields are None when absent; None and empty lists are never encoded."""


class Part(_Value, frozen=True):
    """Exactly one of ``text``, ``raw`` (base64), ``url`` and ``data`` is set."""

    text: str | None = None
    raw: str | None = None
    url: str | None = None
    data: Json | UnsetType = UNSET
    metadata: Metadata = None
    filename: str | None = None
    media_type: str | None = None


class Message(_Value, frozen=True):
    """One message of a user or the agent."""

    message_id: str
    role: Role
    parts: list[Part]
    context_id: str | None = None
    task_id: str | None = None
    metadata: Metadata = None
    extensions: list[str] | None = None
    reference_task_ids: list[str] | None = None


class Artifact(_Value, frozen=True):
    """What a task produced."""

    artifact_id: str
    parts: list[Part]
    name: str | None = None
    description: str | None = None
    metadata: Metadata = None
    extensions: list[str] | None = None


class TaskStatus(_Value, frozen=True):
    """``timestamp`` is ISO 8601, UTC, milliseconds."""

    state: TaskState
    message: Message | None = None
    timestamp: str | None = None


class Task(_Value, frozen=True):
    """A task as a client sees it."""

    id: str
    context_id: str
    status: TaskStatus
    artifacts: list[Artifact] = []
    history: list[Message] = []
    metadata: Metadata = None


class StatusUpdate(_Value, frozen=True):
    """The task's status changed."""

    task_id: str
    context_id: str
    status: TaskStatus
    metadata: Metadata = None


class ArtifactUpdate(_Value, frozen=True):
    """An artifact was added, replaced, or (``append``) continued."""

    task_id: str
    context_id: str
    artifact: Artifact
    append: bool = False
    last_chunk: bool = False
    metadata: Metadata = None


type Event = Task | Message | StatusUpdate | ArtifactUpdate
"""What a stream consists of (``StreamResponse``)."""


class PushAuthentication(msgspec.Struct, frozen=True):
    """How a webhook wants to be called: HTTP authentication schemes, the preferred one first."""

    schemes: tuple[str, ...]
    credentials: str | None = None


class PushConfig(msgspec.Struct, frozen=True):
    """Where a task's changes are sent; ``id`` and ``task_id`` are empty until they are known.

    ``version`` is the A2A version of whoever asked for it, which picks the shape of the body.
    """

    url: str
    version: str
    id: str = ""
    task_id: str = ""
    tenant: str = ""
    token: str | None = None
    authentication: PushAuthentication | None = None


class SendRequest(msgspec.Struct, frozen=True):
    """``message/send`` and ``message/stream``. ``history_length`` None means all of it.

    ``extensions`` are those in use for this request; ``idempotency_key`` and ``last_event_id`` come
    from the headers of the same names. ``model`` and ``options`` are for the turn, and ``context_exists``
    says that the message must not begin a context, and ``as_new_task`` that it is a task of its own,
    whatever waits in its context and however it is answered: no A2A wire has them. ``hear`` is told
    every event of the stack in this process, before what comes of it is stored.
    """

    message: Message
    tenant: str = ""
    accepted_output_modes: tuple[str, ...] = ()
    history_length: int | None = None
    return_immediately: bool = False
    push_config: PushConfig | None = None
    metadata: Metadata = None
    extensions: tuple[str, ...] = ()
    idempotency_key: str | None = None
    last_event_id: int | None = None
    model: str | None = None
    options: TurnOptions = AS_CONFIGURED
    context_exists: bool = False
    as_new_task: bool = False
    hear: Callable[[TurnEvent], None] | None = None


class GetRequest(msgspec.Struct, frozen=True):
    """``tasks/get``."""

    id: str
    tenant: str = ""
    history_length: int | None = None


class TaskRequest(msgspec.Struct, frozen=True):
    """What only names a task: ``tasks/cancel``, and deleting it."""

    id: str
    tenant: str = ""


class SubscribeRequest(msgspec.Struct, frozen=True):
    """``tasks/resubscribe``; ``last_event_id`` is the number of the last event that was heard."""

    id: str
    tenant: str = ""
    last_event_id: int | None = None


class ListRequest(msgspec.Struct, frozen=True):
    """``ListTasks`` (section 3.1.4); ``updated_after`` is in milliseconds since the epoch, inclusive."""

    tenant: str = ""
    context_id: str = ""
    status: TaskState | None = None
    page_size: int = 50
    page_token: str = ""
    history_length: int | None = None
    updated_after: int | None = None
    include_artifacts: bool = False


class TaskPage(msgspec.Struct, frozen=True):
    """What ``ListTasks`` answers; ``total_size`` counts all that the filters match."""

    tasks: list[Task]
    next_page_token: str
    page_size: int
    total_size: int


class PushConfigRequest(msgspec.Struct, frozen=True):
    """Names one push notification configuration; an ``id`` of None is 0.3's "the one there is"."""

    task_id: str
    id: str | None
    tenant: str = ""


class PushConfigsRequest(msgspec.Struct, frozen=True):
    """Asks for a task's push notification configurations; 0 is no limit."""

    task_id: str
    tenant: str = ""
    page_size: int = 0
    page_token: str = ""


class PushConfigPage(msgspec.Struct, frozen=True):
    """Push notification configurations of one task."""

    configs: list[PushConfig]
    next_page_token: str = ""


def timestamp() -> str:
    """Return the present moment as A2A writes it: ``2026-01-31T12:00:00.000Z``."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1_000_000:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    # Every event carries the time: the part that changes once a second is formatted once a second.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def new_task_id() -> str:
    """Return a UUID of version 7: it begins with the time, so that new rows lie together in the database."""
    at, digits = now(), secrets.token_hex(10)
    variant = "89ab"[int(digits[3], 16) & 3]
    return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{digits[:3]}-{variant}{digits[4:7]}-{digits[7:19]}"


def new_context_id() -> str:
    """Return 48 hex characters, a conversation id on every surface: the time, then 144 random bits."""
    return f"{now():012x}{secrets.token_hex(18)}"


def with_history(task: Task, length: int | None) -> Task:
    """Keep the latest ``length`` messages (section 3.2.4: None keeps all, 0 none)."""
    if length is None or length >= len(task.history):
        return task
    return msgspec.structs.replace(task, history=task.history[-length:] if length else [])
