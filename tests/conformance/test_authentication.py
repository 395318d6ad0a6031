"""Who asks, and what they may do: every operation wants to know, on every binding."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.stacks import InputRequired
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import CARD, GRPC, HTTP_JSON, JSON_RPC, SERVER
from tests.conformance.client import in_process
from tests.conformance.wire_1_0 import GRPC_1_0, HTTP_1_0, V1_0
from tests.conformance.wires import WIRES
from tests.fakes.api_key import KEY, KEYED, SHOWN
from tests.fakes.identities import TOLD, user
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.client import Client, Reply
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

PUSH: dict[str, Any] = {"push": {"allow": ("127.0.0.1",)}}
UNAUTHENTICATED, DENIED = -32055, -32056
WRONG = [
    {"authorization": "Bearer another"},
    {"authorization": f"Basic {KEY}"},
    {"authorization": "Bearer"},
    {"authorization": KEY},
]
PUBLIC = ("/.well-known/agent-card.json", "/.well-known/agent.json", "/a2a")


@pytest.fixture
def extended(tmp_path: Path) -> dict[str, Any]:
    """Return the settings of an extended card, for those who know the key."""
    path = tmp_path / "extended.yaml"
    path.write_text("description: For those who are known.")
    return {"a2a": {"extended_card_path": path}, "authentication": KEYED}


def may(*actions: str) -> dict[str, Any]:
    """Return the settings in which everybody may take these actions only."""
    rules = [{"role": "*", "actions": list(actions)}]
    return {"authorization": {"access_rules": rules}}


async def asked(client: Client, task_id: str) -> dict[str, Reply]:
    """Ask for everything that there is."""
    wire = client.wire
    hook = wire.push_config("http://127.0.0.1:8999/hook", config_id="mine")
    replies = {
        "send": await client.call(wire.send, client.params("hi")),
        "send to": await client.call(wire.send, client.params("hi", taskId=task_id)),
        "stream": await client.call(wire.stream, client.params("hi")),
        "get": await client.get(task_id),
        "cancel": await client.cancel(task_id),
        "subscribe": await client.subscribed(task_id),
        "create_push": await client.create_push(task_id, hook),
        "get_push": await client.get_push(task_id, "mine"),
        "list_push": await client.list_push(task_id),
        "delete_push": await client.delete_push(task_id, "mine"),
        "extended_card": await client.call(wire.methods["extended_card"], {}),
    }
    if "list" in wire.methods:
        replies["list"] = await client.call(wire.methods["list"], {})
    assert replies.keys() >= wire.methods.keys()
    return replies


@requirement("1.0/authentication", "1.0/challenge", "0.3/authentication")
async def test_nothing_is_done_for_whom_nobody_knows(wire: Wire, extended: dict[str, Any]) -> None:
    """Whatever is asked, the answer is 401 with what is wanted, and it tells of nothing."""
    async with in_process(Script(ANSWER), wire, **PUSH | extended) as client:
        known = client.showing(SHOWN)
        task = await known.send_task("hi")
        there, nowhere = await asked(client, task["id"]), await asked(client, "nowhere")
        for name, reply in there.items():
            assert reply.code == UNAUTHENTICATED, name
            assert reply.headers["www-authenticate"].startswith("Bearer"), name
            assert (reply.error, reply.status) == (nowhere[name].error, nowhere[name].status), name
            assert wire.binding == GRPC or reply.status == 401, name
        assert len(client.script.requests) == 1
        assert (await known.get(task["id"])).task == task


@requirement("1.0/authentication", "0.3/authentication")
async def test_wrong_credentials_are_none(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire, authentication=KEYED) as client:
        for credentials in WRONG:
            reply = await client.showing(credentials).get("any")
            assert reply.code == UNAUTHENTICATED, credentials
            assert reply.headers["www-authenticate"].startswith("Bearer"), credentials
            assert KEY not in json.dumps(reply.error)
        assert (await client.showing(SHOWN).get("any")).code == -32001


@requirement("1.0/authentication", "0.3/authentication")
async def test_who_is_not_known_is_not_told_what_else_is_wrong(json_wire: Wire) -> None:
    """With the body, the version, the headers: to look at them is work, and tells of the server."""
    async with in_process(Script(ANSWER), json_wire, authentication=KEYED) as client:
        headers = {"a2a-version": "9.9", "last-event-id": "no number"}
        reply = await client.call(json_wire.send, {"message": 1}, **headers)
        assert reply.code == UNAUTHENTICATED
        if json_wire.binding == JSON_RPC:
            assert (await client.post("{")).code == UNAUTHENTICATED


@requirement("1.0/authorize-every-operation", "1.0/authorize-first", "0.3/authorization")
async def test_who_may_not_is_forbidden_whatever_it_is_about(
    wire: Wire, extended: dict[str, Any], tmp_path: Path
) -> None:
    """Of a task that is there, and their own, the same is said as of one that is not."""
    database = {"a2a_state": {"sqlite": {"db_path": tmp_path / "state.db"}}}
    settings = PUSH | extended | database | {"authentication": TOLD}
    async with in_process(Script(ANSWER), wire, **settings) as client:
        task = await client.showing(user("ann")).send_task("hi")
    async with in_process(Script(ANSWER), wire, **settings | may("info")) as client:
        ann = client.showing(user("ann"))
        there, nowhere = await asked(ann, task["id"]), await asked(ann, "nowhere")
        for name, reply in there.items():
            assert reply.code == DENIED, name
            assert (reply.error, reply.status) == (nowhere[name].error, nowhere[name].status), name
            assert wire.binding == GRPC or reply.status == 403, name
        assert not client.script.requests


@requirement("1.0/authorize-every-operation", "0.3/authorization")
async def test_each_operation_asks_for_its_own_action(wire: Wire, extended: dict[str, Any]) -> None:
    """What is allowed is done, the rest is forbidden."""
    allowed = {
        "a2a_message": {"send", "send to", "stream"},
        "a2a_agent_card": {"extended_card"},
    }
    for action, operations in allowed.items():
        settings = PUSH | extended | {"authentication": TOLD} | may(action)
        async with in_process(Script(ANSWER, ANSWER), wire, **settings) as client:
            replies = await asked(client.showing(user("ann")), "nowhere")
            denied = {
                name for name, reply in replies.items() if reply.is_error and reply.code == DENIED
            }
            assert denied == replies.keys() - operations, action


@requirement(
    "1.0/scope-every-operation",
    "1.0/scope-list",
    "1.0/not-yours",
    "1.0/indistinguishable",
    "0.3/not-yours",
)
async def test_anothers_task_is_no_task_whatever_is_asked(wire: Wire) -> None:
    """As if it were not there: no 403 that would tell that it is."""
    settings = PUSH | {"authentication": TOLD}
    async with in_process(
        Script([InputRequired("Which?")], ANSWER, ANSWER, ANSWER, ANSWER), wire, **settings
    ) as client:
        ann, bob = client.showing(user("ann")), client.showing(user("bob"))
        task = await ann.send_task("hi", contextId="shared-name")
        theirs, nowhere = await asked(bob, task["id"]), await asked(bob, "nowhere")
        for name in theirs.keys() - {"send", "stream", "extended_card", "list"}:
            assert theirs[name].code == -32001, name
            assert theirs[name].error == nowhere[name].error, name
        assert (await ann.get(task["id"])).task == task
        if "list" in wire.methods:
            assert [found["id"] for found in (await ann.listed())["tasks"]] == [task["id"]]
            assert not (await bob.listed(contextId="shared-name"))["tasks"]
            mine = {found["id"] for found in (await bob.listed())["tasks"]}
            assert len(mine) == 4
            assert task["id"] not in mine


@requirement("1.0/extended-card-authentication", "0.3/authentication")
async def test_the_extended_card_is_for_those_who_are_known(
    wire: Wire, extended: dict[str, Any]
) -> None:
    async with in_process(Script(ANSWER), wire, **extended) as client:
        method = wire.methods["extended_card"]
        assert (await client.call(method, {})).code == UNAUTHENTICATED
        card = wire.read_card((await client.showing(SHOWN).call(method, {})).result)
        assert card["description"] == "For those who are known."


@requirement("1.0/extended-card-authentication", "1.0/extended-card-undeclared")
async def test_where_nobody_is_known_there_is_no_extended_card(
    latest: Wire, extended: dict[str, Any]
) -> None:
    """The module is noop: everybody would be let in, so nobody is shown more."""
    async with in_process(Script(ANSWER), latest, a2a=extended["a2a"]) as client:
        assert (await client.call(latest.methods["extended_card"], {})).code == -32004
        public = (await client.http.get(PUBLIC[0])).json()
        assert public["capabilities"]["extendedAgentCard"] is False


@requirement("1.0/extended-card-cache", on=HTTP_JSON)
async def test_no_cache_keeps_the_extended_card(extended: dict[str, Any]) -> None:
    async with in_process(Script(ANSWER), HTTP_1_0, **extended) as client:
        for path in ("/extendedAgentCard", "/v1/card"):
            answer = await client.http.get(path, headers=SHOWN)
            assert answer.status_code == 200
            assert "no-store" in answer.headers["cache-control"]


@requirement("1.0/card", "1.0/card-security", "1.0/card-no-secrets", on=CARD)
@pytest.mark.parametrize("rules", [{}, may("info")], ids=["no-rules", "rules"])
async def test_the_public_card_is_for_everybody_and_says_what_to_show(
    rules: dict[str, Any],
) -> None:
    """Under every module that asks for something, with or without access rules."""
    bearer = {"http": {"bearer"}}
    modules: dict[str, tuple[dict[str, Any], dict[str, set[str]]]] = {
        "noop-with-token": ({}, bearer),
        "api-key-token": ({"api_key_config": {"api_key": KEY}}, bearer),
        "rh-identity": ({"rh_identity_config": {}}, {"apiKey": {"x-rh-identity"}}),
    }
    for module, (config, expected) in modules.items():
        settings = {"authentication": {"module": module} | config} | rules
        async with in_process(Script(ANSWER), **settings) as client:
            for path in PUBLIC:
                answer = await client.http.get(path)
                assert answer.status_code == 200, (module, path)
                assert KEY not in answer.text
                schemes = answer.json()["securitySchemes"].values()
                found = {s["type"]: {s.get("scheme") or s["name"]} for s in schemes}
                assert found == expected, module
            # What the card asks for is what the server wants.
            assert (await client.get("any")).code == UNAUTHENTICATED


@requirement("1.0/authentication", on=JSON_RPC)
async def test_a_batch_is_refused_as_a_whole() -> None:
    async with in_process(Script(ANSWER), V1_0, authentication=KEYED) as client:
        calls = [
            {"jsonrpc": "2.0", "id": number, "method": V1_0.get, "params": {"id": "any"}}
            for number in (1, 2)
        ]
        reply = await client.post(calls)
        assert reply.status == 401
        assert reply.code == UNAUTHENTICATED


@requirement("1.0/authentication", on=GRPC)
async def test_the_challenge_is_in_the_trailing_metadata_of_grpc() -> None:
    async with in_process(Script(ANSWER), GRPC_1_0, authentication=KEYED) as client:
        reply = await client.get("any")
        assert reply.headers["www-authenticate"] == 'Bearer realm="llamastack-a2a"'


@requirement("1.0/audit", "1.0/authentication-failures", on=SERVER)
async def test_failures_denials_and_deeds_are_written_down(tmp_path: Path) -> None:
    """Without what was shown, on every binding; and who fails too often is not asked for a while."""
    path = tmp_path / "audit.log"
    settings = {"audit": {"enabled": True, "path": path}, "authentication": KEYED}
    for wire in WIRES:
        async with in_process(Script(ANSWER), wire, **settings) as client:
            task = await client.showing(SHOWN).send_task("what is said is not told")
            assert (await client.showing(WRONG[0]).get("any")).code == UNAUTHENTICATED
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            told = {line["operation"]: line for line in lines}
            assert told["SendMessage"]["objects"]["task_id"] == task["id"]
            assert told["TaskEnded"]["state"] == "TASK_STATE_COMPLETED"
            assert (told[None]["outcome"], told[None]["reason"]) == ("denied", "UNAUTHENTICATED")
            assert told[None]["surface"] == told["SendMessage"]["surface"] != ""
            for _ in range(200):
                reply = await client.showing(WRONG[0]).get("any")
                if reply.code != UNAUTHENTICATED:
                    break
            assert wire.binding == GRPC or reply.status == 429
            assert reply.retry_after > 0
        assert KEY not in path.read_text()
        assert "another" not in path.read_text()
        assert "what is said" not in path.read_text()
        path.unlink()
