"""``migrate``: bring the database to this version's schema."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from agent.cli.configured import config_option, settings_from

if TYPE_CHECKING:
    from pathlib import Path

    from agent.settings import Settings


@click.command()
@config_option
def migrate(config: Path | None) -> None:
    """Bring the database to this version's schema; the server does it at start too."""
    asyncio.run(_migrate(settings_from(config, {})))


async def _migrate(settings: Settings) -> None:
    from a2a_state.migrate import HEAD, is_current
    from a2a_state.migrate import migrate as upgrade
    from agent.databases import make_database

    database = make_database(settings)
    try:
        await database.open()
        if await is_current(database):
            click.echo(f"The database is at {HEAD} already.")
        else:
            await upgrade(database)
            click.echo(f"The database is at {HEAD} now.")
    finally:
        await database.close()
