"""Tokens are limited per user and for all, and what was spent is counted however a turn ends."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.engine import make_url

from a2a_state.database import connect
from a2a_state.quotas import Balances, quota_history, quotas
from a2a_state.tables import contexts, message_keys, tasks
from agent.app import create_app
from agent.caller import Caller
from agent.databases import make_quotas
from agent.errors import (
    ContentTypeNotSupported,
    QuotaExceeded,
    ServerStopping,
    StackUnavailable,
    StateUnavailable,
    TurnFailed,
)
from agent.metering import FILE_TOKENS
from agent.model import Message, StatusUpdate, Task, TaskState
from agent.quotas import renewal
from agent.quotas.period import read_period
from agent.quotas.quotas import Quotas
from agent.settings import Settings
from agent.stacks import (
    ArtifactPart,
    DirectMessage,
    Failed,
    FilePart,
    InputRequired,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnRequest,
    Usage,
)
from tests.conformance.client import on_socket
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.engine import ANN, engine, message, until
from tests.fakes.ports import free_port
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database
from tests.fakes.switch import switch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from a2a_state.database import Database
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio

BOB = Caller("bob")
NOTHING = Usage(0, 0)
TURN = [TextDelta("yes"), Usage(30, 20), DONE]
AGAIN = "6b0f8f5e-3b0a-4a52-9d5c-0c1f2a7e9b11"


def limiter(name: str = "mine", quota: int = 1000, **changes: Any) -> dict[str, Any]:
    """Return the settings of a limiter: of each user, a day long, unless told otherwise."""
    kind = {"type": "user_limiter", "name": name, "initial_quota": quota}
    return kind | {"quota_increase": 0, "period": "1 day"} | changes


def handlers(*limiters: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return the settings of an engine with these limiters."""
    return {"quota_handlers": {"limiters": limiters} | others}


CLUSTER = {"type": "cluster_limiter"}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


def limits(running: Engine) -> Quotas:
    """Return the quotas of an engine that has some."""
    assert running.quotas is not None
    return running.quotas


async def left(running: Engine, user_id: str = "ann") -> dict[str, int]:
    """Return what a user has left, below zero too."""
    return await limits(running)._left(user_id)


async def spent(running: Engine, quota: int = 1000) -> int:
    """Return how much ann has spent of her one quota."""
    (balance,) = (await left(running)).values()
    return quota - balance


async def send_as(running: Engine, caller: Caller, **fields: Any) -> Task:
    """Send a message of a caller's."""
    answer = await running.service.send(caller, message(**fields))
    assert isinstance(answer, Task)
    return answer


def told(task: Task) -> Any:
    """Return what the task says is left."""
    return (task.metadata or {}).get("available_quotas")


async def free(running: Engine) -> None:
    """Wait until nothing runs."""

    async def is_free() -> bool:
        return not running.runner.running()

    await until(is_free)


async def test_what_a_turn_spent_is_taken_from_every_quota(database: Database) -> None:
    """Input and output count alike; the last status says what is left."""
    both = handlers(limiter("mine"), limiter("all", 500, **CLUSTER))
    async with engine(Script(TURN), database, **both) as running:
        task = await running.send()

        assert await left(running) == {"mine": 950, "all": 450}
        assert told(task) == {"mine": 950, "all": 450}
        _, last = (await running.log(task.id))[-1]
        assert isinstance(last, StatusUpdate)
        assert (last.metadata or {})["available_quotas"] == {"mine": 950, "all": 450}


async def test_without_limiters_nothing_is_counted_or_told(database: Database) -> None:
    async with engine(Script(TURN), database) as running:
        task = await running.send()

        assert running.quotas is None
        assert told(task) is None


