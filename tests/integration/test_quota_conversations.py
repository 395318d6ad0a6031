"""A model reads the whole conversation again: a turn that does not tell what it spent costs that, too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import func, select

from a2a_state.quotas import quotas
from a2a_state.tables import contexts
from agent.auth.warning import warnings_of
from agent.cli import main
from agent.errors import ContentTypeNotSupported, QuotaExceeded
from agent.model import Message, Task, TaskState
from agent.settings import Settings
from agent.stacks import (
    DirectMessage,
    Failed,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    Usage,
)
from tests.fakes.engine import ANN, engine, message, until
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from a2a_state.database import Database
    from agent.stacks import TurnEvent, TurnRequest
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio

QUOTA = 1_000_000
LONG = "x" * 200_000
LONG_TOKENS = 50_000
THINKS = StepStarted("inference")


def limiter(quota: int = QUOTA, **changes: Any) -> dict[str, Any]:
    """Return the settings of a limit of each user."""
    kind = {"type": "user_limiter", "name": "mine", "initial_quota": quota}
    return kind | {"quota_increase": 0, "period": "1 day"} | changes


def handlers(**changes: Any) -> dict[str, Any]:
    """Return the settings of an engine with that limit."""
    return {"quota_handlers": {"limiters": [limiter(**changes)]}}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


class Model:
    """Reads the whole conversation in each turn; ``read`` is what it has really read, in tokens."""

    def __init__(self) -> None:
        self.read = 0
        self._said: dict[str, int] = {}

    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Answer; who says "wait" gets most of the answer, and no report."""
        (said,) = [part.text for part in request.parts if isinstance(part, TextPart)]
        held = self._said.get(request.conversation_id, 0) + -(-len(said) // 4)
        self._said[request.conversation_id] = held
        self.read += held
        yield TextDelta("most")
        if said == "wait":
            await anyio.sleep_forever()
        if said == "fail":
            yield Failed("no")
            return
        yield Usage(held, 1)
        self._said[request.conversation_id] += 1
        yield DONE


async def spent(running: Engine) -> int:
    """Return how much ann has spent."""
    assert running.quotas is not None
    (left,) = (await running.quotas._left("ann")).values()
    return QUOTA - left


async def canceled(running: Engine, text: str = "wait", **fields: Any) -> int:
    """Send a message, cancel it when most of the answer is there; returns what that cost."""
    before = await spent(running)
    task = await running.send(text, return_immediately=True, context_id="c", **fields)
    await running.stored(task.id, "most")
    assert (await running.cancel(task.id)).status.state is TaskState.CANCELED
    return await spent(running) - before


async def test_canceling_a_turn_is_not_cheaper_than_what_the_model_read(
    database: Database,
) -> None:
    """As often as it is done, and by another server too."""
    model = Model()
    async with engine(Script(model.turn), database, **handlers()) as running:
        await running.send(LONG, context_id="c")
        assert await spent(running) == LONG_TOKENS + 1
        for _ in range(3):
            await canceled(running)
        assert model.read <= await spent(running) <= model.read + 20
    async with engine(Script(model.turn), database, **handlers()) as running:
        for _ in range(2):
            await canceled(running)
        assert model.read > 6 * LONG_TOKENS
        assert model.read <= await spent(running) <= model.read + 50


@pytest.mark.parametrize("text", ["wait", "fail"])
async def test_a_turn_that_is_broken_off_costs_the_conversation(
    database: Database, text: str
) -> None:
    async with engine(Script(Model().turn), database, **handlers()) as running:
        await running.send(LONG, context_id="c")
        running.runner._limits = running.runner._limits.model_copy(update={"turn_seconds": 0.5})
        task = await running.send(text, context_id="c")

        assert task.status.state is TaskState.FAILED
        assert await spent(running) == 2 * (LONG_TOKENS + 1) + 1 + 1


async def test_a_stack_that_reports_nothing_is_taken_to_read_it_each_time(
    database: Database,
) -> None:
    """Two tokens go in and two come out; each turn reads those before."""
    script = Script([TextDelta("x" * 8), DONE])
    async with engine(script, database, **handlers()) as running:
        costs = []
        for _ in range(3):
            before = await spent(running)
            await running.send("12345678", context_id="c")
            costs.append(await spent(running) - before)
        assert costs == [2 + 2, 6 + 2, 10 + 2]


async def test_each_call_of_the_model_reads_the_conversation(database: Database) -> None:
    """A call and its result are 10 tokens each: the second call of the model reads both, too."""
    asked = {"call_id": "1", "arguments": "x" * 10}
    result = {"call_id": "1", "result": "x" * 13}
    uses_a_tool = [
        *(THINKS, StepEnded("inference"), StepStarted("tool_execution", "t", asked)),
        *(StepEnded("tool_execution", "t", result), THINKS, TextDelta("1234"), DONE),
    ]
    script = Script([Usage(100, 50), DONE], uses_a_tool)
    async with engine(script, database, **handlers()) as running:
        await running.send("1234", context_id="c")
        assert await spent(running) == 150
        await running.send("1234", context_id="c")

        assert await spent(running) == 150 + (151 + 10) + (171 + 1)


async def test_what_was_read_after_a_report_is_counted(database: Database) -> None:
    """The report says what the conversation holds: the next call of the model reads that."""
    waits = [THINKS, Usage(100, 50), THINKS, TextDelta("most"), anyio.Event()]
    async with engine(Script(waits), database, **handlers()) as running:
        assert await canceled(running) == 150 + 150 + 1


async def test_a_conversation_that_became_shorter_costs_less(database: Database) -> None:
    """As its stack tells; some leave out what is old."""
    waits = [TextDelta("most"), anyio.Event()]
    script = Script([Usage(1000, 1), DONE], [Usage(10, 1), DONE], waits)
    async with engine(script, database, **handlers()) as running:
        await running.send(context_id="c")
        await running.send(context_id="c")
        assert await canceled(running) == 11 + 1 + 1


@pytest.mark.parametrize("ends", ["canceled", "reported"])
async def test_a_turn_that_ran_meanwhile_does_not_make_the_conversation_forgotten(
    database: Database, ends: str
) -> None:
    """It began when nothing had been said yet, and ends after the long one."""
    gate = anyio.Event()
    begun = [TextDelta("most"), gate, Usage(2, 1), DONE]
    waits = [TextDelta("most"), anyio.Event()]
    script = Script(begun, [Usage(LONG_TOKENS, 1), DONE], waits)
    async with engine(script, database, **handlers()) as running:
        task = await running.send(return_immediately=True, context_id="c")
        await running.stored(task.id, "most")
        await running.send(LONG, context_id="c")
        if ends == "canceled":
            await running.cancel(task.id)
        else:
            gate.set()
            await until(lambda: is_free(running))

        assert LONG_TOKENS <= await canceled(running) <= LONG_TOKENS + 10


async def is_free(running: Engine) -> bool:
    """Whether nothing runs."""
    return not running.runner.running()


async def test_running_turns_hold_back_what_their_conversation_costs(database: Database) -> None:
    """Else each of many that come at once would begin on the same tokens: here those of two turns."""
    quota = 2 * LONG_TOKENS + LONG_TOKENS // 2
    waits = [TextDelta("most"), anyio.Event()]
    script = Script([Usage(LONG_TOKENS, 1), DONE], waits, waits)
    async with engine(script, database, **handlers(quota=quota)) as running:
        await running.send(LONG, context_id="c")
        sent = await asyncio.gather(
            *(running.send(return_immediately=True, context_id="c") for _ in range(20)),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Task) for one in sent) == 2
        assert sum(isinstance(one, QuotaExceeded) for one in sent) == 18


