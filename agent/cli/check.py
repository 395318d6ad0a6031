"""``check``: tell whether everything is as the configuration says."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from agent.cli import exits
from agent.cli.configured import config_option, settings_from
from agent.errors import AgentError, StackUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.auth.gate import Gate
    from agent.settings import Settings


@click.command()
@config_option
def check(config: Path | None) -> None:
    """Validate configuration, card, database and stack; say what is wrong and where."""
    from agent.app import make_gate
    from agent.audit import Audit
    from agent.auth.warning import warnings_of
    from agent.grpc_binding import check_grpc
    from agent.settings.unused import unused
    from agent.stacks.mcp_headers import doubts
    from agent.transport.tls import check_tls

    settings = settings_from(config, {})
    asyncio.run(_can_open(make_gate(settings)))
    if settings.audit.enabled:
        Audit(settings.audit.path).check()
    check_grpc(settings)
    check_tls(settings.service.tls_config)
    click.echo(f"configuration  ok: {config or 'defaults and environment'}")
    for danger in warnings_of(settings):
        click.echo(f"               WARNING: {danger}")
    if names := unused(settings):
        click.echo(f"               without effect in this version: {', '.join(names)}")
    for doubt in doubts(settings):
        click.echo(f"               probably not meant: {doubt}")
    sys.exit(asyncio.run(_check(settings)))


async def _can_open(gate: Gate) -> None:
    """Read the files that the module needs; nobody is asked."""
    try:
        await gate.open()
    finally:
        await gate.close()


async def _check(settings: Settings) -> int:
    checks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("card", _card),
        ("database", _database),
        ("stack", _stack),
    ]
    code = 0
    for name, run in checks:
        try:
            click.echo(f"{name:<14} ok: {await run(settings)}")
        except AgentError as exc:
            click.echo(f"{name:<14} wrong: {exc.message}")
            code = exits.FAILED
    return code


async def _card(settings: Settings) -> str:
    from agent.app import make_card

    return make_card(settings).name


async def _database(settings: Settings) -> str:
    from a2a_state.migrate import is_current
    from agent.app import make_database

    database = make_database(settings)
    try:
        await database.open()
        current = await is_current(database)
    finally:
        await database.close()
    where = settings.a2a_state.url.render_as_string(hide_password=True)
    return where if current else f"{where} (to be migrated: `serve` and `migrate` do it)"


async def _stack(settings: Settings) -> str:
    from sqlalchemy.engine import make_url

    from a2a_state.database import connect
    from a2a_state.migrate import migrate
    from agent.stacks.choice import choose_stack

    # The embedded stack keeps its sessions in the database: here it gets one that leaves no trace.
    database = connect(make_url("sqlite://"))
    name, stack = choose_stack(settings, database)
    try:
        await database.open()
        await migrate(database)
        await stack.open()
        health = await stack.health()
        if not health.ok:
            raise StackUnavailable(health.detail)
        models = ", ".join(model.identifier for model in await stack.models()) or "no models"
        return f"{name} {await stack.version()}, {models}"
    finally:
        await stack.close()
        await database.close()
