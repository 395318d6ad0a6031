"""Whatever happens at once, and wherever: what running turns may cost is held back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from sqlalchemy import select

from a2a_state.quotas import quota_history, quotas
from a2a_state.tables import contexts
from agent.caller import Caller
from agent.errors import QuotaExceeded, TooManyTasks
from agent.model import Task, TaskState
from agent.stacks import TextDelta, Usage
from tests.durability.process import Process, running, state_of, until
from tests.fakes.engine import engine, message
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from a2a_state.database import Database
    from agent.stacks import TurnEvent, TurnRequest
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio

MANY = 50
AT_ONCE = 4
TOKENS = 50
QUOTA = 730
LIMITS = {"running_tasks": MANY, "running_tasks_per_owner": AT_ONCE, "queue_seconds": 60}
BUSY = -32051
NOBODY = "00000000-0000-0000-0000-000"


def limiter(name: str, quota: int, kind: str = "user_limiter") -> dict[str, Any]:
    """Return the settings of a limiter."""
    settings = {"type": kind, "name": name, "initial_quota": quota, "quota_increase": 0}
    return settings | {"period": "1 day"}


def handlers(*limiters: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return the settings of engines with these limiters."""
    return {"quota_handlers": {"limiters": limiters} | others, "limits": LIMITS}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database that several can open."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


async def turn(_request: TurnRequest) -> AsyncGenerator[TurnEvent]:
    """Spend tokens in two parts, and let others go on meanwhile."""
    yield TextDelta("a")
    for _ in range(3):
        await checkpoint()
    yield Usage(20, 5)
    for _ in range(3):
        await checkpoint()
    yield TextDelta("b")
    yield Usage(20, 5)
    yield DONE


async def taken_in[T](send: Callable[[], Awaitable[T]]) -> T:
    """Send until there is a place: as many may wait as may run, the others come again."""
    while True:
        try:
            return await send()
        except TooManyTasks:
            await asyncio.sleep(0.01)


async def attempt(at: Engine, caller: Caller) -> bool:
    """Send a message; returns whether it ran."""
    try:
        task = await taken_in(lambda: at.service.send(caller, message()))
    except QuotaExceeded:
        return False
    assert isinstance(task, Task)
    assert task.status.state is TaskState.COMPLETED
    return True


async def balances(database: Database) -> dict[tuple[str, str], int]:
    """Return what is left, by limiter and subject."""
    query = select(quotas.c.limiter, quotas.c.subject, quotas.c.available)
    rows = await database.read(lambda c: c.execute(query).all())
    return {(row.limiter, row.subject): row.available for row in rows}


async def one_by_one(at: Engine, caller: Caller) -> int:
    """Send messages until one is refused; returns how many ran."""
    ran = 0
    while await attempt(at, caller):
        ran += 1
    return ran


def holds(ran: int, quota: int, servers: int) -> None:
    """Check that the quota was used up, and passed by the last turn of each server at most.

    Each knows what its own turns hold back: here more than they cost.
    """
    assert quota <= ran * TOKENS < quota + servers * TOKENS


@pytest.mark.parametrize("kind", ["user_limiter", "cluster_limiter"])
async def test_of_many_messages_at_once_as_many_run_as_there_are_tokens_for(
    url: str, kind: str
) -> None:
    """An estimate that is right spends the quota, and no token more."""
    gate, refused = anyio.Event(), list[str]()
    script = Script([TextDelta("x" * 4), gate, Usage(1, 19), DONE])
    settings = handlers(limiter("mine", 100, kind)) | {
        "agent": {"max_tokens": 19},
        "limits": {"running_tasks": 150, "running_tasks_per_owner": 150},
    }

    async def runs(at: Engine) -> bool:
        try:
            await at.service.send(Caller("ann"), message())
        except QuotaExceeded as exc:
            refused.append(exc.cause)
            if len(refused) == 145:
                gate.set()
            return False
        return True

    async with open_database(url) as database, engine(script, database, **settings) as running:
        ran = await asyncio.gather(*(runs(running) for _ in range(150)))

        assert sum(ran) == 5
        who = "User ann" if kind == "user_limiter" else "Cluster"
        beside = "beside those held back for what is running"
        assert set(refused) == {f"{who} has no available tokens {beside}."}
        assert list((await balances(database)).values()) == [0]