async def test_who_has_nothing_left_is_refused_and_leaves_no_trace(database: Database) -> None:
    """The last turn may spend more than there is: what is shown is never below zero."""
    async with engine(Script(TURN), database, **handlers(limiter(quota=40))) as running:
        task = await running.send(context_id="c")
        assert told(task) == {"mine": 0}
        assert await left(running) == {"mine": -10}
        before = await database.read(_counts)

        with pytest.raises(QuotaExceeded) as caught:
            await running.send(message_id=AGAIN, push_config=None)

        assert caught.value.message == (
            "The quota has been exceeded: User ann has no available tokens."
        )
        assert await database.read(_counts) == before
        assert len(running.script.requests) == 1
        assert await limits(running).available("ann") == {"mine": 0}


def _counts(connection: Connection) -> list[int]:
    return [
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (tasks, contexts, message_keys)
    ]


async def test_a_refused_message_can_be_sent_again_when_there_is_quota(database: Database) -> None:
    """Its key is forgotten."""
    async with engine(Script(TURN), database, **handlers(limiter(quota=50))) as running:
        await running.send()
        with pytest.raises(QuotaExceeded):
            await running.send(message_id=AGAIN)

        await database.write(lambda c: c.execute(quotas.update().values(available=1)))
        task = await running.send(message_id=AGAIN)

        assert task.status.state is TaskState.COMPLETED
        assert await running.send(message_id=AGAIN) == task, "told again, though nothing is left"


async def test_a_refused_message_gives_its_place_back(database: Database) -> None:
    few = {"running_tasks": 1, "queue_seconds": 0}
    async with engine(Script(TURN), database, limits=few, **handlers(limiter(quota=0))) as running:
        for _ in range(3):
            with pytest.raises(QuotaExceeded):
                await running.send()
        assert running.runner.has_place("ann")


async def test_one_users_quota_is_not_anothers(database: Database) -> None:
    async with engine(Script(TURN), database, **handlers(limiter(quota=50))) as running:
        await running.send()
        with pytest.raises(QuotaExceeded):
            await running.send()

        assert (await send_as(running, BOB)).status.state is TaskState.COMPLETED
        assert await left(running, "bob") == {"mine": 0}
        assert await left(running, "cleo") == {"mine": 50}


async def test_all_share_the_quota_of_the_cluster(database: Database) -> None:
    async with engine(Script(TURN), database, **handlers(limiter(quota=80, **CLUSTER))) as running:
        await running.send()
        await send_as(running, BOB)

        with pytest.raises(QuotaExceeded) as caught:
            await send_as(running, Caller("cleo"))
        assert caught.value.cause == "Cluster has no available tokens."


async def test_who_works_for_another_spends_the_own_quota(database: Database) -> None:
    async with engine(Script(TURN), database, **handlers(limiter())) as running:
        await send_as(running, BOB.acting_for("ann"))

        assert await left(running, "bob") == {"mine": 950}
        assert await left(running, "ann") == {"mine": 1000}


async def test_a_follow_up_is_counted_and_needs_quota(database: Database) -> None:
    """One that is refused leaves the task waiting as it was."""
    asks = [Usage(30, 20), InputRequired("More?")]
    script = Script(asks, TURN, TURN)
    async with engine(script, database, **handlers(limiter(quota=100))) as running:
        task = await running.send()
        assert told(task) == {"mine": 50}
        await send_as(running, ANN)

        with pytest.raises(QuotaExceeded):
            await running.send("yes", task_id=task.id)
        waiting = await running.get(task.id)
        assert waiting.status.state is TaskState.INPUT_REQUIRED

        await database.write(lambda c: c.execute(quotas.update().values(available=1)))
        task = await running.send("yes", task_id=task.id)
        assert task.status.state is TaskState.COMPLETED
        assert await left(running) == {"mine": -49}


CALL = {"call_id": "1", "arguments": {"a": 1}}
RESULT = {"call_id": "1", "result": "x" * 70}