async def test_an_answer_without_a_task_is_of_the_conversation(database: Database) -> None:
    """Also one to a message in a context that is there already."""
    answers = [DirectMessage((TextPart("x" * 4000),))]
    script = Script(answers, answers, [TextDelta("most"), anyio.Event()])
    async with engine(script, database, **handlers()) as running:
        for _ in range(2):
            answer = await running.service.send(ANN, message("1234", context_id="c"))
            assert isinstance(answer, Message)
        await until(lambda: is_free(running))
        assert await canceled(running, "1234") == 2 * 1001 + 1 + 1


async def test_what_the_stack_does_not_take_changes_nothing(database: Database) -> None:
    waits = [TextDelta("most"), anyio.Event()]
    script = Script([Usage(1000, 1), DONE], [ContentTypeNotSupported()], waits)
    async with engine(script, database, **handlers()) as running:
        await running.send(context_id="c")
        with pytest.raises(ContentTypeNotSupported):
            await running.send(LONG, context_id="c")
        await until(lambda: is_free(running))
        assert await spent(running) == 1001
        assert await canceled(running) == 1001 + 1 + 1


async def test_conversations_are_counted_apart(database: Database) -> None:
    model = Model()
    async with engine(Script(model.turn), database, **handlers()) as running:
        await running.send(LONG, context_id="another")
        assert await canceled(running) == 1 + 1


