"""The audit log of real servers: every operation, every way to end, and what becomes of the file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.cli import exits
from agent.errors import ModelNotFound, PromptTooLong, StackUnavailable, TurnFailed
from agent.settings import Settings
from agent.stacks import Failed, InputRequired
from tests.durability.process import Process, running, until
from tests.fakes.api_key import KEY, KEYED, SHOWN
from tests.fakes.identities import TOLD, user
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

SECONDS = 30
CANARY = "canary-in-the-message"


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what the log says."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def message(text: str = CANARY, **fields: str) -> dict[str, Any]:
    """Return the parameters that send a message."""
    return {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]} | fields}


def call(method: str, params: dict[str, Any], call_id: int = 1) -> dict[str, Any]:
    """Return a call of JSON-RPC."""
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


@asynccontextmanager
async def serving(
    script: Script, path: Path | None, headers: dict[str, str], **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve ``script`` with a log at ``path``; yields a client that shows ``headers``."""
    with scripted(script) as name, anyio.fail_after(SECONDS):
        usual = {
            "name": name,
            "stack": STACK,
            "a2a_state": {"memory": True},
            "audit": {"enabled": path is not None, "path": path},
            "push": {"allow": ["127.0.0.1"]},
        }
        async with (
            run_server(create_app(Settings.model_validate(usual | settings))) as url,
            httpx.AsyncClient(base_url=url, headers=headers) as http,
        ):
            yield http


async def test_every_operation_is_told_with_the_objects_it_is_about(tmp_path: Path) -> None:
    """Over both bindings of HTTP, with the request's own id."""
    path = tmp_path / "audit.log"
    script = Script(ANSWER, [InputRequired("Which?")], [Failed("No.")])
    async with serving(script, path, user("ann"), authentication=TOLD) as http:

        async def rpc(method: str, **params: Any) -> Any:
            answer = await http.post("/a2a", json=call(method, params))
            return answer.json().get("result")

        done = (await rpc("SendMessage", **message()))["task"]
        async with http.stream("POST", "/message:stream", json=message()) as stream:
            told = [line async for line in stream.aiter_lines() if line.startswith("data:")]
        waiting = json.loads(told[0][5:])["task"]["id"]
        hook = {
            "taskId": waiting,
            "id": "hook",
            "url": "http://127.0.0.1:8999/h?q=canary-in-the-url",
        }
        await rpc("CreateTaskPushNotificationConfig", **hook, token="canary-in-the-token")
        for method in ("Get", "Delete"):
            await rpc(f"{method}TaskPushNotificationConfig", taskId=waiting, id="hook")
        await rpc("ListTaskPushNotificationConfigs", taskId=waiting)
        await http.get(f"/tasks/{done['id']}", headers={"x-request-id": "mine"})
        await http.get("/tasks", params={"contextId": done["contextId"]})
        await rpc("SubscribeToTask", id=done["id"])
        await rpc("CancelTask", id=waiting)
        await rpc("SendMessage", **message())
        await rpc("GetTask", id="nowhere")
        await rpc("GetExtendedAgentCard")
        await http.delete(f"/tasks/{done['id']}")
        await http.delete(f"/contexts/{done['contextId']}")

    found = lines(path)
    failed = next(line for line in found if line.get("state") == "TASK_STATE_FAILED")["objects"]
    waits = next(line for line in found if line["operation"] == "SendStreamingMessage")["objects"]
    whole = {"task_id": done["id"], "context_id": done["contextId"]}
    pushed = {"task_id": waiting, "push_config_id": "hook"}
    assert waits["task_id"] == waiting
    ended = [line for line in found if line["operation"] == "TaskEnded"]
    assert [(line["objects"], line["state"], line["owner"]) for line in ended] == [
        (whole, "TASK_STATE_COMPLETED", "ann"),
        (waits, "TASK_STATE_CANCELED", "ann"),
        (failed, "TASK_STATE_FAILED", "ann"),
    ]
    deeds = [line for line in found if line["operation"] != "TaskEnded"]
    assert [
        (line["surface"], line["operation"], line["objects"], line.get("reason", line["outcome"]))
        for line in deeds
    ] == [
        ("jsonrpc", "SendMessage", whole, "ok"),
        ("http+json", "SendStreamingMessage", waits, "ok"),
        ("jsonrpc", "CreateTaskPushNotificationConfig", pushed, "ok"),
        ("jsonrpc", "GetTaskPushNotificationConfig", pushed, "ok"),
        ("jsonrpc", "DeleteTaskPushNotificationConfig", pushed, "ok"),
        ("jsonrpc", "ListTaskPushNotificationConfigs", {"task_id": waiting}, "ok"),
        ("http+json", "GetTask", {"task_id": done["id"]}, "ok"),
        ("http+json", "ListTasks", {"context_id": done["contextId"]}, "ok"),
        ("jsonrpc", "SubscribeToTask", {"task_id": done["id"]}, "UNSUPPORTED_OPERATION"),
        ("jsonrpc", "CancelTask", {"task_id": waiting}, "ok"),
        ("jsonrpc", "SendMessage", failed, "ok"),
        ("jsonrpc", "GetTask", {"task_id": "nowhere"}, "TASK_NOT_FOUND"),
        ("jsonrpc", "GetExtendedAgentCard", {}, "UNSUPPORTED_OPERATION"),
        ("http+json", "DeleteTask", {"task_id": done["id"]}, "ok"),
        ("http+json", "DeleteContext", {"context_id": done["contextId"]}, "ok"),
    ]
    assert {(line["user_id"], line["username"], line["address"]) for line in deeds} == {
        ("ann", "Ann", "127.0.0.1")
    }
    ids = [line["request_id"] for line in deeds]
    assert ids[6] == "mine"
    assert len(set(ids)) == len(ids)
    assert (ended[0]["request_id"], ended[2]["request_id"]) == (ids[0], ids[10])
    assert "canary" not in path.read_text()