ESTIMATES: dict[str, tuple[list[Any], int]] = {
    "text": ([TextDelta("1234"), TextDelta("5"), DONE], 1 + 2),
    "whole answer": ([TurnCompleted("end_of_turn", "123456789")], 1 + 3),
    "a file": (
        [ArtifactPart((FilePart("a.png", "image/png", b"123"),), "a"), DONE],
        1 + FILE_TOKENS,
    ),
    "a text file": ([ArtifactPart((FilePart("a", "text/plain", b"12345"),), "a"), DONE], 1 + 2),
    # 35 characters of a call come out, 97 of a result go in.
    "a tool": (
        [StepStarted("tool_execution", "t", CALL), StepEnded("tool_execution", "t", RESULT), DONE],
        25 + 9,
    ),
    "reports of two steps": ([Usage(10, 5), TextDelta("x" * 99), Usage(20, 5), DONE], 40),
    "a failure after a report": ([Usage(10, 5), TextDelta("x" * 40), Failed("no")], 15 + 10),
    "an exception": ([TextDelta("x" * 40), TurnFailed("no")], 1 + 10),
    "a bug": ([TextDelta("x" * 40), RuntimeError("no")], 1 + 10),
    "nothing more": ([TextDelta("x" * 40)], 1 + 10),
    "a wrong event": ([TextDelta("x" * 40), 42], 1 + 10),
    "an absurd report": ([Usage(-5, 10), DONE], 10),
    "no connection": ([StackUnavailable()], 0),
}


@pytest.mark.parametrize(("turn", "tokens"), ESTIMATES.values(), ids=ESTIMATES)
async def test_what_no_stack_reports_is_estimated(turn: list[Any], tokens: int) -> None:
    """A token is four characters of what went in and came out; here two went in: "hi"."""
    async with (
        open_database("sqlite://") as database,
        engine(Script(turn), database, **handlers(limiter(quota=9999))) as running,
    ):
        task = await running.send()

        assert task.status.state in {TaskState.COMPLETED, TaskState.FAILED}
        assert await spent(running, 9999) == tokens
        assert told(task) == {"mine": 9999 - tokens}


async def test_an_answer_without_a_task_is_counted(database: Database) -> None:
    """Before it is told: nobody gets two for one."""
    script = Script([DirectMessage((TextPart("x" * 40),))])
    async with engine(script, database, **handlers(limiter(quota=11))) as running:
        answer = await running.service.send(ANN, message())

        assert isinstance(answer, Message)
        assert answer.metadata == {"available_quotas": {"mine": 0}}
        assert await spent(running, 11) == 11
        with pytest.raises(QuotaExceeded):
            await running.send()


async def test_a_message_that_the_stack_does_not_take_costs_nothing(database: Database) -> None:
    script = Script([ContentTypeNotSupported()])
    async with engine(script, database, **handlers(limiter())) as running:
        with pytest.raises(ContentTypeNotSupported):
            await running.send()
        await free(running)
        assert await spent(running) == 0


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ([], 1),
        ([TextDelta("x" * 40)], 1 + 10),
        ([Usage(30, 20), TextDelta("x" * 40)], 50 + 10),
    ],
    ids=["at once", "without report", "after report"],
)
async def test_canceling_is_no_way_around_a_quota(
    database: Database, said: list[Any], tokens: int
) -> None:
    """What was spent by then is counted before the task is canceled."""
    turn = [*said, anyio.Event()]
    async with engine(Script(turn), database, **handlers(limiter())) as running:
        task = await running.send(return_immediately=True)

        async def has_begun() -> bool:
            return bool(running.script.requests)

        await until(has_begun)
        run = running.run_of(task.id)
        assert run is not None
        charge = run.charge
        assert charge is not None

        async def has_heard() -> bool:
            return sum(_total(charge.meter.spent)) == tokens

        await until(has_heard)
        canceled = await running.cancel(task.id)

        assert canceled.status.state is TaskState.CANCELED
        assert told(canceled) == {"mine": 1000 - tokens}
        assert await spent(running) == tokens


def _total(usage: Usage) -> tuple[int, int]:
    return usage.input_tokens, usage.output_tokens


