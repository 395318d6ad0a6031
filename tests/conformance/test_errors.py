"""The table of errors (1.0 section 5.4), on every binding.

``Reply`` holds code, HTTP status, gRPC status and details against that table whenever an error is read.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from agent.errors import StateError
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import HTTP_JSON
from tests.conformance.client import in_process
from tests.conformance.reply import REASONS
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client, Reply
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

OFF = {"push": {"enabled": False}}
NEEDED = {"a2a": {"extensions": ({"uri": "https://a.example/x", "required": True},)}}


def reason(reply: Reply) -> str:
    data = reply.error["data"]
    if isinstance(data, dict):
        named: str = data["reason"]
        return named
    found: str = next(detail["reason"] for detail in data if "reason" in detail)
    return found


async def refusals(client: Client) -> dict[str, Reply]:
    """Make every error that a server with its usual settings can be made to say."""
    wire = client.wire
    done = await client.send_task("hi")
    image = wire.configuration(modes=["image/png"])
    return {
        "TASK_NOT_FOUND": await client.get("no-such-task"),
        "TASK_NOT_CANCELABLE": await client.cancel(done["id"]),
        "UNSUPPORTED_OPERATION": await client.subscribed(done["id"]),
        "CONTENT_TYPE_NOT_SUPPORTED": await client.call(
            wire.send, client.params("hi", configuration=image)
        ),
        "VERSION_NOT_SUPPORTED": await client.call(wire.get, {"id": done["id"]}, A2A_Version="9.9"),
    }


@requirement(
    "1.0/error-task-not-found",
    "1.0/error-task-not-cancelable",
    "1.0/error-unsupported",
    "1.0/error-content-type",
    "1.0/error-version",
    "1.0/error-content",
    "1.0/error-details",
    "1.0/error-well-known",
    "1.0/same-errors",
    "1.0/rpc-error",
    "1.0/http-error",
    "1.0/http-error-type",
    "1.0/http-error-info",
    "1.0/grpc-error",
    "1.0/grpc-error-info",
    "0.3/a2a-errors",
    "0.3/http-error",
    "0.3/http-status",
    "0.3/same-errors",
)
async def test_each_error_has_its_code_status_and_reason(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    for name, reply in (await refusals(answering[wire])).items():
        assert reply.code == REASONS[name].code, name
        assert reason(reply) == name


async def test_an_error_says_the_same_on_every_binding(answering: dict[Wire, Client]) -> None:
    for version in ("1.0", "0.3"):
        told = [
            {name: reply.error["message"] for name, reply in (await refusals(client)).items()}
            for wire, client in answering.items()
            if wire.version == version
        ]
        assert all(messages == told[0] for messages in told)


@requirement("1.0/error-push", "1.0/grpc-error-info", "1.0/http-error-info", "0.3/push-unsupported")
async def test_no_push_notifications_is_an_error_of_its_own(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire, **OFF) as client:
        push = wire.configuration(push=wire.push_config("https://a.example/hook"))
        reply = await client.refused("hi", configuration=push)
        assert reason(reply) == "PUSH_NOTIFICATION_NOT_SUPPORTED"


@requirement("1.0/error-extension", "1.0/extension-required")
async def test_a_missing_extension_is_an_error_of_its_own(latest: Wire) -> None:
    async with in_process(Script(ANSWER), latest, **NEEDED) as client:
        assert reason(await client.get("any")) == "EXTENSION_SUPPORT_REQUIRED"


@requirement(
    "1.0/http-bad-request",
    "1.0/grpc-bad-request",
    "1.0/rpc-error-codes",
    "1.0/validation-field",
    "0.3/validation",
    "1.0/context-refused",
    "1.0/validation",
)
async def test_an_invalid_parameter_is_named(wire: Wire, answering: dict[Wire, Client]) -> None:
    client = answering[wire]
    reply = await client.refused("hi", messageId="a\nb")
    assert (reply.code, reply.field) == (-32602, "message.messageId")
    long = await client.refused("hi", contextId="x" * 257)
    assert (long.code, long.field) == (-32602, "message.contextId")
    if wire.version == "1.0":
        (detail,) = [one for one in reply.error["data"] if "fieldViolations" in one]
        assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
        assert detail["fieldViolations"][0]["description"]


@requirement("1.0/internal-error", "1.0/errors-logged", "1.0/logs", "0.3/a2a-errors")
async def test_a_fault_of_ours_is_told_by_an_id_under_which_the_log_has_it(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broken = Script(ANSWER, starting=StateError("secret: the disk is full"))
    async with in_process(broken, wire) as client:
        headers = {"Authorization": "Bearer key-of-the-caller"}
        error = (await client.call(wire.send, client.params("hi"), **headers)).error
        assert error["code"] == -32603
        data = error["data"]
        named = [data] if isinstance(data, dict) else data
        (request_id,) = [one["requestId"] for one in named if "requestId" in one]
        assert any(request_id in record.message for record in caplog.records)
        assert "key-of-the-caller" not in caplog.text


@requirement("1.0/same-operations", "1.0/method-names", "0.3/same-operations", "0.3/methods")
async def test_every_operation_is_on_every_binding(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    """None of them is unknown."""
    client = answering[wire]
    for operation, method in wire.methods.items():
        params = (
            client.params("hi") if operation in {"send", "stream"} else _naming(wire, operation)
        )
        reply = await client.call(method, params)
        assert not reply.is_error or reply.code in {-32001, -32004, -32007, -32602}, operation
        if reply.is_error and wire.binding == HTTP_JSON:
            assert reason(reply) not in {"METHOD_NOT_FOUND", "METHOD_NOT_ALLOWED"}


def _naming(wire: Wire, operation: str) -> dict[str, object]:
    given: dict[str, dict[str, object]] = {
        "list": {},
        "extended_card": {},
        "list_push": wire.push_task_params("x"),
        "get_push": wire.push_id_params("x", "y"),
        "delete_push": wire.push_id_params("x", "y"),
        "create_push": wire.push_params("x", wire.push_config("https://a.example/hook")),
    }
    return given.get(operation, {"id": "x"})


@requirement("1.0/utf-8")
async def test_json_is_written_in_utf_8(json_wire: Wire, answering: dict[Wire, Client]) -> None:
    client = answering[json_wire]
    reply = await client.call(json_wire.send, client.params("Zürich 東京 🚀"))
    assert "Zürich 東京 🚀" in reply.text
    assert json.loads(reply.text)
