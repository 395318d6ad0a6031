"""A conversation is one, on whichever surface it is held, read or deleted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.stacks import TextDelta, TurnStarted
from tests.fakes.engine import until
from tests.fakes.scripted_stack import ANSWER, DONE, Script, scripted
from tests.fakes.talk import database_section, served, talking

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx

    from agent.stacks import TurnEvent, TurnRequest
    from tests.fakes.scripted_stack import Turn

pytestmark = pytest.mark.anyio

NOT_FOUND = -32001
MISSING = "Conversation not found"
MODEL = "openai/gpt-4o-mini"
HISTORY = [["first", "one"], ["second", "two"], ["third", "three"]]


def answering(*texts: str) -> list[Turn]:
    """Return turns that answer with texts."""
    return [[TurnStarted("turn", MODEL), TextDelta(text), DONE] for text in texts]


@pytest.fixture(params=["state", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the settings of a conversation cache, of each kind."""
    kind: str = request.param
    if kind == "state":
        return {"type": kind}
    return {"type": kind, "sqlite": {"db_path": str(tmp_path / "cache" / "cache.db")}}


async def test_one_history_is_held_and_read_on_every_surface(database_url: str) -> None:
    state = database_section(database_url)
    async with talking(*answering("one", "two", "three"), a2a_state=state) as talk:
        context_id = (await talk.say("first"))["contextId"]
        asked = await talk.ask("second", conversation_id=context_id)
        await talk.say("third", contextId=context_id)

        assert asked["conversation_id"] == context_id
        assert asked["response"] == "two"
        assert await talk.said(context_id, "v1") == HISTORY
        assert await talk.said(context_id, "v2") == HISTORY
        assert len(await talk.tasks(context_id)) == 3
        assert len({turn.conversation_id for turn in talk.script.requests}) == 1
        (shown,) = await talk.conversations("v1")
        assert (shown["conversation_id"], shown["message_count"]) == (context_id, 3)
        (shown,) = await talk.conversations("v2")
        assert shown["conversation_id"] == context_id


async def test_a_conversation_that_begins_on_rest_goes_on_in_a2a(database_url: str) -> None:
    state = database_section(database_url)
    async with talking(*answering("one", "two", "three"), a2a_state=state) as talk:
        conversation_id = (await talk.ask("first"))["conversation_id"]
        task = await talk.say("second", contextId=conversation_id)
        await talk.ask("third", conversation_id=conversation_id)

        assert task["contextId"] == conversation_id
        assert await talk.said(conversation_id) == HISTORY
        assert len(await talk.tasks(conversation_id)) == 3


async def test_a_cache_has_what_was_said_on_every_surface(cache: dict[str, Any]) -> None:
    async with talking(*answering("one", "two", "three"), conversation_cache=cache) as talk:
        context_id = (await talk.say("first"))["contextId"]
        await talk.ask("second", conversation_id=context_id)
        assert await talk.said(context_id, "v2") == HISTORY[:2]
        await talk.say("third", contextId=context_id)
        assert await talk.said(context_id, "v2") == HISTORY
        assert await talk.turns(context_id, "v2") == await talk.turns(context_id, "v1")