async def test_a_stack_that_does_not_give_up_is_counted_too(database: Database) -> None:
    """As far as it had come when the task was ended, and again when it ends at last."""
    gate = anyio.Event()

    async def stubborn(_request: Any) -> Any:
        yield TextDelta("x" * 40)
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()  # type: ignore[union-attr] # there is one
        yield Usage(100, 200)

    async with engine(Script(stubborn), database, **handlers(limiter())) as running:
        running.runner.patience = 0.05
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "x" * 40)

        canceled = await running.cancel(task.id)
        assert canceled.status.state is TaskState.CANCELED
        assert told(canceled) == {"mine": 1000 - 11}
        gate.set()
        await free(running)
        assert await spent(running) == 300


@pytest.mark.parametrize(
    "limit", [{"turn_seconds": 0.1}, {"turn_bytes": 600}], ids=["too long", "too large"]
)
async def test_a_turn_that_is_broken_off_is_counted(limit: dict[str, Any]) -> None:
    turn = [Usage(30, 20), TextDelta("x" * 400), anyio.Event()]
    async with (
        open_database("sqlite://") as database,
        engine(Script(turn), database, limits=limit, **handlers(limiter())) as running,
    ):
        task = await running.send()

        assert task.status.state is TaskState.FAILED
        assert told(task) == {"mine": 1000 - 150}


async def test_a_server_that_stops_counts_what_it_hands_over(database: Database) -> None:
    """The turn that another server begins anew is counted there, without being asked for quota."""
    turn = [Usage(30, 20), TextDelta("x"), anyio.Event()]
    quota = handlers(limiter(quota=50))
    async with engine(Script(turn), database, **quota) as stopping:
        task = await stopping.send(return_immediately=True)
        await stopping.stored(task.id, "x")
        await stopping.runner.close()
        assert await left(stopping) == {"mine": -1}
    async with engine(Script(TURN), database, **quota) as running:
        assert await running.recovery.sweep() == 1
        await free(running)
        done = await running.get(task.id)
        assert done.status.state is TaskState.COMPLETED
        assert told(done) == {"mine": 0}
        assert await left(running) == {"mine": -51}


async def test_a_task_ends_for_others_when_it_is_counted_and_not_before(tmp_path: Path) -> None:
    """The database of the quotas is locked meanwhile: nobody hears of an end, then everybody does."""
    file = tmp_path / "quotas.db"
    own = handlers(limiter(), sqlite={"db_path": str(file)})
    async with open_database(f"sqlite:///{tmp_path / 'state.db'}") as database:
        gate = anyio.Event()
        script = Script([TextDelta("yes"), gate, Usage(30, 20), DONE])
        async with engine(script, database, **own) as running:
            await limits(running).open()
            task = await running.send(return_immediately=True)
            await running.stored(task.id, "yes")
            follower = await running.follow(task.id)
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                gate.set()
                run = running.run_of(task.id)
                assert run is not None
                charge = run.charge
                assert charge is not None

                async def is_counting() -> bool:
                    return charge._lock.locked()

                await until(is_counting)
                await anyio.wait_all_tasks_blocked()
                assert (await running.get(task.id)).status.state is TaskState.WORKING
                other.execute("ROLLBACK")
            heard = await follower.rest()
            assert await left(running) == {"mine": 950}
            _, last = heard[-1]
            assert isinstance(last, StatusUpdate)
            assert last.status.state is TaskState.COMPLETED
            await limits(running).close()


async def test_a_running_turn_holds_back_what_it_has_spent_by_then(database: Database) -> None:
    """That is not taken yet, and may be more than was expected."""
    gate = anyio.Event()
    script = Script([Usage(900, 99), TextDelta("x"), gate, DONE], TURN)
    both = handlers(limiter("mine", 2000), limiter("all", 1040, **CLUSTER))
    async with engine(script, database, **both) as running:
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "x")
        assert await left(running) == {"mine": 2000, "all": 1040}
        assert (await send_as(running, BOB)).status.state is TaskState.COMPLETED

        with pytest.raises(QuotaExceeded) as caught:
            await send_as(running, BOB)
        assert caught.value.cause == (
            "Cluster has no available tokens beside those held back for what is running."
        )
        gate.set()
        await free(running)
        with pytest.raises(QuotaExceeded) as caught:
            await send_as(running, BOB)
        assert caught.value.cause == "Cluster has no available tokens."


