"""Parameters: what is refused, naming the field, and what is forgiven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.stacks import DataPart
from tests.conformance._requirements import requirement
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.client import Client
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

LONG = "x" * 257

# Changes to a good message, and the field that an error must name: of either version, and of one.
BOTH: dict[str, tuple[Json, str]] = {
    "no message": ({"message": ...}, "message"),
    "null as message": ({"message": None}, "message"),
    "a string as message": ({"message": "hi"}, "message"),
    "a list as message": ({"message": []}, "message"),
    "no messageId": ({"message.messageId": ...}, "message.messageId"),
    "null as messageId": ({"message.messageId": None}, "message.messageId"),
    "a number as messageId": ({"message.messageId": 1}, "message.messageId"),
    "an empty messageId": ({"message.messageId": ""}, "message.messageId"),
    "a long messageId": ({"message.messageId": LONG}, "message.messageId"),
    "NUL in messageId": ({"message.messageId": "a\0b"}, "message.messageId"),
    "a line break in messageId": ({"message.messageId": "a\nb"}, "message.messageId"),
    "no role": ({"message.role": ...}, "message.role"),
    "an unknown role": ({"message.role": "system"}, "message.role"),
    "an empty role": ({"message.role": ""}, "message.role"),
    "no parts": ({"message.parts": ...}, "message.parts"),
    "null as parts": ({"message.parts": None}, "message.parts"),
    "empty parts": ({"message.parts": []}, "message.parts"),
    "an object as parts": ({"message.parts": {}}, "message.parts"),
    "a string as part": ({"message.parts": ["hi"]}, "message.parts[0]"),
    "too many parts": ({"message.parts": ["PART"] * 101}, "message.parts"),
    "a number as contextId": ({"message.contextId": 1}, "message.contextId"),
    "a long contextId": ({"message.contextId": LONG}, "message.contextId"),
    "NUL in contextId": ({"message.contextId": "\0"}, "message.contextId"),
    "a number as taskId": ({"message.taskId": 1}, "message.taskId"),
    "a control character in taskId": ({"message.taskId": "a\x1b"}, "message.taskId"),
    "a list as metadata": ({"message.metadata": []}, "message.metadata"),
    "a string as metadata": ({"metadata": "x"}, "metadata"),
    "a string as extensions": ({"message.extensions": "x"}, "message.extensions"),
    "a number as an extension": ({"message.extensions": ["x", 1]}, "message.extensions[1]"),
    "a number as reference": ({"message.referenceTaskIds": [1]}, "message.referenceTaskIds[0]"),
    "a list as configuration": ({"configuration": []}, "configuration"),
    "a string as modes": (
        {"configuration": {"acceptedOutputModes": "text/plain"}},
        "configuration.acceptedOutputModes",
    ),
    "a number as mode": (
        {"configuration": {"acceptedOutputModes": ["text/plain", 1]}},
        "configuration.acceptedOutputModes[1]",
    ),
    "a negative historyLength": (
        {"configuration": {"historyLength": -1}},
        "configuration.historyLength",
    ),
    "a fraction as historyLength": (
        {"configuration": {"historyLength": 1.5}},
        "configuration.historyLength",
    ),
    "true as historyLength": (
        {"configuration": {"historyLength": True}},
        "configuration.historyLength",
    ),
}
ONE: dict[str, tuple[Wire, Json, str]] = {
    "an unknown role": (V1_0, {"message.role": "ROLE_UNSPECIFIED"}, "message.role"),
    "the role of 0.3": (V1_0, {"message.role": "user"}, "message.role"),
    "the agent's role": (V1_0, {"message.role": "ROLE_AGENT"}, "message.role"),
    "a part without content": (V1_0, {"message.parts": [{}]}, "message.parts[0]"),
    "two contents": (V1_0, {"message.parts": [{"text": "a", "url": "b"}]}, "message.parts[0]"),
    "text and data": (V1_0, {"message.parts": [{"text": "", "data": None}]}, "message.parts[0]"),
    "a number as text": (V1_0, {"message.parts": [{"text": 1}]}, "message.parts[0].text"),
    "bad base64": (V1_0, {"message.parts": ["PART", {"raw": "a!b"}]}, "message.parts[1]"),
    "half of base64": (V1_0, {"message.parts": [{"raw": "A"}]}, "message.parts[0]"),
    "a file as URL": (V1_0, {"message.parts": [{"url": "file:///etc"}]}, "message.parts[0]"),
    "a string as return": (
        V1_0,
        {"configuration": {"returnImmediately": "true"}},
        "configuration.returnImmediately",
    ),
    "a number as tenant": (V1_0, {"tenant": 1}, "tenant"),
    "a tenant that is not here": (V1_0, {"tenant": "elsewhere"}, "tenant"),
    "the role of 1.0": (V0_3, {"message.role": "ROLE_USER"}, "message.role"),
    "the role of an agent": (V0_3, {"message.role": "agent"}, "message.role"),
    "no kind of part": (V0_3, {"message.parts": [{"text": "a"}]}, "message.parts[0].kind"),
    "an unknown kind of part": (
        V0_3,
        {"message.parts": [{"kind": "video"}]},
        "message.parts[0].kind",
    ),
    "another kind of object": (V0_3, {"message.kind": "task"}, "message.kind"),
    "a text part without text": (
        V0_3,
        {"message.parts": [{"kind": "text"}]},
        "message.parts[0].text",
    ),
    "a list as data": (
        V0_3,
        {"message.parts": [{"kind": "data", "data": []}]},
        "message.parts[0].data",
    ),
    "a file without content": (
        V0_3,
        {"message.parts": [{"kind": "file", "file": {"name": "a"}}]},
        "message.parts[0].file",
    ),
    "a file with two contents": (
        V0_3,
        {"message.parts": [{"kind": "file", "file": {"bytes": "", "uri": "https://a.example"}}]},
        "message.parts[0].file",
    ),
    "base64 that is none": (
        V0_3,
        {"message.parts": [{"kind": "file", "file": {"bytes": "%%%%"}}]},
        "message.parts[0]",
    ),
    "a string as blocking": (
        V0_3,
        {"configuration": {"blocking": "no"}},
        "configuration.blocking",
    ),
}


def changed(client: Client, changes: Json) -> Json:
    """Return good parameters with changes by path; ``...`` leaves a member out."""
    params = client.params("hi")
    for path, value in changes.items():
        *parents, name = path.split(".")
        holder = params
        for parent in parents:
            holder = holder[parent]
        if value is ...:
            del holder[name]
        else:
            holder[name] = list(with_parts(client, value)) if isinstance(value, list) else value
    return params


def with_parts(client: Client, items: list[Json]) -> Iterator[Json]:
    for item in items:
        yield client.wire.text("hi") if item == "PART" else item


async def assert_refused(client: Client, changes: Json, field: str) -> None:
    for method in (client.wire.send, client.wire.stream):
        reply = await client.call(method, changed(client, changes))
        assert (reply.code, reply.field) == (-32602, field)
    assert client.script.requests == []
    assert await client.send("still there?")


@pytest.mark.parametrize(("changes", "field"), BOTH.values(), ids=BOTH.keys())
@requirement(
    "rpc/invalid-params",
    "1.0/validation",
    "1.0/validation-field",
    "1.0/required",
    "1.0/not-empty",
    "1.0/context-refused",
    "0.3/validation",
    "0.3/rpc-errors",
)
async def test_a_wrong_parameter_is_refused_by_name(
    json_wire: Wire, answering: dict[Wire, Client], changes: Json, field: str
) -> None:
    await assert_refused(answering[json_wire], changes, field)


@pytest.mark.parametrize(("json_wire", "changes", "field"), ONE.values(), ids=ONE.keys())
@requirement("1.0/validation-field", "1.0/enums", "0.3/validation", "0.3/parts", "0.3/file")
async def test_a_parameter_that_one_version_does_not_know_is_refused(
    json_wire: Wire, answering: dict[Wire, Client], changes: Json, field: str
) -> None:
    await assert_refused(answering[json_wire], changes, field)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "id"),
        ({"id": None}, "id"),
        ({"id": 1}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a\0b"}, "id"),
        ({"id": LONG}, "id"),
        ({"id": "a", "historyLength": -1}, "historyLength"),
        ({"id": "a", "historyLength": "1"}, "historyLength"),
    ],
)
@requirement("1.0/validation-field", "0.3/validation")
async def test_a_wrong_parameter_of_get_is_refused_by_name(
    rpc: Wire, answering: dict[Wire, Client], params: Json, field: str
) -> None:
    reply = await answering[rpc].call(rpc.get, params)
    assert (reply.code, reply.field) == (-32602, field)


@requirement("1.0/unknown-fields")
async def test_unknown_fields_are_ignored_everywhere(
    json_wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[json_wire]
    part = json_wire.text("hi") | {"color": "red"}
    params = client.params(part, weather={"a": [1]}, configuration={"speed": 11}) | {"x": None}
    assert (await client.call(json_wire.send, params)).sent


@requirement("1.0/camel-case", "1.0/metadata")
async def test_the_names_of_the_proto_are_understood_as_well(
    json_wire: Wire, answering: dict[Wire, Client]
) -> None:
    """ProtoJSON parsers must accept them; what is the caller's own keeps its names."""
    client = answering[json_wire]
    message = client.message(
        json_wire.data({"some_key": {"other_key": 1}}), metadata={"my_key": {"your_key": 2}}
    )
    message["message_id"] = message.pop("messageId")
    params = {"message": message | {"context_id": "c"}, "configuration": {"history_length": 0}}
    task = (await client.call(json_wire.send, params)).sent["task"]
    assert task["contextId"] == "c"
    assert "history" not in task
    (request,) = client.script.requests
    assert request.message_id == "message-1"
    assert request.metadata == {"my_key": {"your_key": 2}}
    assert request.parts == (DataPart({"some_key": {"other_key": 1}}),)