async def test_who_works_for_another_is_told_and_for_whom(tmp_path: Path) -> None:
    """By the action that allows it; for whom it does not, it is not there."""
    path = tmp_path / "audit.log"
    rules = [{"role": "*", "actions": ["a2a_jsonrpc", "read_other_conversations"]}]
    settings = {"authentication": TOLD, "authorization": {"access_rules": rules}}
    async with serving(Script(ANSWER), path, user("ann"), **settings) as http:
        answer = await http.post("/a2a", json=call("SendMessage", message()))
        task_id = answer.json()["result"]["task"]["id"]
        bob = user("bob")
        assert (await http.get(f"/tasks/{task_id}", headers=bob)).status_code == 200
        assert (await http.delete(f"/tasks/{task_id}", headers=bob)).status_code == 404

    read, deleted = lines(path)[-2:]
    assert (read["user_id"], read["owner"], read["outcome"]) == ("bob", "ann", "ok")
    assert (deleted["user_id"], deleted["reason"]) == ("bob", "TASK_NOT_FOUND")
    assert "owner" not in deleted


async def test_who_is_known_is_told_by_name_also_when_their_headers_keep_them_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.log"
    settings = {"authentication": TOLD}
    async with serving(Script(ANSWER), path, user("ann"), **settings) as http:
        answer = await http.get("/tasks", headers={"mcp-headers": "{"})
        assert answer.status_code == 400

    (line,) = lines(path)
    assert (line["user_id"], line["reason"]) == ("ann", "INVALID_PARAMS")


async def test_who_lists_the_tasks_of_everybody_is_told_to_have_done_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    settings = {
        "authentication": TOLD,
        "authorization": {"access_rules": [{"role": "*", "actions": ["admin"]}]},
    }
    async with serving(Script(ANSWER), path, user("ann"), **settings) as http:
        assert (await http.get("/tasks")).status_code == 200

    assert (lines(path)[-1]["operation"], lines(path)[-1]["owner"]) == ("ListTasks", "*")


async def test_who_is_refused_is_told_and_what_they_showed_is_not(tmp_path: Path) -> None:
    """At the way in, and by the access rules."""
    path = tmp_path / "audit.log"
    rules = {"access_rules": [{"role": "*", "actions": ["info"]}]}
    settings = {"authentication": KEYED, "authorization": rules}
    async with serving(Script(ANSWER), path, SHOWN, **settings) as http:
        body = call("SendMessage", message())
        assert (await http.post("/a2a?user_id=ann", json=body)).status_code == 403
        wrong = {"authorization": "Bearer canary-in-the-header"}
        answer = await http.post("/a2a?q=canary-in-the-query", json=body, headers=wrong)
        assert answer.status_code == 401
        answer = await http.get("/tasks/x?user_id=canary-in-the-id", headers=wrong)
        assert answer.status_code == 401

    denied, *unknown = lines(path)
    assert (denied["operation"], denied["outcome"], denied["reason"], denied["user_id"]) == (
        "SendMessage",
        "denied",
        "PERMISSION_DENIED",
        "ann",
    )
    for line, surface in zip(unknown, ("jsonrpc", "http+json"), strict=True):
        assert (line["user_id"], line["operation"], line["surface"]) == (None, None, surface)
        assert (line["outcome"], line["reason"]) == ("denied", "UNAUTHENTICATED")
    assert "canary" not in path.read_text()
    assert KEY not in path.read_text()