async def test_a_cache_on_postgresql_is_one_too(postgres_url: str) -> None:
    section = {"type": "postgres", **database_section(postgres_url)}
    async with talking(*answering("one", "two"), conversation_cache=section) as talk:
        context_id = (await talk.say("first"))["contextId"]
        await talk.ask("second", conversation_id=context_id)
        assert await talk.said(context_id, "v2") == HISTORY[:2]
        await talk.rest("DELETE", f"/v2/conversations/{context_id}")
        assert await talk.conversations("v1") == await talk.conversations("v2") == []


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_what_is_deleted_on_rest_is_deleted_in_a2a(
    cache: dict[str, Any], version: str
) -> None:
    async with talking(ANSWER, conversation_cache=cache) as talk:
        task = await talk.say("first")
        context_id = task["contextId"]
        path = f"/{version}/conversations/{context_id}"
        deleted = {"conversation_id": context_id, "success": True}

        answer = await talk.rest("DELETE", path)

        assert answer.json() == deleted | {"response": "Conversation deleted successfully"}
        assert await talk.call("GetTask", id=task["id"]) == NOT_FOUND
        assert await talk.tasks(context_id) == []
        assert talk.script.forgotten == ["conversation-1"]
        for read in ("v1", "v2"):
            assert await talk.conversations(read) == []
            again = f"/{read}/conversations/{context_id}"
            assert (await talk.rest("GET", again)).status_code == 404
            answer = await talk.rest("DELETE", again)
            assert answer.json() == deleted | {"response": "Conversation cannot be deleted"}
        await talk.say("again", contextId=context_id)
        assert talk.script.requests[-1].conversation_id == "conversation-2"


async def test_what_is_deleted_in_a2a_is_deleted_on_rest(cache: dict[str, Any]) -> None:
    async with talking(ANSWER, conversation_cache=cache) as talk:
        context_id = (await talk.ask("first"))["conversation_id"]

        assert (await talk.rest("DELETE", f"/contexts/{context_id}")).status_code == 204

        assert talk.script.forgotten == ["conversation-1"]
        for version in ("v1", "v2"):
            assert await talk.conversations(version) == []
            path = f"/{version}/conversations/{context_id}"
            assert (await talk.rest("GET", path)).status_code == 404


async def test_a_task_that_is_deleted_is_a_turn_less(cache: dict[str, Any]) -> None:
    async with talking(*answering("one", "two"), conversation_cache=cache) as talk:
        task = await talk.say("first")
        await talk.say("second", contextId=task["contextId"])
        assert len(await talk.said(task["contextId"], "v2")) == 2

        await talk.rest("DELETE", f"/tasks/{task['id']}")

        for version in ("v1", "v2"):
            assert await talk.said(task["contextId"], version) == HISTORY[1:2]


async def test_a_stack_that_cannot_forget_does_not_keep_a_conversation() -> None:
    script = Script(ANSWER, forgetting=RuntimeError("never"))
    with scripted(script) as name, anyio.fail_after(40):
        async with served(script, name) as talk:
            context_id = (await talk.say("first"))["contextId"]
            answer = await talk.rest("DELETE", f"/v1/conversations/{context_id}")
            assert answer.json()["response"] == "Conversation deleted successfully"
            assert script.forgotten == ["conversation-1"]
            assert await talk.conversations() == []


async def test_what_runs_in_a_conversation_ends_when_it_is_deleted(database_url: str) -> None:
    state, never = database_section(database_url), anyio.Event()
    async with talking([TextDelta("a"), never], a2a_state=state) as talk:
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "first"}]}
        at_once = {"returnImmediately": True}
        sent = await talk.call("SendMessage", message=message, configuration=at_once)
        task = sent["task"]

        answer = await talk.rest("DELETE", f"/v1/conversations/{task['contextId']}")

        assert answer.json()["response"] == "Conversation deleted successfully"
        assert talk.script.closed_turns == 1
        assert await talk.call("GetTask", id=task["id"]) == NOT_FOUND
        assert await talk.conversations() == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_runs_in_another_process_ends_as_well(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    state, never = database_section(url), anyio.Event()
    script = Script([TextDelta("a"), never])
    with scripted(script) as name, anyio.fail_after(40):
        async with (
            served(script, name, a2a_state=state) as here,
            served(script, name, a2a_state=state) as there,
        ):
            message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "first"}]}
            at_once = {"returnImmediately": True}
            sent = await here.call("SendMessage", message=message, configuration=at_once)
            context_id = sent["task"]["contextId"]
            assert len(await there.conversations()) == 1

            answer = await there.rest("DELETE", f"/v2/conversations/{context_id}")

            assert answer.json()["response"] == "Conversation deleted successfully"
            assert script.closed_turns == 1
            assert await here.conversations() == []
            assert await here.call("GetTask", id=sent["task"]["id"]) == NOT_FOUND


