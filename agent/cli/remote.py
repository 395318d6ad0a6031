"""Errors of the A2A client -> one line and an exit code."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from agent.cli import exits

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Exit with a line that says what went wrong with the agent at ``url``."""
    import httpx
    from a2a.client import A2AClientError
    from a2a.utils.errors import A2AError

    try:
        yield
    except (A2AClientError, httpx.HTTPError, OSError) as exc:
        click.echo(f"Cannot talk to {url}: {exc}", err=True)
        sys.exit(exits.UNREACHABLE)
    except A2AError as exc:
        click.echo(f"The agent refused: {exc}", err=True)
        sys.exit(exits.FAILED)