async def test_who_shows_nothing_cannot_fill_the_log_and_who_guesses_is_told_each_time(
    tmp_path: Path,
) -> None:
    """Over every binding of HTTP, and none is forgotten."""
    path = tmp_path / "audit.log"
    async with serving(Script(ANSWER), path, {}, authentication=KEYED) as http:
        for number in range(40):
            where = ("/tasks", "/v1/config")[number % 2]
            assert (await http.get(where)).status_code == 401
            assert (await http.post("/a2a", json=call("ListTasks", {}))).status_code == 401
        for guess in range(5):
            wrong = {"authorization": f"Bearer guess-{guess}"}
            assert (await http.get("/tasks", headers=wrong)).status_code == 401

    told = lines(path)
    assert {line["reason"] for line in told} == {"UNAUTHENTICATED"}
    assert sum(1 + line.get("repeated", 0) for line in told) == 85
    assert 5 < len(told) < 85


async def test_routes_of_the_rest_layer_are_told_too(tmp_path: Path) -> None:
    """Done, forbidden, and refused at the way in."""
    path = tmp_path / "audit.log"
    rules = {"access_rules": [{"role": "*", "actions": ["info"]}]}
    settings = {"authentication": KEYED, "authorization": rules}
    async with serving(Script(ANSWER), path, SHOWN, **settings) as http:
        assert (await http.get("/readiness", headers={"x-request-id": "mine"})).status_code == 200
        assert (await http.post("/authorized")).status_code == 200
        assert (await http.get("/v1/config")).status_code == 403
        nobody = {"authorization": "Bearer canary"}
        assert (await http.get("/v1/config", headers=nobody)).status_code == 401

    told = ("surface", "operation", "outcome", "reason")
    assert [tuple(line.get(key) for key in told) for line in lines(path)] == [
        ("rest", "GET /readiness", "ok", None),
        ("rest", "POST /authorized", "ok", None),
        ("rest", "GET /v1/config", "denied", "PERMISSION_DENIED"),
        ("rest", None, "denied", "UNAUTHENTICATED"),
    ]
    assert lines(path)[0]["request_id"] == "mine"
    assert "canary" not in path.read_text()


