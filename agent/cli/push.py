"""``push``: the webhooks of the configured database, for whoever runs the server."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from agent.cli import exits
from agent.cli.configured import config_option, settings_from
from agent.clock import now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from a2a_state.push_configs import PushConfigRow, PushConfigs

STATES = ("active", "dead", "done")


@click.group()
def push() -> None:
    """List webhooks, and have those that were given up served again."""


@push.command("list")
@config_option
@click.option("--state", type=click.Choice(STATES), help="Only webhooks in this state.")
@click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")
def list_(config: Path | None, state: str | None, as_json: bool) -> None:
    """List webhooks: task, id, state, failures in a row, host and the last problem.

    Tokens, credentials and whole URLs are not shown.
    """
    for row in _run(config, lambda configs: configs.of_state(state)):
        click.echo(json.dumps(_shown(row), ensure_ascii=False) if as_json else _line(row))


@push.command()
@config_option
@click.option("--all", "everything", is_flag=True, help="All that were given up.")
@click.argument("task_id", required=False)
@click.argument("config_id", required=False)
def requeue(
    config: Path | None, everything: bool, task_id: str | None, config_id: str | None
) -> None:
    """Serve a webhook again that was given up: all that it has missed is sent."""
    if everything is (config_id is not None) or (everything and task_id):
        raise click.UsageError("Name a task and the id of its webhook, or --all.")
    count = _run(config, lambda configs: configs.requeue(now(), task_id, config_id))
    if not (count or everything):
        click.echo("No webhook of that task and id was given up.", err=True)
        sys.exit(exits.FAILED)
    click.echo(f"Requeued: {count}")


def _run[T](config: Path | None, work: Callable[[PushConfigs], Awaitable[T]]) -> T:
    return asyncio.run(_on_database(config, work))


async def _on_database[T](config: Path | None, work: Callable[[PushConfigs], Awaitable[T]]) -> T:
    from a2a_state.migrate import is_current
    from a2a_state.push_configs import PushConfigs
    from agent.databases import make_database
    from agent.errors import StateError

    database = make_database(settings_from(config, {}))
    try:
        await database.open()
        if not await is_current(database):
            raise StateError("The database is not at this version's schema: see migrate.")
        return await work(PushConfigs(database))
    finally:
        await database.close()


def _shown(row: PushConfigRow) -> dict[str, Any]:
    at = datetime.fromtimestamp(row.next_attempt_at / 1000, UTC)
    return {
        "taskId": row.task_id,
        "id": row.config_id,
        "owner": row.owner,
        "tenant": row.tenant,
        "host": row.host,
        "state": row.state,
        "failures": row.attempts,
        "lastError": row.last_error,
        "nextAttemptAt": at.isoformat(timespec="milliseconds") if row.state == "active" else None,
        "deliveredSeq": row.delivered_seq,
    }


def _line(row: PushConfigRow) -> str:
    columns = (row.task_id, row.config_id, row.state, row.attempts, row.host, row.last_error or "")
    return "\t".join(map(str, columns)).rstrip()