@pytest.mark.parametrize("servers", [1, 2])
async def test_parallel_messages_spend_no_more_than_the_quota_and_the_last_turn(
    url: str, servers: int
) -> None:
    """Each server has connections of its own; the balance is exactly what the turns left of it."""
    script = Script(turn)
    async with AsyncExitStack() as opened:
        engines = []
        for _ in range(servers):
            database = await opened.enter_async_context(open_database(url))
            settings = handlers(limiter("mine", QUOTA))
            engines.append(await opened.enter_async_context(engine(script, database, **settings)))

        ran = await asyncio.gather(
            *(attempt(engines[number % servers], Caller("ann")) for number in range(MANY))
        )

        assert sum(ran) < MANY, "else nothing was refused"
        count = sum(ran) + await one_by_one(engines[0], Caller("ann"))
        holds(count, QUOTA, servers)
        assert len(script.requests) == count, "who was refused did not reach the stack"
        assert await balances(engines[0].database) == {("mine", "ann"): QUOTA - count * TOKENS}


async def test_users_are_counted_apart_and_together_at_the_same_time(url: str) -> None:
    """Nobody loses tokens to another, in either order of limits, and nobody waits in a circle."""
    users, quota, of_all = ["ann", "bob", "cleo"], 400, 100_000
    both = (limiter("z-mine", quota), limiter("a-all", of_all, "cluster_limiter"))
    async with AsyncExitStack() as opened:
        engines = []
        for order in (both, both[::-1]):
            database = await opened.enter_async_context(open_database(url))
            settings = handlers(*order, enable_token_history=True)
            entered = engine(Script(turn), database, **settings)
            engines.append(await opened.enter_async_context(entered))

        async def sent(user: str) -> int:
            ran = await asyncio.gather(
                *(attempt(engines[number % 2], Caller(user)) for number in range(20))
            )
            return sum(ran) + await one_by_one(engines[0], Caller(user))

        ran = dict(zip(users, await asyncio.gather(*map(sent, users)), strict=True))

        for count in ran.values():
            holds(count, quota, 2)
        expected = {("z-mine", user): quota - count * TOKENS for user, count in ran.items()}
        expected["a-all", ""] = of_all - sum(ran.values()) * TOKENS
        assert await balances(engines[0].database) == expected
        history = await engines[0].database.read(lambda c: c.execute(select(quota_history)).all())
        assert {row.user_id: (row.input_tokens, row.output_tokens) for row in history} == {
            user: (count * 40, count * 10) for user, count in ran.items()
        }


async def test_the_quota_of_all_holds_for_users_that_come_at_once(url: str) -> None:
    async with AsyncExitStack() as opened:
        engines = []
        for _ in range(2):
            database = await opened.enter_async_context(open_database(url))
            settings = handlers(limiter("all", QUOTA, "cluster_limiter"))
            settings["limits"] = LIMITS | {"running_tasks": AT_ONCE}
            entered = engine(Script(turn), database, **settings)
            engines.append(await opened.enter_async_context(entered))

        callers = [Caller(f"user-{number}").acting_for("ann") for number in range(MANY)]
        ran = await asyncio.gather(
            *(attempt(engines[number % 2], caller) for number, caller in enumerate(callers))
        )

        assert sum(ran) < MANY, "else nothing was refused"
        count = sum(ran) + await one_by_one(engines[1], callers[0])
        holds(count, QUOTA, 2)
        assert await balances(engines[0].database) == {("all", ""): QUOTA - count * TOKENS}


