"""``check``: tell whether everything is as the configuration says."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from agent.cli import exits
from agent.cli.configured import config_option, settings_from
from agent.errors import AgentError, ModelNotFound, StackUnavailable, StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from pathlib import Path

    from a2a_state.database import Database
    from agent.auth.gate import Gate
    from agent.settings import Settings
    from agent.stacks import Model, Stack


@click.command()
@config_option
def check(config: Path | None) -> None:
    """Validate configuration, card, database and stack; say what is wrong and where."""
    from agent.app import make_gate
    from agent.audit import Audit
    from agent.auth.warning import warnings_of
    from agent.cli.kept import kept
    from agent.cli.unusable import unusable
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
    for without_effect in unused(settings):
        click.echo(f"               without effect: {without_effect}")
    for doubt in doubts(settings):
        click.echo(f"               probably not meant: {doubt}")
    for name, where in kept(settings):
        click.echo(f"{name:<14} {where}")
    wrong = [f"files          wrong: {key}: {why}" for key, why in unusable(settings)]
    for line in wrong:
        click.echo(line)
    code = asyncio.run(_check(settings))
    sys.exit(exits.FAILED if wrong else code)


async def _can_open(gate: Gate) -> None:
    """Read the files that the module needs; nobody is asked."""
    try:
        await gate.open()
    finally:
        await gate.close()


async def _check(settings: Settings) -> int:
    code = await _say("card", _card(settings))
    code = await _say("database", _database(settings)) or code
    return await _stack_and_engines(settings) or code


async def _say(name: str, checking: Awaitable[str]) -> int:
    """Print what comes of a check; returns the exit code."""
    try:
        click.echo(f"{name:<14} ok: {await checking}")
    except AgentError as exc:
        click.echo(f"{name:<14} wrong: {exc.message}")
        return exits.FAILED
    return 0


async def _card(settings: Settings) -> str:
    from agent.app import make_card

    return make_card(settings).name


async def _database(settings: Settings) -> str:
    from a2a_state.migrate import is_current
    from agent.cli.unusable import file_to_make, takes_files
    from agent.databases import make_database

    where = settings.state.url.render_as_string(hide_password=True)
    if file := file_to_make(settings.state):
        # It would belong to whoever checks.
        if not takes_files(file.parent):
            raise StateUnavailable(f"{file.parent} cannot be written to")
        return f"{where} (to be made: `serve` and `migrate` do it)"
    database = make_database(settings)
    try:
        await database.open()
        current = await is_current(database)
    finally:
        await database.close()
    return where if current else f"{where} (to be migrated: `serve` and `migrate` do it)"


async def _stack_and_engines(settings: Settings) -> int:
    """Check the stack, and tell what answers Llama Stack's experimental API, be the stack well or not."""
    from sqlalchemy.engine import make_url

    from a2a_state.database import connect
    from agent.cli.engines import lines_of
    from agent.engines.engines import Engines
    from agent.stacks.choice import choose_stack

    # The embedded stack keeps its sessions in the database: here it gets one that leaves no trace.
    database = connect(make_url("sqlite://"))
    try:
        name, stack = choose_stack(settings, database)
    except AgentError as exc:
        click.echo(f"stack          wrong: {exc.message}")
        return exits.FAILED
    try:
        code = await _say("stack", _stack(settings, name, stack, database))
        for group, line in lines_of(await Engines(settings, stack).table()):
            click.echo(f"{group:<14} {line}")
    finally:
        await stack.close()
        await database.close()
    return code


async def _stack(settings: Settings, name: str, stack: Stack, database: Database) -> str:
    from a2a_state.migrate import migrate
    from agent.settings.unused import no_library

    if lacking := no_library(settings):
        # The server runs all the same, and answers from documents that nobody has asked for.
        raise StackUnavailable(f"not that of library mode, but the embedded one: {lacking}")
    await database.open()
    await migrate(database)
    await stack.open()
    health = await stack.health()
    if not health.ok:
        raise StackUnavailable(health.detail)
    return f"{name} {await stack.version()}, {_served(settings, await stack.models())}"


def _served(settings: Settings, models: Sequence[Model]) -> str:
    """Name the models; raises ``ModelNotFound`` when a Llama Stack does not have that of the settings."""
    from agent.metrics import is_meant

    names = ", ".join(model.identifier for model in models) or "no models"
    chosen = settings.inference
    is_llama_stack = settings.stack is None and not settings.is_embedded
    if chosen.default_model and is_llama_stack:
        model, provider = chosen.default_model, chosen.default_provider
        if not any(is_meant(each, model, provider) for each in models):
            raise ModelNotFound(f"inference.default_model {model} is not served, but {names}")
    return names