ENDS: dict[str, list[Any]] = {
    "completed": TURN,
    "interrupted": [InputRequired("More?")],
    "failed": [Failed("no")],
    "message": [DirectMessage((TextPart("x"),))],
    "not taken": [ContentTypeNotSupported()],
    "bug": [RuntimeError("no")],
}


@pytest.mark.parametrize("turn", ENDS.values(), ids=ENDS)
async def test_what_was_held_back_is_given_back(turn: list[Any]) -> None:
    async with (
        open_database("sqlite://") as database,
        engine(Script(turn), database, **handlers(limiter())) as running,
    ):
        reserved = limits(running)._reserves.of("ann")
        with suppress(ContentTypeNotSupported):
            await running.service.send(ANN, message())
        await free(running)
        assert 0 < reserved.taken == reserved.given_back


class Slow(Balances):
    """Tells balances some time after they were read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.read = anyio.Event()
        self.gate = anyio.Event()

    async def available(self, new: Any) -> dict[str, int]:
        """Read now, and tell later."""
        found = await super().available(new)
        self.read.set()
        await self.gate.wait()
        return found


async def test_a_message_that_does_not_begin_holds_nothing_back(database: Database) -> None:
    """Here the server began to stop while the balance was read."""
    async with engine(Script(TURN), database, **handlers(limiter())) as running:
        kept = limits(running)
        slow = kept._balances = Slow(database)
        reserved = kept._reserves.of("ann")
        sending = asyncio.create_task(running.send())
        await slow.read.wait()
        await running.runner.drain(0)
        slow.gate.set()

        with pytest.raises(ServerStopping):
            await sending
        assert 0 < reserved.taken == reserved.given_back


async def test_a_balance_that_was_read_before_a_turn_was_counted_is_not_believed(
    database: Database,
) -> None:
    """By then the turn holds nothing back any more."""
    gate = anyio.Event()
    script = Script([TextDelta("x"), gate, Usage(30, 20), DONE], TURN)
    async with engine(script, database, **handlers(limiter(quota=50))) as running:
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "x")
        kept = limits(running)
        slow = kept._balances = Slow(database)
        sending = asyncio.create_task(running.send())
        await slow.read.wait()
        gate.set()
        await free(running)
        slow.gate.set()

        with pytest.raises(QuotaExceeded):
            await sending
        assert await left(running) == {"mine": 0}


REQUEST = TurnRequest(
    conversation_id="c",
    task_id="t",
    context_id="c",
    message_id="m",
    owner="ann",
    tenant="",
    parts=(TextPart("hi"),),
)


async def test_who_no_longer_waits_for_the_count_does_not_end_it(tmp_path: Path) -> None:
    """It waits for the database, which is locked."""
    file = tmp_path / "quotas.db"
    async with open_database(f"sqlite:///{file}") as database:
        kept = Quotas(Settings(**handlers(limiter())), database)
        charge = await kept.admit("ann", REQUEST, 0)
        charge.begin(REQUEST, 0)(Usage(30, 20))
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(charge.settle())
            await anyio.wait_all_tasks_blocked()
            waiting.cancel()
            await asyncio.wait([waiting])
            other.execute("ROLLBACK")
        assert waiting.cancelled()
        await charge.settle()
        assert await kept.available("ann") == {"mine": 950}


HISTORY = {"enable_token_history": True}


async def history(database: Database) -> list[tuple[Any, ...]]:
    """Return the totals that are kept, in the order of users."""
    query = select(quota_history).order_by(quota_history.c.user_id)
    return [tuple(row) for row in await database.read(lambda c: c.execute(query).all())]


@pytest.mark.parametrize(
    ("inference", "provider", "model"),
    [
        ({}, "", ""),
        ({"default_model": "tiny"}, "", "tiny"),
        ({"default_model": "tiny", "default_provider": "ollama"}, "ollama", "tiny"),
    ],
    ids=["unknown", "model", "model and provider"],
)
async def test_a_history_adds_up_tokens_by_user_and_model(
    database: Database, inference: dict[str, str], provider: str, model: str
) -> None:
    """Also without any limit."""
    async with engine(
        Script(TURN), database, inference=inference, **handlers(**HISTORY)
    ) as running:
        task = await running.send()
        await running.send()
        await send_as(running, BOB)

        assert told(task) is None
        assert await history(database) == [
            ("ann", provider, model, 60, 40),
            ("bob", provider, model, 30, 20),
        ]


async def test_without_a_history_none_is_kept(database: Database) -> None:
    async with engine(Script(TURN), database, **handlers(limiter())) as running:
        await running.send()
        assert await history(database) == []


class Clock:
    """Tells the time that a test sets."""

    def __init__(self, moment: str = "2026-01-31T10:00:00") -> None:
        self.now = 0
        self.set(moment)

    def set(self, moment: str) -> None:
        """Set it, in UTC."""
        self.now = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)

    def __call__(self) -> int:
        """Tell it."""
        return self.now


def clocked(database: Database, clock: Clock, *limiters: dict[str, Any]) -> Quotas:
    """Return quotas that live by a clock; nothing looks after them but the test."""
    return Quotas(Settings(**handlers(*limiters)), database, clock=clock)


async def test_a_quota_is_reset_at_the_end_of_its_period(database: Database) -> None:
    clock = Clock()
    kept = clocked(database, clock, limiter())
    await kept.spend("ann", Usage(2000, 0))
    clock.set("2026-02-01T09:59:59.999")
    assert await kept.sweep() == 0
    assert await kept.available("ann") == {"mine": 0}

    clock.set("2026-02-01T10:00:00")
    assert await kept.sweep() == 1
    assert await kept.sweep() == 0
    assert await kept.available("ann") == {"mine": 1000}


async def test_a_quota_grows_at_the_end_of_each_period_also_of_those_missed(
    database: Database,
) -> None:
    clock = Clock()
    kept = clocked(database, clock, limiter(quota=10, quota_increase=5))
    await kept.spend("ann", Usage(12, 0))
    clock.set("2026-02-01T12:00:00")
    await kept.sweep()
    assert await kept.available("ann") == {"mine": 3}

    clock.set("2026-02-05T11:00:00")
    await kept.sweep()
    await kept.sweep()
    assert await kept.available("ann") == {"mine": 23}
    clock.set("2026-02-06T10:00:00")
    await kept.sweep()
    assert await kept.available("ann") == {"mine": 28}


async def test_a_month_ends_where_the_calendar_says(database: Database) -> None:
    clock = Clock("2026-01-31T10:00:00")
    kept = clocked(database, clock, limiter(quota=10, quota_increase=5, period="1 month"))
    await kept.spend("ann", NOTHING)
    seen = []
    for moment in ("02-28T09:59", "02-28T10:00", "03-28T10:00", "03-31T10:00", "05-01T00:00"):
        clock.set(f"2026-{moment}:00")
        await kept.sweep()
        seen.append((await kept.available("ann"))["mine"])
    assert seen == [10, 15, 15, 20, 25]


async def test_each_user_has_periods_from_the_first_message_on(database: Database) -> None:
    clock = Clock("2026-01-01T08:00:00")
    kept = clocked(database, clock, limiter())
    await kept.spend("ann", Usage(1, 0))
    clock.set("2026-01-01T20:00:00")
    await kept.spend("bob", Usage(1, 0))

    clock.set("2026-01-02T08:00:00")
    await kept.sweep()
    assert await kept.available("ann") == {"mine": 1000}
    assert await kept.available("bob") == {"mine": 999}


async def test_a_limiter_that_was_changed_is_taken_over(database: Database) -> None:
    """What is left stays; the period of the new setting counts from the first message."""
    clock = Clock("2026-01-01T00:00:00")
    await clocked(database, clock, limiter(period="1 year")).spend("ann", Usage(100, 0))

    clock.set("2026-01-10T12:00:00")
    changed = clocked(database, clock, limiter(quota=2000, period="1 day"))
    assert await changed.sweep() == 0
    assert await changed.available("ann") == {"mine": 900}
    clock.set("2026-01-11T00:00:00")
    assert await changed.sweep() == 1
    assert await changed.available("ann") == {"mine": 2000}


async def test_a_limiter_that_is_new_begins_with_its_quota(database: Database) -> None:
    clock = Clock()
    await clocked(database, clock, limiter("old")).spend("ann", Usage(100, 0))

    both = clocked(database, clock, limiter("old"), limiter("new", 7, **CLUSTER))
    assert await both.available("ann") == {"old": 900, "new": 7}


async def test_a_quota_grows_to_a_bound_and_no_further(database: Database) -> None:
    """An hour of down time must not make a number that no column holds."""
    clock = Clock("2016-01-01T00:00:00")
    most = 10**15
    kept = clocked(database, clock, limiter(quota=most, quota_increase=most, period="1 second"))
    await kept.spend("ann", NOTHING)
    clock.set("2026-01-01T00:00:00")
    for second in range(3):
        clock.set(f"2026-01-01T00:00:0{second}")
        await kept.sweep()
    assert (await kept.available("ann"))["mine"] == 4 * 10**18


async def test_many_quotas_are_renewed_once_by_several_servers_at_once(
    database_url: str,
) -> None:
    """In batches, each row once."""
    many = renewal.BATCH * 2 + 5
    clock = Clock()
    one = limiter(quota=10, quota_increase=5)
    async with open_database(database_url) as database:
        servers = [clocked(database, clock, one) for _ in range(3)]
        for number in range(many):
            await servers[0].spend(f"user-{number}", NOTHING)
        clock.set("2026-02-01T10:00:00")

        renewed = await asyncio.gather(*(kept.sweep() for kept in servers))

        assert sum(renewed) == many
        balances = await database.read(
            lambda c: c.execute(select(quotas.c.available).distinct()).scalars().all()
        )
        assert balances == [15]


async def test_the_scheduler_renews_by_itself(database: Database) -> None:
    clock = Clock()
    kept = clocked(database, clock, limiter())
    await kept.spend("ann", Usage(1000, 0))
    clock.set("2026-02-01T10:00:00")
    await kept.open()
    with anyio.fail_after(30):

        async def is_renewed() -> bool:
            return await kept.available("ann") == {"mine": 1000}

        await until(is_renewed)
    await kept.close()


def elsewhere(url: str, port: int | None = None, **scheduler: int) -> dict[str, Any]:
    """Return settings that keep quotas in a PostgreSQL database of their own, at another port."""
    parsed = make_url(url)
    server = {"host": "127.0.0.1", "port": port or parsed.port, "db": parsed.database}
    login = {"user": parsed.username, "password": "none needed", "ssl_mode": "disable"}
    return handlers(limiter(), postgres=server | login, scheduler=scheduler)


@asynccontextmanager
async def kept_elsewhere(settings: dict[str, Any]) -> AsyncIterator[Quotas]:
    """Open quotas that have a database of their own; the state is in memory."""
    async with open_database("sqlite://") as state:
        kept = make_quotas(Settings(**settings), state)
        assert kept is not None
        try:
            yield kept
        finally:
            await kept.close()


async def test_quotas_may_have_a_database_of_their_own(postgres_url: str) -> None:
    """It gets its tables by itself, and nothing else is written there."""
    async with kept_elsewhere(elsewhere(postgres_url)) as kept:
        await kept.open()
        await kept.spend("ann", Usage(1, 2))

        async with open_database(postgres_url) as there:
            rows = await there.read(lambda c: c.execute(select(quotas)).all())
            assert [row.available for row in rows] == [997]


async def test_a_quota_database_that_is_away_at_the_start_is_tried_again(
    postgres_url: str,
) -> None:
    target = make_url(postgres_url).port
    assert target is not None
    async with switch(target, on=False) as way:
        settings = elsewhere(postgres_url, way.port, database_reconnection_count=50)
        with anyio.fail_after(20):
            async with kept_elsewhere(settings) as kept, anyio.create_task_group() as group:
                group.start_soon(kept.open)
                await way.knocked(1)
                way.on = True
        async with kept_elsewhere(settings) as kept:
            await kept.open()
            assert await kept.available("ann") == {"mine": 1000}


async def test_a_quota_database_that_stays_away_is_told_at_the_start(postgres_url: str) -> None:
    settings = elsewhere(postgres_url, free_port(), database_reconnection_count=2)
    async with kept_elsewhere(settings) as kept:
        with pytest.raises(StateUnavailable, match="cannot be reached; tried 2 times"):
            await kept.open()


async def test_nobody_is_served_while_the_quotas_cannot_be_known(postgres_url: str) -> None:
    """Turns that run meanwhile end, and are counted when the database is back."""
    target = make_url(postgres_url).port
    assert target is not None
    gate = anyio.Event()
    script = Script([TextDelta("x"), gate, Usage(30, 20), DONE])
    async with (
        switch(target) as way,
        open_database("sqlite://") as database,
        engine(script, database, **elsewhere(postgres_url, way.port)) as running,
    ):
        kept = limits(running)
        await kept.open()
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "x")
        way.shut()

        with pytest.raises(StateUnavailable, match="quota database"):
            await running.send()
        gate.set()
        await free(running)
        done = await running.get(task.id)
        assert done.status.state is TaskState.COMPLETED
        assert told(done) is None, "what is not known is not told"

        way.on = True

        async def is_counted() -> bool:
            return await left(running) == {"mine": 950}

        await until(is_counted)
        await kept.close()


TEXTS = [
    "1 day",
    "2 weeks 3 hours",
    "1 month",
    "01:30:00",
    "P1D",
    "1.5 months",
    "1.5 years",
    "0.5 weeks",
    "2h30m",
    "90",
    "4:05",
    "1-2",
    "1-2 3 4:05:06",
    "3 4:05:06",
    "@ 1 minute",
    "1 day 04:05:06.789",
    "P1Y2M3DT4H5M6S",
    "PT36H",
    "P2W",
    "P0001-02-03T04:05:06",
    "1 decade",
    "1 century",
    "1500 ms",
    "2000000 us",
    ".5 hours",
    "1.25 days",
    "24:00",
    "P1M",
]


@pytest.mark.parametrize("interval", TEXTS)
async def test_postgresql_reads_periods_alike(postgres: Any, interval: str) -> None:
    """The documentation promises its intervals."""
    url = f"postgresql+asyncpg://postgres@127.0.0.1:{postgres.port}/postgres"
    query = text(
        "SELECT extract(year FROM i) * 12 + extract(month FROM i), extract(day FROM i),"
        " extract(hour FROM i) * 3600000 + extract(minute FROM i) * 60000"
        " + extract(milliseconds FROM i) FROM (SELECT CAST(CAST(:text AS text) AS interval) AS i) q"
    )
    database = connect(make_url(url))
    await database.open()
    try:
        row = await database.read(lambda c: c.execute(query, {"text": interval}).one())
    finally:
        await database.close()

    assert tuple(int(value) for value in row) == tuple(read_period(interval))


async def test_a_caller_over_quota_gets_429_on_the_wire() -> None:
    """With LCS's words; the whole server, on a socket."""
    async with on_socket(Script(TURN), V1_0, **handlers(limiter(quota=50))) as client:
        task = await client.send_task("hi")
        assert task["metadata"]["available_quotas"] == {"mine": 0}

        reply = await client.refused("hi")

        assert reply.status == 429
        assert reply.error["code"] == -32057
        user = "00000000-0000-0000-0000-000"
        assert reply.error["message"] == (
            f"The quota has been exceeded: User {user} has no available tokens."
        )


def test_an_app_with_limiters_has_quotas_and_one_without_has_none() -> None:
    """What is not asked for costs nothing."""
    nothing: Any = None
    assert make_quotas(Settings(), nothing) is None
    assert create_app(Settings(**handlers(limiter()))) is not None
