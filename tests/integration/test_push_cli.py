"""The operator sees what webhooks are given up, and has them served again."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from agent.cli.push import push
from agent.errors import StateError
from agent.model import PushAuthentication
from tests.fakes.state import open_database, open_journal
from tests.fakes.webhooks import ANN, Story, config, open_push, rests, serve, settings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return where the database is."""
    return tmp_path / "state.db"


def run(state: Path, *arguments: str) -> Result:
    """Run a command on the database."""
    file = state.with_name("config.yaml")
    file.write_text(f"a2a_state: {{sqlite: {{db_path: {state}}}}}\n")
    return CliRunner().invoke(push, [*arguments, "--config", str(file)])


async def fail(state: Path) -> None:
    """Have a webhook given up after its first event, and one that is served."""
    async with (
        serve(204, 410) as webhook,
        serve() as other,
        open_database(f"sqlite:///{state}") as database,
        open_journal(database) as journal,
        open_push(database, settings()) as sender,
    ):
        secret = PushAuthentication(("Bearer",), "credentials-secret")
        url = f"{webhook.url}?key=query-secret"
        given = config(url, id="hook", token="token-secret", authentication=secret)
        await sender.create(ANN, given)
        await sender.create(ANN, config(other.url, "other", id="fine"))
        for story in (Story(journal), Story(journal, "other")):
            await story.begin()
            await story.end()
            sender.wake(story.task_id)
        await rests(database, state="dead")
        await rests(database, "other", state="done")


async def hears_the_rest(state: Path) -> list[str]:
    """Serve a webhook at the place of the one that was given up; returns what it hears."""
    async with (
        serve() as webhook,
        open_database(f"sqlite:///{state}") as database,
        open_push(database, settings()) as sender,
    ):
        await sender.create(ANN, config(webhook.url, id="hook"))
        return await webhook.hears(1)


def test_webhooks_are_listed_without_their_secrets(state: Path) -> None:
    asyncio.run(fail(state))

    listed, dead = run(state, "list"), run(state, "list", "--state", "dead", "--json")

    assert sorted(line.split("\t") for line in listed.output.splitlines()) == [
        ["other", "fine", "done", "0", "127.0.0.1"],
        ["task", "hook", "dead", "1", "127.0.0.1", "HTTP status 410"],
    ]
    assert json.loads(dead.output) == {
        "taskId": "task",
        "id": "hook",
        "owner": "ann",
        "tenant": "",
        "host": "127.0.0.1",
        "state": "dead",
        "failures": 1,
        "lastError": "HTTP status 410",
        "nextAttemptAt": None,
        "deliveredSeq": 1,
    }
    assert "secret" not in listed.output + dead.output


@pytest.mark.parametrize("which", [("task", "hook"), ("--all",)])
def test_what_was_given_up_is_requeued(state: Path, which: tuple[str, ...]) -> None:
    """And goes on where it was."""
    asyncio.run(fail(state))

    assert run(state, "requeue", *which).output == "Requeued: 1\n"

    shown = json.loads(run(state, "list", "--state", "active", "--json").output)
    assert (shown["failures"], shown["lastError"], shown["deliveredSeq"]) == (0, None, 1)
    assert shown["nextAttemptAt"]
    assert run(state, "requeue", "--all").output == "Requeued: 0\n"
    assert asyncio.run(hears_the_rest(state)) == ["completed"]


def test_what_was_not_given_up_cannot_be_requeued(state: Path) -> None:
    asyncio.run(fail(state))

    done = run(state, "requeue", "other", "fine")

    assert (done.exit_code, done.output) == (1, "No webhook of that task and id was given up.\n")


@pytest.mark.parametrize("arguments", [(), ("task",), ("task", "hook", "--all"), ("task", "--all")])
def test_what_is_to_be_requeued_must_be_named(state: Path, arguments: tuple[str, ...]) -> None:
    assert run(state, "requeue", *arguments).exit_code == 2


def test_a_database_of_another_version_is_left_alone(state: Path) -> None:
    assert isinstance(run(state, "list").exception, StateError)
