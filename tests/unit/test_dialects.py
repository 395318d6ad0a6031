"""Both versions of A2A on the wire: what is written, held against the specifications, and what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agent import errors
from agent.dialects.errors import CODES, error_code, error_reason
from agent.dialects.v0_3 import Dialect03
from agent.dialects.v1_0 import Dialect1
from agent.errors import AgentError, InvalidParams, ParseError, RequestError
from agent.model import (
    Artifact,
    ArtifactUpdate,
    GetRequest,
    Message,
    Part,
    PushConfig,
    Role,
    SendRequest,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)

if TYPE_CHECKING:
    from agent.dialects import Dialect
    from agent.model import Event

SCHEMA = Path(__file__).parents[2].parent / "shared" / "spec" / "a2a" / "a2a-0.3.schema.json"
OLD, NEW = Dialect03(), Dialect1()
NOW = "2026-01-31T12:00:00.123Z"

PARTS = [
    Part(text="hi", metadata={"lang": "en"}),
    Part(text=""),
    Part(raw="aGk=", filename="a.txt", media_type="text/plain"),
    Part(url="https://x.org/a", media_type="image/png", metadata={"k": 1}),
    Part(data={"sum": 4.5, "list": [True, None]}, media_type="application/json"),
    Part(data=None),
    Part(data=[1]),
]
PARTS_1 = [
    {"text": "hi", "metadata": {"lang": "en"}},
    {"text": ""},
    {"raw": "aGk=", "filename": "a.txt", "mediaType": "text/plain"},
    {"url": "https://x.org/a", "mediaType": "image/png", "metadata": {"k": 1}},
    {"data": {"sum": 4.5, "list": [True, None]}, "mediaType": "application/json"},
    {"data": None},
    {"data": [1]},
]
# 0.3 has no media type for text and data, and knows only objects as data.
PARTS_03 = [
    {"kind": "text", "text": "hi", "metadata": {"lang": "en"}},
    {"kind": "text", "text": ""},
    {"kind": "file", "file": {"bytes": "aGk=", "name": "a.txt", "mimeType": "text/plain"}},
    {
        "kind": "file",
        "file": {"uri": "https://x.org/a", "mimeType": "image/png"},
        "metadata": {"k": 1},
    },
    {"kind": "data", "data": {"sum": 4.5, "list": [True, None]}},
    {"kind": "data", "data": {"value": None}},
    {"kind": "data", "data": {"value": [1]}},
]

MESSAGE = Message(
    "m",
    Role.AGENT,
    PARTS,
    context_id="c",
    task_id="t",
    metadata={"k": "v"},
    extensions=["https://x.org/e"],
    reference_task_ids=["t0"],
)
MESSAGE_1 = {
    "messageId": "m",
    "role": "ROLE_AGENT",
    "parts": PARTS_1,
    "contextId": "c",
    "taskId": "t",
    "metadata": {"k": "v"},
    "extensions": ["https://x.org/e"],
    "referenceTaskIds": ["t0"],
}
MESSAGE_03 = MESSAGE_1 | {"kind": "message", "role": "agent", "parts": PARTS_03}

ARTIFACT = Artifact("a", PARTS[:1], "Name", "What it is", {"k": "v"}, ["https://x.org/e"])
ARTIFACT_1 = {
    "artifactId": "a",
    "parts": PARTS_1[:1],
    "name": "Name",
    "description": "What it is",
    "metadata": {"k": "v"},
    "extensions": ["https://x.org/e"],
}
ARTIFACT_03 = ARTIFACT_1 | {"parts": PARTS_03[:1]}

SHORT = Message("u", Role.USER, [Part(text="hi")])
SHORT_1 = {"messageId": "u", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
SHORT_03 = {
    "kind": "message",
    "messageId": "u",
    "role": "user",
    "parts": [{"kind": "text", "text": "hi"}],
}
IDS = {"taskId": "t", "contextId": "c"}

EVENTS: list[tuple[str, Event, dict[str, Any], dict[str, Any]]] = [
    ("a whole message", MESSAGE, {"message": MESSAGE_1}, MESSAGE_03),
    ("a short message", SHORT, {"message": SHORT_1}, SHORT_03),
    (
        "a whole task",
        Task(
            "t",
            "c",
            TaskStatus(TaskState.INPUT_REQUIRED, MESSAGE, NOW),
            [ARTIFACT, Artifact("b", [])],
            [SHORT, MESSAGE],
            {"k": "v"},
        ),
        {
            "task": {
                "id": "t",
                "contextId": "c",
                "status": {
                    "state": "TASK_STATE_INPUT_REQUIRED",
                    "message": MESSAGE_1,
                    "timestamp": NOW,
                },
                "artifacts": [ARTIFACT_1, {"artifactId": "b", "parts": []}],
                "history": [SHORT_1, MESSAGE_1],
                "metadata": {"k": "v"},
            }
        },
        {
            "kind": "task",
            "id": "t",
            "contextId": "c",
            "status": {"state": "input-required", "message": MESSAGE_03, "timestamp": NOW},
            "artifacts": [ARTIFACT_03, {"artifactId": "b", "parts": []}],
            "history": [SHORT_03, MESSAGE_03],
            "metadata": {"k": "v"},
        },
    ),
    (
        "a new task",
        Task("t", "c", TaskStatus(TaskState.SUBMITTED)),
        {"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_SUBMITTED"}}},
        {"kind": "task", "id": "t", "contextId": "c", "status": {"state": "submitted"}},
    ),
    (
        "a status with a message",
        StatusUpdate("t", "c", TaskStatus(TaskState.WORKING, SHORT, NOW), {"step": {"k": 1}}),
        {
            "statusUpdate": {
                **IDS,
                "status": {"state": "TASK_STATE_WORKING", "message": SHORT_1, "timestamp": NOW},
                "metadata": {"step": {"k": 1}},
            }
        },
        {
            "kind": "status-update",
            **IDS,
            "status": {"state": "working", "message": SHORT_03, "timestamp": NOW},
            "final": False,
            "metadata": {"step": {"k": 1}},
        },
    ),
    (
        "a first piece of an artifact",
        ArtifactUpdate("t", "c", ARTIFACT, metadata={"k": "v"}),
        {"artifactUpdate": {**IDS, "artifact": ARTIFACT_1, "metadata": {"k": "v"}}},
        {
            "kind": "artifact-update",
            **IDS,
            "artifact": ARTIFACT_03,
            "metadata": {"k": "v"},
        },
    ),
    (
        "a last piece of an artifact",
        ArtifactUpdate("t", "c", Artifact("a", [Part(text="")]), append=True, last_chunk=True),
        {
            "artifactUpdate": {
                **IDS,
                "artifact": {"artifactId": "a", "parts": [{"text": ""}]},
                "append": True,
                "lastChunk": True,
            }
        },
        {
            "kind": "artifact-update",
            **IDS,
            "artifact": {"artifactId": "a", "parts": [{"kind": "text", "text": ""}]},
            "append": True,
            "lastChunk": True,
        },
    ),
    *(
        (
            f"the status {state.name}",
            StatusUpdate("t", "c", TaskStatus(state)),
            {"statusUpdate": {**IDS, "status": {"state": f"TASK_STATE_{state.name}"}}},
            {
                "kind": "status-update",
                **IDS,
                "status": {"state": state.name.lower().replace("_", "-")},
                "final": state.name not in {"SUBMITTED", "WORKING"},
            },
        )
        for state in TaskState
    ),
]
NAMES = [name for name, *_ in EVENTS]
WRITTEN_1 = pytest.mark.parametrize(
    ("event", "expected"), [(event, new) for _, event, new, _ in EVENTS], ids=NAMES
)
WRITTEN_03 = pytest.mark.parametrize(
    ("event", "expected"), [(event, old) for _, event, _, old in EVENTS], ids=NAMES
)


@WRITTEN_1
def test_1_0_writes_an_event_as_one_member_of_a_stream_response(
    event: Event, expected: dict[str, Any]
) -> None:
    assert json.loads(NEW.event(event)) == expected


@WRITTEN_1
def test_what_1_0_writes_is_strict_proto_json(event: Event, expected: dict[str, Any]) -> None:
    """Nothing is unknown to the messages of the specification, and nothing is lost in them."""
    from a2a.types.a2a_pb2 import StreamResponse
    from google.protobuf import json_format

    parsed = json_format.Parse(NEW.event(event), StreamResponse(), ignore_unknown_fields=False)

    found = json_format.MessageToDict(parsed)
    artifacts = found.get("task", {}).get("artifacts", ())
    for artifact in artifacts:
        # ProtoJSON leaves out an empty list; writing it is as good.
        artifact.setdefault("parts", [])
    assert found == expected


@WRITTEN_03
def test_0_3_writes_an_event_with_its_kind(event: Event, expected: dict[str, Any]) -> None:
    assert json.loads(OLD.event(event)) == expected


@WRITTEN_03
def test_what_0_3_writes_is_read_by_the_sdk(event: Event, expected: dict[str, Any]) -> None:
    """Nothing is unknown to its models, and nothing is lost in them."""
    from a2a.compat.v0_3.types import SendStreamingMessageSuccessResponse

    response = SendStreamingMessageSuccessResponse.model_validate(
        {"jsonrpc": "2.0", "id": 1, "result": json.loads(OLD.event(event))}, extra="forbid"
    )

    dumped = response.result.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert dumped == expected


@WRITTEN_03
def test_what_0_3_writes_is_what_its_schema_says(event: Event, expected: dict[str, Any]) -> None:
    if not SCHEMA.exists():
        pytest.skip("the schema is not part of this repository")
    schema = json.loads(SCHEMA.read_text())
    definition = {
        "message": "Message",
        "task": "Task",
        "status-update": "TaskStatusUpdateEvent",
        "artifact-update": "TaskArtifactUpdateEvent",
    }[expected["kind"]]

    pytest.importorskip("jsonschema").validate(
        json.loads(OLD.event(event)),
        {"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]},
    )


def test_a_task_is_written_as_get_answers_it() -> None:
    task = Task("t", "c", TaskStatus(TaskState.WORKING), history=[SHORT])
    bare = {"id": "t", "contextId": "c"}

    assert json.loads(NEW.task(task)) == bare | {
        "status": {"state": "TASK_STATE_WORKING"},
        "history": [SHORT_1],
    }
    assert json.loads(OLD.task(task)) == bare | {
        "kind": "task",
        "status": {"state": "working"},
        "history": [SHORT_03],
    }


WHOLE = SendRequest(
    message=msgspec.structs.replace(MESSAGE, role=Role.USER, parts=PARTS[:2]),
    accepted_output_modes=("text/plain", "image/*"),
    history_length=3,
    return_immediately=True,
    push_config=PushConfig("https://x.org/hook", "0.3"),
    metadata={"a_b": {"c_d": 1}},
)
SEND_1 = {
    "message": MESSAGE_1 | {"role": "ROLE_USER", "parts": PARTS_1[:2]},
    "tenant": "x",
    "configuration": {
        "acceptedOutputModes": ["text/plain", "image/*"],
        "historyLength": 3,
        "returnImmediately": True,
        "taskPushNotificationConfig": {"url": "https://x.org/hook"},
    },
    "metadata": {"a_b": {"c_d": 1}},
}
SEND_03 = {
    "message": MESSAGE_03 | {"role": "user", "parts": PARTS_03[:2]},
    "configuration": {
        "acceptedOutputModes": ["text/plain", "image/*"],
        "historyLength": 3,
        "blocking": False,
        "pushNotificationConfig": {"url": "https://x.org/hook"},
    },
    "metadata": {"a_b": {"c_d": 1}},
}


def body(params: Any) -> bytes:
    """Return parameters as they are sent."""
    return json.dumps(params).encode()


def test_a_whole_request_is_read() -> None:
    newer = PushConfig("https://x.org/hook", "1.0")
    of_1_0 = msgspec.structs.replace(WHOLE, tenant="x", push_config=newer)
    assert NEW.read_send(body(SEND_1)) == of_1_0
    assert OLD.read_send(body(SEND_03)) == WHOLE


def test_a_short_request_is_read() -> None:
    """What is left out has the defaults of the specifications: all of the history, blocking."""
    assert NEW.read_send(body({"message": SHORT_1})) == SendRequest(SHORT)
    assert OLD.read_send(body({"message": SHORT_03})) == SendRequest(SHORT)


@pytest.mark.parametrize(("dialect", "short"), [(NEW, SHORT_1), (OLD, SHORT_03)])
def test_null_is_as_good_as_leaving_out(dialect: Dialect, short: dict[str, Any]) -> None:
    optional = {"contextId": None, "taskId": None, "metadata": None, "extensions": None}
    params = {"message": short | optional, "configuration": None, "metadata": None}

    assert dialect.read_send(body(params)) == SendRequest(SHORT)


@pytest.mark.parametrize(("blocking", "at_once"), [(True, False), (False, True), (None, False)])
def test_0_3_waits_unless_told_not_to(blocking: bool | None, at_once: bool) -> None:
    params = {"message": SHORT_03, "configuration": {"blocking": blocking}}

    assert OLD.read_send(body(params)).return_immediately is at_once


def test_every_part_is_read() -> None:
    """0.3 keeps no media type of text and data."""
    new = NEW.read_send(body({"message": SHORT_1 | {"parts": PARTS_1}}))
    old = OLD.read_send(body({"message": SHORT_03 | {"parts": PARTS_03}}))

    assert new.message.parts == PARTS
    assert old.message.parts == [
        *PARTS[:4],
        Part(data={"sum": 4.5, "list": [True, None]}),
        Part(data={"value": None}),
        Part(data={"value": [1]}),
    ]


@pytest.mark.parametrize(("dialect", "params"), [(NEW, SEND_1), (OLD, SEND_03)])
def test_field_names_of_the_proto_are_read_too(dialect: Dialect, params: dict[str, Any]) -> None:
    """What belongs to the caller stays as it is."""

    def snake(value: Any) -> Any:
        if isinstance(value, list):
            return [snake(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            "".join(f"_{c.lower()}" if c.isupper() else c for c in name): (
                item if name in {"metadata", "data"} else snake(item)
            )
            for name, item in value.items()
        }

    changed = snake(params)
    assert "message_id" in changed["message"]

    assert dialect.read_send(body(changed)) == dialect.read_send(body(params))


@pytest.mark.parametrize(("dialect", "short"), [(NEW, SHORT_1), (OLD, SHORT_03)])
def test_data_of_the_caller_keeps_its_names(dialect: Dialect, short: dict[str, Any]) -> None:
    data = {"a_b": [{"c_d": 1}], "metadata": {"e_f": 2}}
    part = {"data": data} | ({"kind": "data"} if dialect is OLD else {})
    message = short | {"parts": [part], "metadata": data}

    read = dialect.read_send(body({"message": message, "metadata": data}))

    assert (read.message.parts[0].data, read.message.metadata, read.metadata) == (data,) * 3


@pytest.mark.parametrize(("dialect", "short"), [(NEW, SHORT_1), (OLD, SHORT_03)])
def test_unknown_fields_are_ignored(dialect: Dialect, short: dict[str, Any]) -> None:
    params = {"message": short | {"new": [1]}, "newer": 1, "configuration": {"newest": {}}}

    assert dialect.read_send(body(params)) == SendRequest(SHORT)


def test_get_is_read() -> None:
    params = body({"id": "t", "historyLength": 0, "tenant": "x", "metadata": {"k": 1}})

    assert NEW.read_get(params) == GetRequest("t", "x", 0)
    assert OLD.read_get(params) == GetRequest("t", "", 0)
    assert NEW.read_get(b'{"id":"t"}') == OLD.read_get(b'{"id":"t"}') == GetRequest("t")
    assert NEW.read_get(b'{"id":"t","history_length":2}') == GetRequest("t", "", 2)


WRONG_1: list[tuple[Any, str, str]] = [
    ({}, "message", "is required"),
    ({"message": None}, "message", "must be an object"),
    ([], "params", "must be an object"),
    ("text", "params", "must be an object"),
    (None, "params", "must be an object"),
    ({"message": {"role": "ROLE_USER", "parts": []}}, "message.messageId", "is required"),
    ({"message": SHORT_1 | {"messageId": 1}}, "message.messageId", "must be a string"),
    ({"message": SHORT_1 | {"role": "user"}}, "message.role", "has a value that is not allowed"),
    ({"message": SHORT_1 | {"role": "ROLE_UNSPECIFIED"}}, "message.role", "has a value that is not allowed"),
    ({"message": SHORT_1 | {"parts": None}}, "message.parts", "must be a list"),
    ({"message": SHORT_1 | {"parts": {}}}, "message.parts", "must be a list"),
    ({"message": SHORT_1 | {"parts": ["hi"]}}, "message.parts[0]", "must be an object"),
    ({"message": SHORT_1 | {"parts": [{}, {"text": 1}]}}, "message.parts[1].text", "must be a string"),
    ({"message": SHORT_1 | {"metadata": [1]}}, "message.metadata", "must be an object"),
    ({"message": SHORT_1 | {"extensions": "x"}}, "message.extensions", "must be a list"),
    ({"message": SHORT_1 | {"message_id": 1}}, "message.messageId", "must be a string"),
    ({"message": SHORT_1, "tenant": 1}, "tenant", "must be a string"),
    ({"message": SHORT_1, "configuration": 1}, "configuration", "must be an object"),
    (
        {"message": SHORT_1, "configuration": {"historyLength": -1}},
        "configuration.historyLength",
        "must not be negative",
    ),
    (
        {"message": SHORT_1, "configuration": {"historyLength": "x"}},
        "configuration.historyLength",
        "must be an integer",
    ),
    (
        {"message": SHORT_1, "configuration": {"returnImmediately": "no"}},
        "configuration.returnImmediately",
        "must be true or false",
    ),
]  # fmt: skip

WRONG_03: list[tuple[Any, str, str]] = [
    ({}, "message", "is required"),
    ({"message": SHORT_03 | {"role": "ROLE_USER"}}, "message.role", "has a value that is not allowed"),
    ({"message": SHORT_03 | {"kind": "task"}}, "message.kind", "has a value that is not allowed"),
    (
        {"message": SHORT_03 | {"parts": [{"text": "hi"}]}},
        "message.parts[0].kind",
        "is required",
    ),
    (
        {"message": SHORT_03 | {"parts": [{"kind": "video", "text": "hi"}]}},
        "message.parts[0].kind",
        "has a value that is not allowed",
    ),
    ({"message": SHORT_03 | {"parts": [{"kind": "text"}]}}, "message.parts[0].text", "is required"),
    (
        {"message": SHORT_03 | {"parts": [{"kind": "data", "data": [1]}]}},
        "message.parts[0].data",
        "must be an object",
    ),
    (
        {"message": SHORT_03 | {"parts": [{"kind": "file", "file": {}}]}},
        "message.parts[0].file",
        "must have either bytes or uri",
    ),
    (
        {"message": SHORT_03 | {"parts": [{"kind": "file", "file": {"bytes": "", "uri": ""}}]}},
        "message.parts[0].file",
        "must have either bytes or uri",
    ),
    (
        {"message": SHORT_03, "configuration": {"historyLength": -1}},
        "configuration.historyLength",
        "must not be negative",
    ),
    (
        {"message": SHORT_03, "configuration": {"acceptedOutputModes": [1]}},
        "configuration.acceptedOutputModes[0]",
        "must be a string",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "params", "field", "problem"),
    [(NEW, *wrong) for wrong in WRONG_1] + [(OLD, *wrong) for wrong in WRONG_03],
)
def test_what_is_wrong_is_said_with_its_path(
    dialect: Dialect, params: Any, field: str, problem: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        dialect.read_send(body(params))

    assert (caught.value.field, caught.value.problem) == (field, problem)


@pytest.mark.parametrize("dialect", [NEW, OLD])
@pytest.mark.parametrize(
    ("params", "field", "problem"),
    [
        ({}, "id", "is required"),
        ({"id": 1}, "id", "must be a string"),
        ({"id": "t", "historyLength": -1}, "historyLength", "must not be negative"),
        ({"id": "t", "historyLength": True}, "historyLength", "must be an integer"),
    ],
)
def test_what_is_wrong_with_get_is_said_too(
    dialect: Dialect, params: Any, field: str, problem: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        dialect.read_get(body(params))

    assert (caught.value.field, caught.value.problem) == (field, problem)


@pytest.mark.parametrize("dialect", [NEW, OLD])
def test_values_of_the_caller_are_not_repeated(dialect: Dialect) -> None:
    secret = {"messageId": "m", "role": "s3cret", "parts": [], "kind": "s3cret"}

    with pytest.raises(InvalidParams) as caught:
        dialect.read_send(body({"message": secret}))

    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("dialect", [NEW, OLD])
@pytest.mark.parametrize(
    "params",
    [
        b"",
        b"{",
        b'{"message":}',
        b'{"message_id": "\xff"}',
        b'{"id": "\\ud83d"}',
        b'{"a_b": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["nothing", "cut off", "no value", "latin", "half a pair", "deep"],
)
def test_what_is_no_json_is_a_parse_error(dialect: Dialect, params: bytes) -> None:
    with pytest.raises(ParseError):
        dialect.read_send(params)


def test_a_message_is_written_as_it_was_read() -> None:
    """Text of any kind comes through unchanged."""
    text = '\0\u2028 é 😀 \\ud83d " </script>'
    for dialect, short in ((NEW, SHORT_1), (OLD, SHORT_03)):
        part = {"text": text} | ({"kind": "text"} if dialect is OLD else {})
        sent = short | {"parts": [part], "metadata": {text: text}}

        written = json.loads(dialect.event(dialect.read_send(body({"message": sent})).message))

        assert written == (sent if dialect is OLD else {"message": sent})


def test_methods_are_named_as_the_specifications_do() -> None:
    assert {"SendMessage": "send", "SendStreamingMessage": "stream", "GetTask": "get"}.items() <= (
        NEW.methods.items()
    )
    assert {"message/send": "send", "message/stream": "stream", "tasks/get": "get"}.items() <= (
        OLD.methods.items()
    )
    assert not NEW.methods.keys() & OLD.methods.keys()


def test_every_error_of_a_request_has_a_code_of_its_own() -> None:
    """Codes of ours are those that JSON-RPC leaves to servers and A2A leaves free."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    # What is said in the words of the class above.
    branches = {RequestError, errors.Refused, errors.ContextNotFound, errors.NotProvided}
    ours = {kind for kind in kinds if issubclass(kind, RequestError)} - branches

    assert ours <= CODES.keys()
    # What is said in the same words: the wrong media type of a request is one among others.
    codes = [CODES[kind] for kind in ours - {errors.WrongContentType}]
    assert len(set(codes)) == len(codes)
    assert all(-32099 <= code <= -32001 or -32700 <= code <= -32600 for code, _ in codes)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (errors.TaskNotFound(), -32001, "TASK_NOT_FOUND"),
        (errors.TaskNotCancelable(), -32002, "TASK_NOT_CANCELABLE"),
        (errors.UnsupportedOperation(), -32004, "UNSUPPORTED_OPERATION"),
        (errors.VersionNotSupported(), -32009, "VERSION_NOT_SUPPORTED"),
        (errors.TurnFailed(), -32603, "INTERNAL_ERROR"),
        (errors.StateError(), -32603, "INTERNAL_ERROR"),
        (AgentError("secret"), -32603, "INTERNAL_ERROR"),
    ],
)
def test_errors_have_the_codes_of_the_specifications(
    error: AgentError, code: int, reason: str
) -> None:
    assert (error_code(error), error_reason(error)) == (code, reason)


def test_the_details_of_an_error_are_written() -> None:
    """1.0 has the details of google.rpc; 0.3 leaves their shape open."""
    wrong, missing = InvalidParams("message.parts", "must not be empty"), errors.TaskNotFound()

    assert NEW.error_data(wrong) == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "message.parts", "description": "must not be empty"}],
        }
    ]
    assert NEW.error_data(missing) == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "TASK_NOT_FOUND",
            "domain": "a2a-protocol.org",
        }
    ]
    assert OLD.error_data(wrong) == {"field": "message.parts", "problem": "must not be empty"}
    assert OLD.error_data(missing) == {"reason": "TASK_NOT_FOUND"}