async def test_a_turn_that_runs_again_after_a_crash_costs_the_conversation(
    database: Database,
) -> None:
    waits = [TextDelta("most"), anyio.Event()]
    first = Script([Usage(1000, 1), DONE], waits)
    async with engine(first, database, **handlers()) as dying:
        await dying.send(context_id="c")
        task = await dying.send("wait", return_immediately=True, context_id="c")
        await dying.stored(task.id, "most")
        await dying.die()
    async with engine(Script([TextDelta("most"), DONE]), database, **handlers()) as running:
        before = await spent(running)
        await until(lambda: is_taken_over(running))
        await until(lambda: is_free(running))
        assert (await running.get(task.id)).status.state is TaskState.COMPLETED
        assert await spent(running) - before == 1001 + 1 + 1


async def is_taken_over(running: Engine) -> bool:
    """Whether a task was taken over now."""
    return await running.recovery.sweep() == 1


async def test_without_quotas_nothing_is_noted(database: Database) -> None:
    async with engine(Script([Usage(10, 1), DONE]), database) as running:
        await running.send(context_id="c")
        assert await database.read(lambda c: c.execute(select(contexts.c.tokens)).all()) == [(0,)]


async def rows(database: Database) -> int:
    """Return how many balances are stored."""
    query = select(func.count()).select_from(quotas)
    return await database.read(lambda c: c.execute(query).scalar_one())


async def test_users_who_spent_nothing_leave_nothing_in_the_database(database: Database) -> None:
    """Else everybody who can name users could fill it."""
    script = Script([ContentTypeNotSupported()])
    async with engine(script, database, **handlers()) as running:
        assert running.quotas is not None
        assert await running.quotas.available("bob") == {"mine": QUOTA}
        with pytest.raises(ContentTypeNotSupported):
            await running.send()
        await until(lambda: is_free(running))
        assert await rows(database) == 0


async def test_who_begins_with_nothing_gets_the_increase_all_the_same(database: Database) -> None:
    now = [1_000_000_000_000]
    settings = handlers(quota=0, quota_increase=100)
    script = Script([Usage(1, 1), DONE])
    async with engine(script, database, clock=lambda: now[0], **settings) as running:
        kept = running.quotas
        assert kept is not None
        with pytest.raises(QuotaExceeded):
            await running.send()
        now[0] += 86_400_000
        assert await kept.sweep() == 1
        task = await running.send()
        assert isinstance(task, Task)
        assert await kept.available("ann") == {"mine": 98}


def authenticated(module: str, **limits: Any) -> Settings:
    """Return settings with a module and a limit."""
    key = {"api_key_config": {"api_key": "k" * 32}} if module == "api-key-token" else {}
    given = {"authentication": {"module": module} | key} | handlers(**limits)
    return Settings.model_validate(given)


@pytest.mark.parametrize("module", ["noop", "noop-with-token", "api-key-token"])
def test_limits_of_users_who_name_themselves_are_warned_of(module: str) -> None:
    (said,) = warnings_of(authenticated(module))
    assert "user_limiter (mine)" in said
    assert f"authentication.module is {module}" in said
    assert warnings_of(authenticated(module, type="cluster_limiter")) == []


def test_limits_of_users_who_are_known_are_fine() -> None:
    assert warnings_of(authenticated("rh-identity")) == []


def test_check_warns_of_limits_that_hold_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "a2a_state: {memory: true}\nquota_handlers: {limiters: [{type: user_limiter, name: daily,"
        " initial_quota: 1, quota_increase: 0, period: 1 day}]}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", str(config)])
    assert ended.value.code == 0
    assert "WARNING: A user_limiter (daily) holds nobody back" in capsys.readouterr().out
