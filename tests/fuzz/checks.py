"""What every answer must be like, whatever was asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from tests.conformance.reply import LEAKS, REASONS, RestReply, RpcReply
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.wire import Json, Wire
    from tests.fuzz.request import Sent
    from tests.fuzz.served import Answer

RPC_STATUSES = {200, 204, 409, 413, 415, 429, 503}
CODES = {told.code for told in REASONS.values()} - {-32603}
ECHOED = {"extensions", "referenceTaskIds"}
# Errors that are known before it is known who asks what: the id is null then.
BEFORE_THE_CALL = {-32700, -32600, -32005, -32050, -32602}
# What the paths of HTTP+JSON begin with.
OURS = (
    *("/message:", "/tasks/", "/contexts/", "/extendedAgentCard/"),
    *("/v1/message:", "/v1/tasks/", "/v1/card/"),
)


def strict(text: str | bytes) -> Json:
    """Read JSON; raises for what only looks like it."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Json:
    raise ValueError(constant)


def frames(answer: Answer) -> list[str]:
    """Return the data of each event of a stream."""
    found = answer.body.decode().split("\n\n")
    assert found.pop() == ""
    return [frame for frame in found if not frame.startswith(":")]


def check_rpc(answer: Answer, request: Sent, sent: bytes) -> list[str]:
    """Check the answer of JSON-RPC to the body ``sent``; returns what is counted: codes, or "result"."""
    assert answer.status in RPC_STATUSES, answer
    asked = _read(sent)
    if answer.status == 204:
        assert answer.body == b""
        assert asked is not None
        return ["nothing"]
    if answer.content_type == "text/event-stream":
        assert answer.status == 200
        bodies = [strict(_data(frame)) for frame in frames(answer)]
        assert bodies or answer.left or _resumes(request)
    else:
        assert answer.content_type == "application/json"
        said = strict(answer.body)
        bodies = said if isinstance(said, list) else [said]
        assert bodies
        if isinstance(said, list):
            assert isinstance(asked, list)
            assert len(said) <= len(asked)
    calls = asked if isinstance(asked, list) else [asked]
    return [_check_response(answer, body, calls) for body in bodies]


def _resumes(sent: Sent) -> bool:
    """Whether there may be nothing to tell: all of it was heard."""
    return any(name == b"last-event-id" for name, _ in sent.headers)


def _data(frame: str) -> str:
    fields = dict(line.split(": ", 1) for line in frame.split("\n"))
    assert fields.keys() <= {"id", "data"}
    assert fields.get("id", "1").isdecimal()
    return fields["data"]


def _check_response(answer: Answer, body: Json, calls: Sequence[Json]) -> str:
    failed = "error" in body
    assert body.keys() == {"jsonrpc", "id", "error" if failed else "result"}
    assert body["jsonrpc"] == "2.0"
    asked = [call for call in calls if isinstance(call, dict) and _same_id(call, body["id"])]
    if not failed:
        assert asked, (body, calls)
        # In a batch two calls may have the same id: which is answered cannot be told then.
        if len(asked) == 1:
            _check_result(asked[0]["method"], body["result"])
        return "result"
    error = body["error"]
    assert type(error["code"]) is int
    assert error["code"] in CODES, error
    if not asked:
        assert body["id"] is None
        assert error["code"] in BEFORE_THE_CALL or not all(map(_is_call, calls)), body
    wire = V0_3 if isinstance(error["data"], dict) else V1_0
    response = httpx.Response(answer.status, text=json.dumps(body), headers=answer.headers)
    RpcReply(response, wire).check_error(body)
    return str(error["code"])


def _is_call(call: Json) -> bool:
    return isinstance(call, dict) and type(call.get("id")) in {str, int, float}


def _same_id(call: Json, answered: Json) -> bool:
    asked = call.get("id")
    return type(asked) is type(answered) and bool(asked == answered)


def _check_result(method: str, result: Json) -> None:
    for wire in (V1_0, V0_3):
        for operation, name in wire.methods.items():
            if name == method:
                check_result(wire, operation, result)


def check_result(wire: Wire, operation: str, result: Json) -> None:
    """Hold a result against the types of its version."""
    read = {
        "send": wire.read_event,
        "stream": wire.read_event,
        "subscribe": wire.read_event,
        "get": wire.read_task,
        "cancel": wire.read_task,
        "list": wire.read_page,
        "create_push": _read_push_config,
        "get_push": _read_push_config,
        "list_push": _read_push_configs,
        "delete_push": wire.read_deleted,
        "extended_card": wire.read_card,
    }
    read[operation](_without_empty_lists(result))


def _read_push_config(config: Json) -> None:
    """Schemes and all that are as they were given, and may be odd."""
    assert isinstance(config["taskId"], str)
    assert isinstance(config.get("pushNotificationConfig", config)["url"], str)


def _read_push_configs(answer: Json) -> None:
    for config in answer if isinstance(answer, list) else answer.get("configs", []):
        _read_push_config(config)


def _without_empty_lists(said: Json) -> Json:
    """A message is told as it came: with lists of nothing, which nobody else would write."""
    if isinstance(said, list):
        return [_without_empty_lists(item) for item in said]
    if not isinstance(said, dict):
        return said
    kept = {name: value for name, value in said.items() if name not in ECHOED or value != []}
    return {name: _without_empty_lists(value) for name, value in kept.items()}


def check_rest(answer: Answer, sent: Sent) -> list[str]:
    """Check the answer of HTTP+JSON; returns what is counted: codes, or "result"."""
    assert answer.status < 500 or answer.status == 503, answer
    if answer.status in {404, 405} and answer.body.startswith(b'{"detail":'):
        assert not sent.target.startswith(OURS), sent.target
        return ["no path of this binding"]
    if answer.status == 204 or sent.method == "HEAD":
        assert answer.body == b""
        return ["nothing"]
    if answer.content_type == "text/event-stream":
        said = [dict(line.split(": ", 1) for line in f.split("\n")) for f in frames(answer)]
        assert said or answer.left or _resumes(sent)
        return [_check_event(event) for event in said]
    if answer.status == 200:
        strict(answer.body)
        return ["result"]
    response = httpx.Response(answer.status, content=answer.body, headers=answer.headers)
    code = RestReply(response, V1_0).error["code"]
    assert code in CODES
    return [str(code)]


def _check_event(event: dict[str, str]) -> str:
    assert event.keys() <= {"id", "data", "event"}
    body = strict(event["data"])
    if event.get("event") != "error":
        return "result"
    assert not [leak for leak in LEAKS if leak in json.dumps(body)]
    return str(body["error"]["code"])


def _read(sent: bytes) -> Json:
    try:
        return json.loads(sent)
    except (ValueError, RecursionError):
        return None
