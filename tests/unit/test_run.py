"""What is heard of a task, when, and what is stored of it."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import anyio
import anyio.lowlevel
import msgspec
import pytest

from a2a_state.contexts import Context
from a2a_state.tasks import StoredTask
from agent.caller import Caller
from agent.errors import StateUnavailable, TaskTaken, TurnFailed
from agent.lease import Holder
from agent.model import (
    Artifact,
    ArtifactUpdate,
    Message,
    Part,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)
from agent.replay import events, restore
from agent.run import Run
from tests.fakes.state import new_state, task_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2a_state.journal import Entry, Journal, Source
    from a2a_state.tasks import TaskRow
    from agent.errors import AgentError
    from agent.model import Event

pytestmark = pytest.mark.anyio

QUESTION = Message("m", Role.USER, [Part(text="hi")], context_id="context", task_id="task")
TASK = Task("task", "context", TaskStatus(TaskState.SUBMITTED), history=[QUESTION])
CONTEXT = Context("ann", "", "context", "embedded", "conversation", 1)
HOLDER = Holder()
LONG = 60.0


class HandJournal:
    """Writes when the test says so."""

    def __init__(self) -> None:
        """Nobody has anything to write."""
        self.waiting: dict[Source, None] = {}
        self.entries: list[Entry] = []
        self._called = asyncio.Event()

    def notify(self, source: Source) -> None:
        """See ``Journal``."""
        self.waiting[source] = None
        self._called.set()

    def collect(self) -> list[tuple[Source, Entry]]:
        """Begin a write: ask who waits what there is."""
        sources, self.waiting = self.waiting, {}
        self._called.clear()
        return [(source, source.collect()) for source in sources]

    def commit(
        self, begun: list[tuple[Source, Entry]] | None = None, error: AgentError | None = None
    ) -> list[Entry]:
        """End a write; returns what was written by it."""
        group = self.collect() if begun is None else begun
        written = [entry for _, entry in group]
        if error is None:
            self.entries.extend(written)
        for source, entry in group:
            source.written(entry, error)
        return written

    async def called(self) -> None:
        """Wait until somebody has something to write."""
        with anyio.fail_after(5):
            await self._called.wait()

    def log(self) -> list[tuple[int, Event]]:
        """Return all stored events with their numbers."""
        rows = [entry.events for entry in self.entries if entry.events]
        return [pair for row in rows for pair in enumerate(events(row.body), start=row.first_seq)]

    def stored(self) -> StoredTask:
        """Return the task as the database would."""
        row = [entry.task for entry in self.entries if entry.task][-1]
        rows = [entry.events for entry in self.entries if entry.events]
        later = [found for found in rows if found.first_seq > row.seq]
        return StoredTask(row, tuple(found.body for found in later), rows[-1].last_seq)


class Brief:
    """Says of an event what kind it is, and text as it is."""

    version = "brief"

    def __init__(self) -> None:
        """Count what is encoded."""
        self.encoded = 0

    def event(self, event: Event) -> bytes:
        """See ``Encoder``."""
        self.encoded += 1
        if isinstance(event, ArtifactUpdate):
            return (event.artifact.parts[0].text or "").encode()
        if isinstance(event, StatusUpdate):
            return event.status.state.name.encode()
        return type(event).__name__.encode()


BRIEF = Brief()


@pytest.fixture
async def journal() -> HandJournal:
    """Return a journal that waits for the test."""
    return HandJournal()


def new_run(journal: HandJournal, row: TaskRow | None = None, task: Task = TASK) -> Run:
    """Return a run of ann's task."""
    return Run(new_state(cast("Journal", journal), HOLDER), Caller("ann", ""), task, row)


def begun(journal: HandJournal) -> Run:
    """Return a run whose task is stored."""
    run = new_run(journal)
    run.begin()
    journal.commit()
    return run


def text(value: str) -> ArtifactUpdate:
    """Return a piece of the answer."""
    return ArtifactUpdate("task", "context", Artifact("answer", [Part(text=value)]), append=True)


def status(state: TaskState, **metadata: str) -> StatusUpdate:
    """Return a change of state."""
    return StatusUpdate("task", "context", TaskStatus(state), metadata or None)


WORKING = status(TaskState.WORKING)
COMPLETED = status(TaskState.COMPLETED)


