"""A serving process is killed with -9 at random points of running streams, and started again."""

from __future__ import annotations

import os
import random
import secrets
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import anyio
import httpx
import pytest

from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.durability.follower import Follower, Story, called, story_of, texts_of
from tests.durability.process import Process, running, state_of, until
from tests.durability.stack import pieces

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

LEASE_SECONDS = 1.0
SLACK_SECONDS = 30.0
"""A busy machine takes its time; nothing waits for so long unless a task is stuck."""

CLIENTS = 6
PIECES = 60
PAUSE_MS = 20
TURN_SECONDS = PIECES * PAUSE_MS / 1000
MOST_KILLS_OF_A_TURN = 3
STACKS = {"resume": "RememberingStack", "retry": "SlowStack", "fail": "SlowStack"}


class Case(NamedTuple):
    """How often a server with which database is killed, and what it then does with tasks."""

    database: str
    recovery: str
    kills: int


SHORT = [Case("sqlite", "retry", 2)]
LONG = [
    Case(database, recovery, kills)
    for database in ("sqlite", "postgresql")
    for recovery, kills in (("retry", 10), ("resume", 5), ("fail", 5))
]


@pytest.fixture
def database(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of the empty database that the case names."""
    if case.database == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.mark.parametrize(
    "case",
    [*SHORT, *(pytest.param(case, marks=pytest.mark.long) for case in LONG)],
    ids=lambda case: f"{case.database}-{case.recovery}-{case.kills}",
)
async def test_clients_of_a_server_that_is_killed_end_with_the_tasks_text(
    case: Case, database: str, tmp_path: Path
) -> None:
    """No task is lost or left behind, each ends once, and what was heard is what is kept."""
    seed = int(os.environ.get("DURABILITY_SEED") or secrets.randbits(32))
    print(f"DURABILITY_SEED={seed}")  # noqa: T201 - to see it fail again
    server = Process(
        tmp_path,
        stack=f"tests.durability.stack:{STACKS[case.recovery]}",
        pause_ms=PAUSE_MS,
        a2a_state=state_of(database),
        a2a={
            "lease_seconds": LEASE_SECONDS,
            "recovery": case.recovery,
            "recovery_attempts": 100,
        },
    )
    chance = random.Random(seed)  # noqa: S311 - no secret
    kills = case.kills
    async with running(server), httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        while kills:
            killed = min(kills, chance.randint(1, MOST_KILLS_OF_A_TURN))
            kills -= killed
            followers = await _round(server, http, chance, killed)
            await _check_round(http, case, followers)


async def _round(
    server: Process, http: httpx.AsyncClient, chance: random.Random, kills: int
) -> list[Follower]:
    """Let clients follow tasks of their own while the server is killed so often."""
    name = f"{chance.getrandbits(32):08x}"
    followers = [
        Follower(http, f"words:{PIECES}:{name}-{number}", wire=(V1_0, V0_3)[number % 2])
        for number in range(CLIENTS)
    ]
    with anyio.fail_after(SLACK_SECONDS + kills * (SLACK_SECONDS + TURN_SECONDS)):
        async with anyio.create_task_group() as following:
            for follower in followers:
                following.start_soon(follower.follow)
            for _ in range(kills):
                await anyio.sleep(chance.uniform(0, TURN_SECONDS))
                server.kill()
                await server.start()
    return followers


async def _check_round(http: httpx.AsyncClient, case: Case, followers: list[Follower]) -> None:
    await _wait_for_an_end(http)
    for follower in followers:
        story = follower.story
        reply = await called(http, "get", {"id": story.task_id})
        log = await story_of(http, story.task_id)
        task = reply.task
        expected = "".join(pieces(follower.text))
        told = f"{follower.text}: {follower.connections} connections"
        assert task["status"]["state"] == story.state == log.state, told
        if case.recovery == "fail":
            assert story.state in {"TASK_STATE_COMPLETED", "TASK_STATE_FAILED"}, told
            assert expected.startswith(story.text), told
        else:
            assert story.state == "TASK_STATE_COMPLETED", told
        if story.state == "TASK_STATE_COMPLETED":
            assert story.text == expected, told
        assert log.texts == texts_of(task), told
        assert _heard(story, log) == log.texts, told
        assert story.ends == log.ends == [story.state], told
        _check_same(story, log)


def _heard(story: Story, log: Story) -> dict[str, str]:
    """Return what was heard; of an artifact nothing may have been kept when its task was ended at once."""
    if story.state == "TASK_STATE_COMPLETED":
        return story.texts
    return {artifact: text for artifact, text in story.texts.items() if artifact in log.texts}


def _check_same(heard: Story, kept: Story) -> None:
    """What was heard under a number is what is kept under it; text that was not yet kept is lost only."""
    events = {event.seq: event.result for event in kept.events}
    for event in heard.events:
        if event.seq in events and "task" not in event.result:
            assert event.result == events[event.seq]
    first = heard.events[0].seq
    assert first is not None
    numbers = {event.seq for event in heard.events}
    assert {seq for seq in events if seq is not None and seq >= first} <= numbers


async def _wait_for_an_end(http: httpx.AsyncClient) -> None:
    """Wait until no task runs; the lease has run out by then of those that nobody runs."""
    with anyio.fail_after(LEASE_SECONDS + SLACK_SECONDS):
        for state in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"):
            await until(partial(_is_none, http, state))


async def _is_none(http: httpx.AsyncClient, state: str) -> bool:
    found = (await called(http, "list", {"status": state})).result
    return not found["tasks"]
