"""Turns of one session follow each other, whoever began what runs, and in whichever process."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from sqlalchemy import make_url

from a2a_state.agent_sessions import AgentSessions
from a2a_state.agents import Agent, Agents
from a2a_state.contexts import Context
from a2a_state.database import connect
from a2a_state.deletion import Deletion
from a2a_state.histories import ContextKey
from a2a_state.migrate import migrate
from a2a_state.session_claims import SessionClaims
from agent.agents.serial import Serial, SessionBusy
from agent.errors import InvalidParams, ResourceNotFound, ServerStopping, TooManyStreams
from agent.model import Message, Part, Role, SendRequest
from agent.stacks import InputRequired, TextDelta, TurnCompleted
from tests.fakes.engine import until
from tests.fakes.own_agents import Asker, asking_scripted, payloads
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SESSION = ContextKey("ann", "", "c-1")


async def test_a_claim_is_one_holders_until_it_is_released_or_runs_out(database_url: str) -> None:
    database = connect(make_url(database_url))
    await database.open()
    try:
        await migrate(database)
        claims = SessionClaims(database)
        assert await claims.claim(SESSION, "a", 100, 200) is None
        assert await claims.claim(SESSION, "b", 150, 250) == ()
        assert await claims.renew(SESSION, "a", 300)
        assert await claims.claim(SESSION, "b", 250, 350) == ()
        assert await claims.claim(SESSION, "b", 301, 400) is None
        assert not await claims.renew(SESSION, "a", 900)
        await claims.release(SESSION, "a")
        assert await claims.claim(SESSION, "c", 350, 450) == ()
        await claims.release(SESSION, "b")
        assert await claims.claim(SESSION, "c", 350, 450) is None
    finally:
        await database.close()


async def test_agents_and_their_sessions_are_stored(database_url: str) -> None:
    database = connect(make_url(database_url))
    await database.open()
    try:
        await migrate(database)
        agents, sessions = Agents(database), AgentSessions(database)
        made = Agent("a-1", "ann", "", {"model": "m"}, 1)
        assert await agents.add(made, 1)
        assert not await agents.add(Agent("a-2", "ann", "", {}, 2), 1)
        mine = Context("ann", "", "c-1", "stack", "v-1", 1, agent_id="a-1", session_name="s")
        theirs = msgspec.structs.replace(mine, owner="eve")
        ours = msgspec.structs.replace(mine, context_id="c-2", agent_id=None)
        assert [await sessions.add(each) for each in (mine, theirs, ours)] == [True, False, True]
        assert await sessions.list("ann", "", "a-1", 0, 10) == [mine]
        assert await sessions.list("ann", "", None, 0, 10) == [ours]
        assert not await agents.delete("ann", "", "a-1")
        claims = SessionClaims(database)
        assert await claims.claim(SESSION, "of one who died", 100, 200) is None
        await Deletion(database).context("ann", "", "c-1")
        assert await claims.claim(SESSION, "another", 100, 200) is None
        assert await agents.began(made) == 1
        assert await agents.began(Agent("a-3", "", "", {}, 3)) == 3
        assert await agents.delete("eve", "", "a-1")
        assert await agents.list("ann", "", 0, 10) == [made]
        assert await agents.delete("ann", "", "a-1")
        assert await agents.get("ann", "", "a-1") is None
    finally:
        await database.close()


async def test_of_two_who_go_on_with_a_turn_one_does() -> None:
    gate = anyio.Event()
    again = {"tool_calls": [{"call_id": "c-2", "tool_name": "w", "arguments": {}}]}
    asks = {"tool_calls": [{"call_id": "c-1", "tool_name": "w", "arguments": {}}]}
    script = Script(
        [InputRequired("?", asks)], [TextDelta("so"), gate, InputRequired("?", again)], ANSWER
    )
    async with asking_scripted(script) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        turn_id = (await ann.say(agent, session, "hi"))[-1]["turn"]["turn_id"]
        given = [{"call_id": "c-1", "content": "12C"}]
        both = [asyncio.create_task(ann.resume(agent, session, turn_id, given)) for _ in range(2)]
        await until(lambda: _has_begun(script, 2))
        gate.set()
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(first, list)
        assert isinstance(second, InvalidParams)
        assert len(script.requests) == 2


async def _has_begun(script: Script, count: int) -> bool:
    return len(script.requests) == count


async def test_a_turn_begins_when_the_one_before_it_is_over() -> None:
    gate = anyio.Event()
    script = Script([TextDelta("one"), gate, DONE], [TextDelta("two"), DONE])
    async with asking_scripted(script) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        first = await ann.begin(agent, session, "1")
        # Whoever asked hears no more of it: it goes on, and is waited for.
        await first.aclose()
        second = asyncio.create_task(ann.say(agent, session, "2"))
        other = await ann.say(agent, await ann.session(agent), "elsewhere")
        assert other[-1]["event_type"] == "turn_complete"
        assert len(script.requests) == 2
        gate.set()
        await second
        said = [turn["output_message"]["content"] for turn in await ann.turns(agent, session)]
        assert said == ["one", "two"]


async def test_a_task_of_a2a_in_the_session_is_waited_for() -> None:
    gate = anyio.Event()
    script = Script([TextDelta("one"), gate, DONE], ANSWER)
    async with asking_scripted(script) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        said = Message("m", Role.USER, [Part(text="hi")], context_id=session)
        running = await ann.engine.service.stream(ann.caller, SendRequest(said))
        second = asyncio.create_task(ann.say(agent, session, "2"))
        await until(lambda: _waits(ann))
        assert len(script.requests) == 1
        gate.set()
        told = await second
        assert told[-1]["turn"]["output_message"]["content"] == "yes"
        assert len(await ann.turns(agent, session)) == 2
        del running


async def test_a_turn_whose_client_leaves_before_it_begins_is_not_run_and_counts_until_then() -> (
    None
):
    gate = anyio.Event()
    script = Script([TextDelta("one"), gate, DONE], ANSWER)
    limits = {"streams_per_owner": 2}
    async with asking_scripted(script, limits=limits) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        first = await ann.begin(agent, session, "1")
        second = asyncio.create_task(ann.say(agent, session, "2"))
        await until(lambda: _waits(ann))
        with pytest.raises(TooManyStreams):
            await ann.say(agent, session, "3")
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        assert ann.engine.service.open_streams == 1
        gate.set()
        await payloads(first)
        await ann.say(agent, session, "4")
        said = [turn["input_messages"][0]["content"] for turn in await ann.turns(agent, session)]
        assert said == ["1", "4"]


async def test_a_turn_whose_client_leaves_as_it_begins_is_run_and_waited_for() -> None:
    gate = anyio.Event()
    script = Script([gate, TextDelta("one"), DONE], ANSWER)
    async with asking_scripted(script) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        first = asyncio.create_task(ann.say(agent, session, "1"))
        await until(lambda: _has_begun(script, 1))
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        second = asyncio.create_task(ann.say(agent, session, "2"))
        await until(lambda: _waits(ann))
        assert len(script.requests) == 1
        gate.set()
        await second
        said = [turn["input_messages"][0]["content"] for turn in await ann.turns(agent, session)]
        assert said == ["1", "2"]


async def test_who_waits_is_told_that_the_server_stops() -> None:
    script = Script([TextDelta("one"), anyio.Event(), DONE])
    async with asking_scripted(script) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        first = await ann.begin(agent, session, "1")
        second = asyncio.create_task(ann.say(agent, session, "2"))
        await until(lambda: _waits(ann))
        await ann.engine.runner.close()
        with pytest.raises(ServerStopping):
            await second
        await first.aclose()


async def test_who_waits_too_long_is_told_so() -> None:
    gate = anyio.Event()
    script = Script([TextDelta("one"), gate, DONE], ANSWER)
    async with asking_scripted(script) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        first = await ann.begin(agent, session, "1")
        hasty = Serial(ann.engine.database, ann.engine.runner, seconds=0.01)
        with pytest.raises(SessionBusy, match="earlier turn"):
            async with hasty.turn("ann", "", session):
                pass
        gate.set()
        await payloads(first)
        async with hasty.turn("ann", "", session):
            pass


async def test_who_leaves_while_waiting_gives_up_the_place() -> None:
    async with asking_scripted(Script(ANSWER)) as ann:
        serial = Serial(ann.engine.database, seconds=5)
        entered, leave = anyio.Event(), anyio.Event()

        async def hold() -> None:
            async with serial.turn("ann", "", "c"):
                entered.set()
                await leave.wait()

        holder = asyncio.create_task(hold())
        await entered.wait()
        impatient = asyncio.create_task(hold())
        elsewhere = asyncio.create_task(_enter(Serial(ann.engine.database), "c"))
        await asyncio.sleep(0)
        impatient.cancel()
        elsewhere.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(impatient, elsewhere)
        leave.set()
        await holder
        await _enter(serial, "c")
        assert not serial._lines


async def _enter(serial: Serial, context_id: str) -> None:
    async with serial.turn("ann", "", context_id):
        pass


async def test_turns_of_two_processes_follow_each_other(tmp_path: Path) -> None:
    gate = anyio.Event()
    slow = Script([TextDelta("one"), gate, DONE])
    fast = Script([TextDelta("two"), DONE])
    state: dict[str, Any] = {"a2a_state": {"sqlite": {"db_path": str(tmp_path / "state.db")}}}
    async with asking_scripted(slow, **state) as here, asking_scripted(fast, **state) as there:
        agent = await here.agent()
        session = await here.session(agent)
        first = await here.begin(agent, session, "1")
        second = asyncio.create_task(there.say(agent, session, "2"))
        await until(lambda: _waits(there))
        assert not fast.requests
        gate.set()
        await payloads(first)
        await second
        said = [turn["output_message"]["content"] for turn in await there.turns(agent, session)]
        assert said == ["one", "two"]


async def _waits(there: Asker) -> bool:
    return bool(there.api.serial._lines)


async def test_a_session_that_is_deleted_ends_what_runs_in_it() -> None:
    gate = anyio.Event()
    script = Script([TextDelta("one"), gate, TurnCompleted("end_of_turn")])
    async with asking_scripted(script) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        running = await ann.begin(agent, session, "1")
        hearing = asyncio.create_task(payloads(running))
        await ann.api.delete_session(ann.caller, agent, session)
        with pytest.raises(ResourceNotFound, match="Session"):
            await hearing
        with pytest.raises(ResourceNotFound, match="Session"):
            await ann.say(agent, session, "2")
        assert script.forgotten == ["conversation-1"]