async def test_a_context_with_any_id_has_a_conversation_id_for_good(database_url: str) -> None:
    state = database_section(database_url)
    async with talking(*answering("one", "two", "three"), a2a_state=state) as talk:
        context_id = "tickets / 東京 🚀"
        await talk.say("first", contextId=context_id)
        (shown,) = await talk.conversations("v1")
        conversation_id = shown["conversation_id"]
        assert len(conversation_id) == 48
        assert int(conversation_id, 16)

        asked = await talk.ask("second", conversation_id=conversation_id)
        await talk.say("third", contextId=context_id)

        assert asked["conversation_id"] == conversation_id
        for version in ("v1", "v2"):
            (shown,) = await talk.conversations(version)
            assert shown["conversation_id"] == conversation_id
            assert await talk.said(conversation_id, version) == HISTORY
        assert len(await talk.tasks(context_id)) == 3


async def test_processes_call_a_context_the_same(tmp_path: Path) -> None:
    state = {"sqlite": {"db_path": str(tmp_path / "state.db")}}
    script = Script(ANSWER)
    with scripted(script) as name, anyio.fail_after(40):
        async with (
            served(script, name, a2a_state=state) as here,
            served(script, name, a2a_state=state) as there,
        ):
            for number in range(5):
                await here.say("first", contextId=f"context {number}")
            shown: list[Any] = []

            async def look(from_where: Any) -> None:
                shown.append(await from_where.conversations())

            async with anyio.create_task_group() as looking:
                for talk in (here, there, here, there):
                    looking.start_soon(look, talk)
            assert all(one == shown[0] for one in shown)
            assert len({one["conversation_id"] for one in shown[0]}) == 5


async def test_the_same_id_is_another_conversation_for_another_owner(database_url: str) -> None:
    state = database_section(database_url)
    async with talking(*answering("one", "two"), a2a_state=state) as talk:
        ann, bob = talk.by("ann"), talk.by("bob")
        context_id = (await ann.say("first"))["contextId"]
        for version in ("v1", "v2"):
            path = f"/{version}/conversations/{context_id}"
            assert await bob.conversations(version) == []
            assert (await bob.rest("GET", path)).status_code == 404
            assert (await bob.rest("PUT", path, json={"topic_summary": "x"})).status_code == 404
            answer = await bob.rest("DELETE", path)
            assert answer.json()["response"] == "Conversation cannot be deleted"
        await bob.say("second", contextId=context_id)
        assert await bob.said(context_id) == HISTORY[1:2]
        await bob.rest("DELETE", f"/v1/conversations/{context_id}")
        assert await ann.said(context_id, "v2") == HISTORY[:1]


async def test_the_conversations_of_a_tenant_are_not_those_of_rest() -> None:
    async with talking(ANSWER, a2a={"tenants": ("blue",)}) as talk:
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "first"}]}
        sent = await talk.call("SendMessage", message=message, tenant="blue")
        assert await talk.conversations() == []
        path = f"/v1/conversations/{sent['task']['contextId']}"
        assert (await talk.rest("GET", path)).status_code == 404


async def test_of_several_who_delete_at_once_one_does(database_url: str) -> None:
    state = database_section(database_url)
    async with talking(ANSWER, a2a_state=state) as talk:
        context_id = (await talk.say("first"))["contextId"]
        said: list[str] = []

        async def delete(version: str) -> None:
            answer = await talk.rest("DELETE", f"/{version}/conversations/{context_id}")
            said.append(answer.json()["response"])

        async with anyio.create_task_group() as deleting:
            for version in ("v1", "v2", "v1", "v2"):
                deleting.start_soon(delete, version)
        assert len(said) == 4
        assert said.count("Conversation deleted successfully") == 1
        assert await talk.conversations() == []


