"""What goes into a turn, and what comes out of it: the values of the ``Stack`` protocol."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec resolves the annotations of fields
from typing import Any

import msgspec

type Owner = str
"""Who a conversation belongs to: a user id."""

type Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with str keys."""


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """Text as the user typed it or the model wrote it."""

    text: str


class FilePart(msgspec.Struct, frozen=True, tag="file"):
    """A file, by value (``data``) or by reference (``uri``); exactly one of them is set."""

    name: str | None
    media_type: str
    data: bytes | None = None
    uri: str | None = None


class DataPart(msgspec.Struct, frozen=True, tag="data"):
    """A JSON value."""

    data: Json
    media_type: str = "application/json"


type Part = TextPart | FilePart | DataPart


class ClientTool(msgspec.Struct, frozen=True):
    """A tool that the caller runs itself; ``input_schema`` is a JSON schema."""

    name: str
    description: str
    input_schema: Json


class Answer(msgspec.Struct, frozen=True):
    """What the user said to one question of an ``InputRequired``.

    ``call_id`` is the id of the tool call or approval request; ``approve`` is set for approvals only.
    """

    call_id: str
    content: str
    tool_name: str | None = None
    approve: bool | None = None


class Resume(msgspec.Struct, frozen=True):
    """Continues a turn that ended with ``InputRequired`` or ``AuthRequired``.

    After ``AuthRequired`` there are the answers that the turn had been resumed with before, if any;
    ``turn_id`` is empty when the stack had not told one.
    """

    turn_id: str
    answers: tuple[Answer, ...]


class Credentials(msgspec.Struct, frozen=True):
    """What the caller showed, for tools that act in the caller's name: never stored, never printed.

    ``token`` is the bearer token of the request; ``mcp_headers`` are header values by header and by the
    name or URL of an MCP server, from the request's ``MCP-HEADERS``. Both are empty for a turn that runs
    again after its process died; ``lost`` then names those of the two that had been shown.
    """

    token: str = ""
    mcp_headers: Mapping[str, Mapping[str, str]] = {}
    lost: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """Which of the two there are, or were: all that is ever kept of them."""
        return self.lost or tuple(name for name in ("token", "mcp_headers") if getattr(self, name))

    def __repr__(self) -> str:
        return "Credentials(...)"


NO_CREDENTIALS = Credentials()


class ToolGroup(msgspec.Struct, frozen=True):
    """A tool group, or with ``group/tool`` one tool of it; ``args`` go into every call."""

    name: str
    args: dict[str, Json] = {}

    @property
    def provider(self) -> str:
        """The group, without the one tool of it."""
        return self.name.partition("/")[0]

    @property
    def tool(self) -> str:
        """The one tool of the group; empty for all of them."""
        return self.name.partition("/")[2]


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is drawn, as Llama Stack's ``SamplingParams`` say it; None leaves it to the server.

    ``strategy`` is greedy, top_p or top_k. ``max_tokens`` None sets no limit.
    """

    strategy: str = "greedy"
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = ()


class AgentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that answers in place of that of the settings: all of its configuration but the model.

    ``tool_choice`` is auto, required, none, or the name of a tool. ``response_format`` is Llama Stack's:
    ``{"type": "json_schema", "json_schema": {...}}``.
    """

    agent_id: str
    instructions: str = ""
    toolgroups: tuple[ToolGroup, ...] = ()
    client_tools: tuple[ClientTool, ...] = ()
    tool_choice: str = "auto"
    max_infer_iters: int = 10
    sampling: Sampling = Sampling()
    input_shields: tuple[str, ...] = ()
    output_shields: tuple[str, ...] = ()
    response_format: dict[str, Json] | None = None


class TurnOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one message wants otherwise than the settings; None leaves a thing as they have it.

    ``instructions`` stand in for the system prompt. With ``no_tools`` there are no tools, no MCP servers
    and no documents. ``vector_store_ids`` are the only stores that are searched; ``shields`` the only ones
    that check the message, and the answer if the settings have shields for it. ``solr`` is Llama Stack's
    filter of a Solr store. ``toolgroups`` take the place of the agent's, and ``tool_choice``, too.
    """

    instructions: str | None = None
    no_tools: bool = False
    vector_store_ids: tuple[str, ...] | None = None
    shields: tuple[str, ...] | None = None
    solr: dict[str, Json] | None = None
    toolgroups: tuple[ToolGroup, ...] | None = None
    tool_choice: str | None = None


AS_CONFIGURED = TurnOptions()


class TurnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a user, to be answered in a conversation.

    ``extensions`` are the URIs of the protocol extensions that are in use for this message. After
    ``AuthRequired``, ``parts`` are those that the turn was about and then those of the new message.
    ``agent`` answers; None is the agent of the settings.
    """

    conversation_id: str
    task_id: str
    context_id: str
    message_id: str
    owner: Owner
    tenant: str
    parts: tuple[Part, ...]
    metadata: dict[str, Json] = {}
    accepted_output_modes: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    resume: Resume | None = None
    model: str | None = None
    tools: tuple[ClientTool, ...] = ()
    credentials: Credentials = NO_CREDENTIALS
    options: TurnOptions = AS_CONFIGURED
    agent: AgentOptions | None = None


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model, outside of any conversation: no tools, nothing is remembered.

    Without ``sampling`` it is that of the settings.
    """

    text: str
    instructions: str
    owner: Owner
    model: str | None = None
    sampling: Sampling | None = None


class Inferred(msgspec.Struct, frozen=True):
    """What a model said to an ``Inference``, which of them (``provider/model``), and what it cost."""

    text: str
    model: str | None = None
    usage: Usage | None = None


class TurnStarted(msgspec.Struct, frozen=True):
    """The stack knows the turn by this id; ``model`` answers, as ``provider/model``."""

    turn_id: str
    model: str | None = None


class TextDelta(msgspec.Struct, frozen=True):
    """The next piece of the answer's text."""

    text: str
    artifact_id: str | None = None


class ArtifactPart(msgspec.Struct, frozen=True):
    """Parts of an artifact; ``append`` adds to one that exists, ``last`` closes it."""

    parts: tuple[Part, ...]
    artifact_id: str
    name: str | None = None
    append: bool = False
    last: bool = True


class StepStarted(msgspec.Struct, frozen=True):
    """A step of the turn began.

    ``kind``: inference, tool_execution, tool_listing, shield_call, memory_retrieval. ``name`` is the tool,
    the MCP server whose tools are listed, or the shield; ``detail`` is what may be shown to the caller:
    never a secret. That of a tool call is ``{"call_id", "arguments", "type"}``, where ``type`` is the
    Responses API's: mcp_call, file_search_call, web_search_call, function_call. ``step_id`` is that of
    the ``StepRecorded`` to come, where there is one.
    """

    kind: str
    name: str = ""
    detail: Json = None
    step_id: str = ""


class StepEnded(msgspec.Struct, frozen=True):
    """A step of the turn ended; ``detail`` holds what came of it.

    That of a tool call is ``{"call_id", "result", "failed"}``, of a listing ``{"call_id", "tools"}``;
    ``failed`` is there when it is true.
    """

    kind: str
    name: str = ""
    detail: Json = None


class StepRecorded(msgspec.Struct, frozen=True):
    """A step as it is stored, in full: for who shows turns as the agents API of Llama Stack does.

    ``step`` is one of the ``steps`` of such a turn. A stack that keeps none does not say it.
    """

    step: dict[str, Json]


class Citation(msgspec.Struct, frozen=True):
    """Where the answer was taken from. ``score`` grows with relevance; its scale is the retriever's."""

    title: str
    uri: str | None = None
    text: str | None = None
    document_id: str | None = None
    score: float | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens spent since the last ``Usage`` of this turn."""

    input_tokens: int
    output_tokens: int


class InputRequired(msgspec.Struct, frozen=True):
    """The turn waits for the user; ``data`` names what is asked for.

    ``{"type": "tool_calls", "tool_calls": [{"call_id", "tool_name", "arguments"}]}`` or
    ``{"type": "approvals", "approvals": [...]}`` with the same fields; answers come back by call_id.
    """

    text: str
    data: Json = None


class AuthRequired(msgspec.Struct, frozen=True):
    """The turn waits for credentials; it is tried again with the next message.

    ``data`` is ``{"type": "auth", "server", "url"}``: what wants them, never what it was shown.
    """

    text: str
    data: Json = None


class Rejected(msgspec.Struct, frozen=True):
    """The agent refuses the message; ``text`` says so to the user."""

    text: str


class Failed(msgspec.Struct, frozen=True):
    """The turn failed; ``text`` is written for the caller and holds no internals."""

    text: str


class DirectMessage(msgspec.Struct, frozen=True):
    """The whole answer, as a message without a task; only as the first event of a turn."""

    parts: tuple[Part, ...]


class TurnCompleted(msgspec.Struct, frozen=True):
    """The turn is over. ``text`` is the whole answer when the stack can tell; it wins over the deltas."""

    stop_reason: str
    text: str | None = None


type TurnEvent = (
    TurnStarted
    | TextDelta
    | ArtifactPart
    | StepStarted
    | StepEnded
    | StepRecorded
    | Citation
    | Usage
    | InputRequired
    | AuthRequired
    | Rejected
    | Failed
    | DirectMessage
    | TurnCompleted
)
