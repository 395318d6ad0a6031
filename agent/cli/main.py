"""The console script ``llamastack-a2a``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from agent.cli import exits
from agent.cli.card import card
from agent.cli.check import check
from agent.cli.migrate import migrate
from agent.cli.push import push
from agent.cli.send import send
from agent.cli.serve import serve
from agent.cli.tasks import tasks
from agent.errors import AgentError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llamastack-a2a")
def cli() -> None:
    """Serve an A2A agent in front of Llama Stack, and talk to A2A agents.

    Exit codes: 0 fine; 1 the operation failed; 2 wrong usage or configuration; 3 the other side cannot be
    reached; 4 the task did not complete.
    """


for command in (serve, check, migrate, card, send, tasks, push):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run a command; errors of ours become one line and an exit code."""
    # Like python -m: --stack names modules of the working directory.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path holds strings
    try:
        return cli.main(arguments, standalone_mode=True)
    except SettingsError as exc:
        click.echo(exc.message, err=True)
        sys.exit(exits.USAGE)
    except AgentError as exc:
        click.echo(exc.message, err=True)
        sys.exit(exits.FAILED)