async def test_messages_that_run_while_quotas_are_renewed_lose_no_token(url: str) -> None:
    """A renewal adds to what is there by then: it writes nothing that it has read."""
    growing = limiter("mine", 0) | {"quota_increase": 1000, "period": "1 second"}
    settings = handlers(growing)
    clock = [1_000_000_000_000]
    async with AsyncExitStack() as opened:
        engines = []
        for _ in range(2):
            database = await opened.enter_async_context(open_database(url))
            entered = engine(Script(turn), database, clock=lambda: clock[0], **settings)
            engines.append(await opened.enter_async_context(entered))
        kept = [one.quotas for one in engines if one.quotas is not None]
        await kept[0].available("ann")
        clock[0] += 1000
        await kept[0].sweep()

        async def renew() -> None:
            for _ in range(10):
                clock[0] += 1000
                await asyncio.gather(*(one.sweep() for one in kept))

        *ran, _ = await asyncio.gather(
            *(attempt(engines[number % 2], Caller("ann")) for number in range(MANY)), renew()
        )

        assert await balances(engines[0].database) == {
            ("mine", "ann"): 11_000 - sum(map(bool, ran)) * TOKENS
        }


async def test_turns_of_one_conversation_at_once_all_count_in_what_it_holds(url: str) -> None:
    """Each turn adds two tokens to what others add meanwhile; several contexts are written together."""
    names = ["a", "b", "c"]
    script = Script([TextDelta("1234"), DONE])
    async with AsyncExitStack() as opened:
        engines = []
        for _ in range(2):
            database = await opened.enter_async_context(open_database(url))
            entered = engine(script, database, **handlers(limiter("mine", 10**9)))
            engines.append(await opened.enter_async_context(entered))

        await asyncio.gather(
            *(
                taken_in(partial(engines[number % 2].send, "1234", context_id=names[number % 3]))
                for number in range(30)
            )
        )

        query = select(contexts.c.context_id, contexts.c.tokens).order_by(contexts.c.context_id)
        rows = await engines[0].database.read(lambda c: c.execute(query).all())
        assert [tuple(row) for row in rows] == [(name, 10 * 2) for name in names]


def words(count: int) -> tuple[str, int]:
    """Return a message that the processes' stack answers with so many pieces, and what it costs."""
    said = f"words:{count}:x"
    return said, -(-len(said) // 4) + -(-count * len("x 0000 ") // 4)


async def post(http: httpx.AsyncClient, url: str, text: str, **fields: Any) -> httpx.Response:
    """Send a message, again for as long as too many wait."""
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]}
    params = {"message": said, **fields}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
    while True:
        answer = await http.post(f"{url}/a2a", json=body, headers={"A2A-Version": "1.0"})
        if answer.json().get("error", {}).get("code") != BUSY:
            return answer
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)
async def test_two_processes_hold_one_quota_also_when_one_is_killed(
    url: str, tmp_path: Path
) -> None:
    """Real servers: those over the quota get 429; a task of the killed one is counted by the other."""
    text, cost = words(3)
    long, long_cost = words(40)
    settings: dict[str, Any] = {
        "a2a_state": state_of(url),
        "a2a": {"lease_seconds": 0.5, "recovery": "retry"},
        "limits": LIMITS,
        "quota_handlers": {"limiters": [limiter("mine", 20 * cost)]},
    }
    one, other = (Process(tmp_path, **settings) for _ in range(2))
    with anyio.fail_after(100):
        async with running(one, other), open_database(url) as database:
            async with httpx.AsyncClient(timeout=60) as http:
                begun = await post(http, one.url, long, configuration={"returnImmediately": True})
                assert begun.status_code == 200
                await until(lambda: f"began {long}" in one.noted())
                one.kill()
                await until(lambda: f"ended {long}" in other.noted())

                async def is_counted() -> bool:
                    return await balances(database) == {("mine", NOBODY): 20 * cost - long_cost}

                await until(is_counted)
                await one.start()

                answers = await asyncio.gather(
                    *(post(http, (one, other)[number % 2].url, text) for number in range(MANY))
                )
                while "result" in (answer := await post(http, one.url, text)).json():
                    answers.append(answer)

            ran = sum("result" in answer.json() for answer in answers)
            refused = [answer for answer in answers if "error" in answer.json()]
            assert {answer.status_code for answer in refused} == {429}
            assert {answer.json()["error"]["code"] for answer in refused} == {-32057}
            total = long_cost + ran * cost
            assert 20 * cost <= total < 20 * cost + 2 * cost
            assert await balances(database) == {("mine", NOBODY): 20 * cost - total}