async def audible(run: Run, encoder: Brief = BRIEF) -> list[tuple[int | None, bytes]]:
    """Return what somebody who comes now hears at once."""
    with anyio.fail_after(5):
        async with aclosing(run.feed.follow(encoder, 0)) as news:
            return await anext(news, [])


class Follower:
    """Follows a run in a task of its own."""

    def __init__(self, run: Run, idle: float = LONG) -> None:
        """Begin at once."""
        self.heard: list[tuple[int | None, bytes]] = []
        self.silences = 0
        self.error: AgentError | None = None
        self._run, self._idle = run, idle
        self._changed = asyncio.Event()
        self.job = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with aclosing(self._run.feed.follow(Brief(), self._idle)) as news:
            async for some in news:
                self.heard.extend(some)
                self.silences += not some
                self._changed.set()

    async def until(self, condition: Callable[[Follower], bool]) -> None:
        """Wait until something is true of what was heard."""
        with anyio.fail_after(5):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def end(self) -> list[tuple[int | None, bytes]]:
        """Wait for the end; returns all that was heard."""
        with anyio.fail_after(5):
            await self.job
        return self.heard


async def passing() -> None:
    """Let everybody run who can."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def test_a_task_is_heard_of_when_it_is_stored(journal: HandJournal) -> None:
    run = new_run(journal)
    run.begin()
    assert await audible(run) == []
    write = journal.collect()
    assert await audible(run) == []

    journal.commit(write)

    assert await audible(run) == [(1, b"Task")]


async def test_a_state_is_heard_of_when_it_is_stored(journal: HandJournal) -> None:
    run = begun(journal)
    run.publish(WORKING)
    assert await audible(run) == [(1, b"Task")]

    journal.commit()

    assert await audible(run) == [(1, b"Task"), (2, b"WORKING")]


async def test_text_is_heard_at_once(journal: HandJournal) -> None:
    run = begun(journal)

    run.publish(text("a"))

    assert await audible(run) == [(1, b"Task"), (2, b"a")]
    assert journal.waiting == {}


async def test_text_after_a_state_is_heard_when_the_state_is_stored(journal: HandJournal) -> None:
    """Also what came while the state was being written."""
    run = begun(journal)
    run.publish(WORKING)
    run.publish(text("a"))
    write = journal.collect()
    run.publish(text("b"))
    assert await audible(run) == [(1, b"Task")]

    journal.commit(write)

    assert await audible(run) == [(1, b"Task"), (2, b"WORKING"), (3, b"a"), (4, b"b")]


async def test_a_state_that_came_during_a_write_waits_for_the_next_one(
    journal: HandJournal,
) -> None:
    run = begun(journal)
    run.publish(WORKING)
    write = journal.collect()
    run.publish(text("a"))
    run.publish(COMPLETED)

    journal.commit(write)
    assert await audible(run) == [(1, b"Task"), (2, b"WORKING")]
    journal.commit()

    assert (await audible(run))[2:] == [(3, b"a"), (4, b"COMPLETED")]


async def test_many_pieces_of_text_are_stored_in_one_row_soon(journal: HandJournal) -> None:
    """And the task is not written anew for them."""
    run = begun(journal)
    for piece in "abcde":
        run.publish(text(piece))
    await journal.called()

    (entry,) = journal.commit()

    assert entry.task is None
    assert entry.events is not None
    assert (entry.events.first_seq, entry.events.last_seq) == (2, 6)
    assert [event for _, event in journal.log()[1:]] == [text(piece) for piece in "abcde"]
    assert restore(journal.stored()) == run.task()


async def test_text_that_comes_after_a_flush_is_stored_with_the_next_one(
    journal: HandJournal,
) -> None:
    run = begun(journal)
    for seq, piece in enumerate("abc", start=2):
        run.publish(text(piece))
        await journal.called()
        (entry,) = journal.commit()
        assert entry.events is not None
        assert (entry.events.first_seq, entry.events.last_seq) == (seq, seq)


async def test_a_state_takes_the_text_before_it_along(journal: HandJournal) -> None:
    run = begun(journal)
    run.publish(text("a"))
    run.publish(COMPLETED)

    (entry,) = journal.commit()

    assert entry.events is not None
    assert (entry.events.first_seq, entry.events.last_seq) == (2, 3)
    assert entry.task is not None
    assert (entry.task.seq, entry.task.state) == (3, "TASK_STATE_COMPLETED")
    assert journal.stored().later_events == ()


async def test_what_was_heard_is_not_taken_back_by_a_state_that_follows(
    journal: HandJournal,
) -> None:
    """The write of earlier text ends when later text is heard and a state waits."""
    run = begun(journal)
    run.publish(text("a"))
    await journal.called()
    write = journal.collect()
    run.publish(text("b"))
    before = await audible(run)
    run.publish(WORKING)

    journal.commit(write)

    assert await audible(run) == before == [(1, b"Task"), (2, b"a"), (3, b"b")]


async def test_a_follower_that_gathers_hears_nothing_twice(journal: HandJournal) -> None:
    """It pauses between pieces that come fast; earlier text is stored, and a state comes, then."""
    run = begun(journal)
    follower = Follower(run)
    run.publish(text("a"))
    await journal.called()
    write = journal.collect()
    run.publish(text("b"))
    await follower.until(lambda f: f.heard[-1:] == [(3, b"b")])
    run.publish(text("c"))
    await passing()
    run.publish(WORKING)
    journal.commit(write)
    await follower.until(lambda f: f.heard[-1:] == [(4, b"c")] or f.silences > 0)
    await run_to_end(run, journal)

    assert [seq for seq, _ in await follower.end()] == [1, 2, 3, 4, 5, 6]
    assert [seq for seq, _ in journal.log()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(20))
async def test_every_follower_hears_every_event_once_and_in_order(
    journal: HandJournal, seed: int
) -> None:
    """Whenever it came, whatever was written when; and everything is in the log, without a gap."""
    dice = random.Random(seed)  # noqa: S311 - the same events each time
    run = new_run(journal)
    run.begin()
    followers = [Follower(run)]
    writes: list[tuple[Source, Entry]] = []
    for number in range(60):
        chance = dice.random()
        if chance < 0.5:
            run.publish(text(f"{number} "))
        elif chance < 0.6:
            run.publish(status(TaskState.WORKING, number=str(number)))
        elif chance < 0.7 and not writes:
            writes = journal.collect()
        elif chance < 0.85:
            journal.commit(writes)
            writes = []
        elif chance < 0.9:
            followers.append(Follower(run))
        else:
            await passing()
    run.publish(COMPLETED)
    finishing = asyncio.create_task(run.finish())
    journal.commit(writes)
    while not finishing.done():
        await anyio.lowlevel.checkpoint()
        journal.commit()
    followers.append(Follower(run))

    told = [await follower.end() for follower in followers]

    log = journal.log()
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    assert told == [[(seq, Brief().event(event)) for seq, event in log]] * len(followers)
    assert restore(journal.stored()) == run.task()


async def test_one_who_leaves_disturbs_nobody(journal: HandJournal) -> None:
    """By closing between two events, or cancelled while waiting."""
    run = begun(journal)
    stays, cancelled = Follower(run), Follower(run)
    closed = run.feed.follow(BRIEF, LONG)
    assert await anext(closed) == [(1, b"Task")]
    await passing()

    await closed.aclose()
    cancelled.job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled.end()
    run.publish(text("a"))
    run.publish(COMPLETED)
    journal.commit()
    await run.finish()

    assert await stays.end() == [(1, b"Task"), (2, b"a"), (3, b"COMPLETED")]


async def test_silence_is_told_and_ends_with_the_next_event(journal: HandJournal) -> None:
    run = begun(journal)
    follower = Follower(run, idle=0.001)
    await follower.until(lambda f: f.silences > 2)

    run.publish(text("a"))
    await follower.until(lambda f: len(f.heard) == 2)
    await run_to_end(run, journal)

    assert await follower.end() == [(1, b"Task"), (2, b"a"), (3, b"COMPLETED")]


async def run_to_end(run: Run, journal: HandJournal) -> None:
    """Complete the task."""
    run.publish(COMPLETED)
    journal.commit()
    await run.finish()


async def test_the_run_ends_when_everything_is_stored(journal: HandJournal) -> None:
    run = begun(journal)
    run.publish(text("a"))
    ended = asyncio.create_task(run.feed.ended())
    finishing = asyncio.create_task(run.finish())
    await passing()
    assert not finishing.done()
    write = journal.collect()
    await passing()
    assert not ended.done()

    journal.commit(write)

    with anyio.fail_after(5):
        await finishing
        await ended
        await run.feed.ended()
    assert [seq for seq, _ in journal.log()] == [1, 2]


async def test_what_came_during_the_last_write_is_stored_before_the_end(
    journal: HandJournal,
) -> None:
    run = begun(journal)
    run.publish(WORKING)
    write = journal.collect()
    run.publish(text("a"))
    finishing = asyncio.create_task(run.finish())
    await passing()

    journal.commit(write)
    await passing()
    assert not finishing.done()
    journal.commit()

    with anyio.fail_after(5):
        await finishing
    assert [seq for seq, _ in journal.log()] == [1, 2, 3]


async def test_an_error_at_the_end_is_heard_after_all_events(journal: HandJournal) -> None:
    run = begun(journal)
    follower = Follower(run)
    run.publish(COMPLETED)
    journal.commit()
    await run.finish(TurnFailed("Too bad."))

    with pytest.raises(TurnFailed):
        await follower.end()
    assert follower.heard == [(1, b"Task"), (2, b"COMPLETED")]
    with pytest.raises(TurnFailed):
        await run.feed.ended()
    await run.feed.opened()


async def test_who_waits_for_a_run_that_never_begins_hears_why(journal: HandJournal) -> None:
    run = new_run(journal)
    waiters = [asyncio.create_task(run.feed.opened()), asyncio.create_task(run.feed.ended())]
    await passing()

    await run.finish(TurnFailed())

    for waiter in waiters:
        with pytest.raises(TurnFailed), anyio.fail_after(5):
            await waiter
    with pytest.raises(TurnFailed):
        await audible(run)
    assert journal.waiting == {}


async def test_a_run_is_open_when_its_task_is_stored(journal: HandJournal) -> None:
    run = new_run(journal)
    opened = asyncio.create_task(run.feed.opened())
    run.begin()
    await passing()
    assert not opened.done()

    journal.commit()

    with anyio.fail_after(5):
        await opened


@pytest.mark.parametrize("error", [StateUnavailable(), TaskTaken()])
async def test_a_state_that_could_not_be_stored_is_never_heard(
    journal: HandJournal, error: AgentError
) -> None:
    run = begun(journal)
    follower = Follower(run)
    await passing()
    run.publish(COMPLETED)

    journal.commit(error=error)
    await run.finish()

    with pytest.raises(type(error)):
        await follower.end()
    assert follower.heard == [(1, b"Task")]
    with pytest.raises(type(error)):
        await run.feed.ended()


async def test_the_first_error_is_the_one_that_is_heard(journal: HandJournal) -> None:
    run = begun(journal)
    run.publish(COMPLETED)
    journal.commit(error=TaskTaken())

    await run.finish(TurnFailed())

    with pytest.raises(TaskTaken):
        await run.feed.ended()


async def test_a_run_that_lost_its_task_writes_no_more(journal: HandJournal) -> None:
    """Events alone carry no fence: they would stand among those of whoever has the task now."""
    run = begun(journal)
    run.publish(WORKING)
    journal.commit(error=TaskTaken())

    run.publish(text("late"))
    run.publish(COMPLETED)
    written = journal.commit()

    assert [(entry.task, entry.events) for entry in written] in ([], [(None, None)])
    assert run.feed.error is not None


@pytest.mark.parametrize("error", [StateUnavailable(), TaskTaken()])
async def test_what_waited_while_a_write_failed_is_neither_written_nor_heard(
    journal: HandJournal, error: AgentError
) -> None:
    """Else it would be a gap in the log, or stand among the events of whoever has the task now."""
    run = begun(journal)
    run.publish(WORKING)
    write = journal.collect()
    run.publish(text("late"))
    await journal.called()

    journal.commit(write, error=error)

    assert [(entry.task, entry.events) for entry in journal.commit()] in ([], [(None, None)])
    assert await audible(run) == [(1, b"Task")]


async def test_what_comes_after_a_failed_write_does_not_leave_a_gap(journal: HandJournal) -> None:
    run = begun(journal)
    run.publish(WORKING)
    journal.commit(error=StateUnavailable())
    run.publish(text("a"))
    run.publish(COMPLETED)
    journal.commit()
    await run.finish()

    log = [seq for seq, _ in journal.log()]
    assert log == list(range(1, len(log) + 1))
    assert [seq for seq, _ in await audible(run)] == log


async def test_the_row_of_a_new_task_says_whose_it_is_and_how_it_stands(
    journal: HandJournal,
) -> None:
    run = new_run(journal)
    run.begin()
    run.publish(status(TaskState.WORKING, turn_id="turn"))

    (entry,) = journal.commit()

    row = entry.task
    assert row is not None
    assert row.is_new
    assert (row.task_id, row.owner, row.tenant, row.context_id) == ("task", "ann", "", "context")
    assert (row.state, row.turn_id, row.seq, row.fence) == ("TASK_STATE_WORKING", "turn", 2, 1)
    assert row.created_at <= row.updated_at < row.lease_until
    assert row.lease_holder == HOLDER.name
    assert row.ended_at is None
    assert msgspec.json.decode(row.body, type=Task) == run.task()


@pytest.mark.parametrize("state", TaskState)
async def test_a_task_has_ended_with_a_terminal_state(
    journal: HandJournal, state: TaskState
) -> None:
    run = begun(journal)
    run.publish(status(state))

    (entry,) = journal.commit()

    terminal = state.name in {"COMPLETED", "FAILED", "CANCELED", "REJECTED"}
    assert entry.task is not None
    assert (entry.task.ended_at is not None) == terminal
    assert run.settled == (terminal or state.name in {"INPUT_REQUIRED", "AUTH_REQUIRED"})
    # Nobody runs a settled task, so anybody may take it.
    assert (entry.task.lease_until == 0) == run.settled


async def test_a_continued_task_goes_on_with_its_numbers(journal: HandJournal) -> None:
    run = new_run(journal, task_row(seq=7, fence=3, turn_id="turn"))
    run.begin()
    run.publish(WORKING)
    journal.commit()

    assert await audible(run) == [(8, b"Task"), (9, b"WORKING")]
    row = journal.stored().row
    assert (row.is_new, row.seq, row.fence, row.turn_id) == (False, 9, 3, "turn")


async def test_beginning_twice_is_beginning_once(journal: HandJournal) -> None:
    run = begun(journal)

    run.begin()

    assert journal.waiting == {}
    assert await audible(run) == [(1, b"Task")]


async def test_a_context_is_stored_with_its_first_task(journal: HandJournal) -> None:
    run = new_run(journal)
    run.in_context(CONTEXT)
    run.begin()
    (first,) = journal.commit()
    run.publish(WORKING)
    (second,) = journal.commit()

    assert first.context == CONTEXT
    assert first.task is not None
    assert second.context is None


async def test_a_message_without_a_task_is_not_stored(journal: HandJournal) -> None:
    """Its context is: the conversation goes on with the next message."""
    run = new_run(journal)
    run.in_context(CONTEXT)
    answer = Message("m", Role.AGENT, [Part(text="hello")])
    run.publish(answer)
    finishing = asyncio.create_task(run.finish())
    await journal.called()
    (entry,) = journal.commit()

    with anyio.fail_after(5):
        await finishing
        await run.feed.opened()
        await run.feed.ended()
    assert run.message == answer
    assert (entry.task, entry.events, entry.context) == (None, None, CONTEXT)
    assert await audible(run) == []


async def test_a_run_that_fails_says_so_once(journal: HandJournal) -> None:
    run = new_run(journal)
    run.fail("Too bad.")
    run.fail("Even worse.")
    journal.commit()

    assert await audible(run) == [(1, b"Task"), (2, b"FAILED")]
    message = run.task().status.message
    assert message is not None
    assert message.parts == [Part(text="Too bad.")]
    assert (message.role, message.task_id, message.context_id) == (Role.AGENT, "task", "context")


@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.INPUT_REQUIRED])
async def test_a_settled_task_cannot_fail(journal: HandJournal, state: TaskState) -> None:
    run = begun(journal)
    run.publish(status(state))

    run.fail("Too late.")

    assert run.task().status.state is state


async def test_an_event_is_encoded_once_for_all_followers(journal: HandJournal) -> None:
    run = begun(journal)
    run.publish(text("a"))
    encoder = Brief()

    for _ in range(3):
        assert await audible(run, encoder) == [(1, b"Task"), (2, b"a")]

    assert encoder.encoded == 2