async def test_the_routes_tell_why_they_refuse_and_not_that_the_server_broke(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.log"
    asked = {"query": "x", "generate_topic_summary": False}
    turns: list[Any] = [TurnFailed("tired"), PromptTooLong(), StackUnavailable(), ModelNotFound()]
    async with serving(Script(*([turn] for turn in turns)), path, {}) as http:
        assert (await http.post("/v1/feedback", json={})).status_code == 403
        assert (await http.get("/v1/conversations/x")).status_code == 400
        assert (await http.post("/v1/query", json=asked | {"shield_ids": []})).status_code == 422
        for status in (500, 413, 503, 404):
            assert (await http.post("/v1/query", json=asked)).status_code == status

    rest = [line for line in lines(path) if line.get("surface") == "rest"]
    assert [(line["outcome"], line["reason"]) for line in rest] == [
        ("denied", "PERMISSION_DENIED"),
        ("failed", "INVALID_REQUEST"),
        ("failed", "INVALID_PARAMS"),
        ("failed", "TURN_FAILED"),
        ("failed", "PAYLOAD_TOO_LARGE"),
        ("failed", "STACK_UNAVAILABLE"),
        ("failed", "RESOURCE_NOT_FOUND"),
    ]


async def test_the_calls_of_a_batch_are_told_one_by_one(tmp_path: Path) -> None:
    """They came with one request."""
    path = tmp_path / "audit.log"
    async with serving(Script(ANSWER), path, {"x-request-id": "batch"}) as http:
        batch = [call("GetTask", {"id": f"t-{number}"}, number) for number in range(3)]
        await http.post("/a2a", json=batch)

    assert sorted(line["objects"]["task_id"] for line in lines(path)) == ["t-0", "t-1", "t-2"]
    assert {line["request_id"] for line in lines(path)} == {"batch"}


async def test_nothing_is_told_unless_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    """The default."""
    async with serving(Script(ANSWER), None, {}) as http:
        await http.post("/a2a", json=call("SendMessage", message()))

    assert "SendMessage" not in capfd.readouterr().err


async def test_a_server_that_stops_or_dies_has_told_what_it_did(tmp_path: Path) -> None:
    """Nothing waits in memory; what was moved away while it ran is followed by a new file."""
    path = tmp_path / "audit.log"
    server = Process(
        tmp_path,
        a2a_state={"sqlite": {"db_path": str(tmp_path / "state.db")}},
        audit={"enabled": True, "path": str(path)},
    )
    async with running(server), httpx.AsyncClient(base_url=server.url) as http:

        async def ask(request_id: str) -> None:
            body = call("GetTask", {"id": "t"})
            await http.post("/a2a", json=body, headers={"x-request-id": request_id})

        await ask("one")
        path.rename(tmp_path / "audit.log.1")
        await ask("two")
        assert [line["request_id"] for line in lines(path)] == ["two"]
        server.kill()
        await server.start()
        await ask("three")
        server.signal(signal.SIGTERM)
        await server.ended()

    assert [line["request_id"] for line in lines(path)] == ["two", "three"]


async def test_several_worker_processes_write_whole_lines(tmp_path: Path) -> None:
    """Each request is told once, by whichever served it."""
    path = tmp_path / "audit.log"
    server = Process(
        tmp_path,
        a2a_state={"sqlite": {"db_path": str(tmp_path / "state.db")}},
        audit={"enabled": True, "path": str(path)},
    )
    config = json.loads(server.config.read_text())
    config["service"]["workers"] = 2
    server.config.write_text(json.dumps(config))
    wanted = {f"r-{number}" for number in range(200)}
    async with running(server):

        async def ask(request_ids: list[str]) -> None:
            async with httpx.AsyncClient(base_url=server.url) as http:
                for request_id in request_ids:
                    body = call("GetTask", {"id": request_id * 20})
                    await http.post("/a2a", json=body, headers={"x-request-id": request_id})

        ordered = sorted(wanted)
        async with anyio.create_task_group() as group:
            for start in range(8):
                group.start_soon(ask, ordered[start::8])
        with anyio.fail_after(SECONDS):
            await until(lambda: len(path.read_text().splitlines()) >= len(wanted))

    assert sorted(line["request_id"] for line in lines(path)) == sorted(wanted)


@pytest.mark.parametrize("where", ["no/such/folder/audit.log", "."])
async def test_a_log_that_cannot_be_written_keeps_the_server_from_starting(
    tmp_path: Path, where: str
) -> None:
    """Better no server than one whose deeds go untold."""
    config = tmp_path / "config.yaml"
    audit = {"enabled": True, "path": str(tmp_path / where)}
    config.write_text(json.dumps({"a2a_state": {"memory": True}, "audit": audit}))
    program = Path(sys.executable).with_name("llamastack-a2a")
    ended = await anyio.run_process(
        [program, "serve", "--port", "0", "--config", config], check=False, cwd=tmp_path
    )

    assert ended.returncode == exits.USAGE
    assert b"audit.path: cannot be written: " in ended.stderr


FULL = """
import logging, resource, signal, sys
from pathlib import Path
from agent.audit import Audit
from agent.caller import Caller

logging.basicConfig(stream=sys.stdout, format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
path = Path(sys.argv[1])
with Audit(path) as audit:
    for name, size in (("One", most), ("Two", None), ("Three", 0), ("Four", most)):
        size = path.stat().st_size + 20 if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
        with audit.recording(Caller("ann"), name):
            pass
"""


def test_a_full_disk_takes_nothing_down(tmp_path: Path) -> None:
    """The log of the server tells of it once; a line that was cut off spoils no other."""
    path = tmp_path / "audit.log"
    ended = subprocess.run(
        [sys.executable, "-c", FULL, path],
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=Path(__file__).parents[2],
    )

    whole, torn, after = path.read_text().splitlines()
    assert len(torn) == 20
    assert [json.loads(line)["operation"] for line in (whole, after)] == ["One", "Four"]
    first, second = ended.stdout.splitlines()
    assert first.startswith("The audit log cannot be written: ")
    assert second == "The audit log is written again; lines that may be lost: 2"