async def test_a_query_that_a_deletion_ends_is_told_of_that(database_url: str) -> None:
    begun, never = anyio.Event(), anyio.Event()

    async def slowly(_: TurnRequest) -> AsyncGenerator[TurnEvent]:
        yield TextDelta("a")
        begun.set()
        await never.wait()

    async with talking(ANSWER, slowly, a2a_state=database_section(database_url)) as talk:
        conversation_id = (await talk.ask("first"))["conversation_id"]
        answers: list[httpx.Response] = []

        async def ask() -> None:
            query = {"query": "second", "conversation_id": conversation_id}
            answers.append(await talk.rest("POST", "/v1/query", json=query))

        async with anyio.create_task_group() as asking:
            asking.start_soon(ask)
            await begun.wait()
            path = f"/v1/conversations/{conversation_id}"
            assert (await talk.rest("DELETE", path)).json()["success"]

    (answer,) = answers
    assert (answer.status_code, answer.json()["detail"]["response"]) == (404, MISSING)


async def test_what_was_deleted_when_a_query_begins_does_not_come_back(database_url: str) -> None:
    """The query has found the conversation, and the stack works on it, before there is a task."""
    asked, deleted = anyio.Event(), anyio.Event()

    async def late(_: TurnRequest) -> AsyncGenerator[TurnEvent]:
        asked.set()
        await deleted.wait()
        yield TurnStarted("turn", MODEL)
        yield DONE

    state = database_section(database_url)
    async with talking(ANSWER, late, a2a_state=state) as talk:
        conversation_id = (await talk.ask("first"))["conversation_id"]
        path = f"/v1/conversations/{conversation_id}"
        answers: list[httpx.Response] = []

        async def ask() -> None:
            query = {"query": "second", "conversation_id": conversation_id}
            answers.append(await talk.rest("POST", "/v1/query", json=query))

        async with anyio.create_task_group() as asking:
            asking.start_soon(ask)
            await asked.wait()
            assert (await talk.rest("DELETE", path)).json()["success"]
            deleted.set()

        (answer,) = answers
        assert (answer.status_code, answer.json()["detail"]["response"]) == (404, MISSING)
        assert (await talk.rest("GET", path)).status_code == 404
        assert await talk.conversations() == []
        assert await talk.tasks(conversation_id) == []

        async def is_forgotten_twice() -> bool:
            return talk.script.forgotten == ["conversation-1"] * 2

        # The turn may have stored it again by then.
        await until(is_forgotten_twice)


async def test_of_a_query_and_a_deletion_at_once_nothing_half_remains(database_url: str) -> None:
    """Either the answer is of what is deleted then, or there was nothing to answer in any more."""
    state = database_section(database_url)
    async with talking(ANSWER, a2a_state=state) as talk:
        for _ in range(8):
            conversation_id = (await talk.ask("first"))["conversation_id"]
            path = f"/v1/conversations/{conversation_id}"
            query = {"query": "second", "conversation_id": conversation_id}
            async with anyio.create_task_group() as at_once:
                for _ in range(3):
                    at_once.start_soon(partial(talk.rest, "POST", "/v1/query", json=query))
                at_once.start_soon(talk.rest, "DELETE", path)
            assert (await talk.rest("GET", path)).status_code == 404
            assert await talk.tasks(conversation_id) == []


async def test_a_message_of_a2a_makes_the_context_that_it_names() -> None:
    async with talking(ANSWER) as talk:
        conversation_id = (await talk.ask("first"))["conversation_id"]
        await talk.rest("DELETE", f"/v1/conversations/{conversation_id}")
        assert (await talk.say("again", contextId=conversation_id))["contextId"] == conversation_id
        assert await talk.said(conversation_id) == [["again", "yes"]]
