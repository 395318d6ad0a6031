"""The A2A client of the commands; its errors become one line and an exit code."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import click

from agent.cli import exits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from a2a.client import Client


@asynccontextmanager
async def agent_at(url: str) -> AsyncIterator[Client]:
    """Connect to any A2A agent, of 1.0 or 0.3; errors within the block exit."""
    import httpx
    from a2a.client import ClientConfig, create_client
    from a2a.utils import TransportProtocol

    from agent.cli.http_client import http_client

    with reaching(url):
        # A model may think for long; the server keeps the connection alive meanwhile.
        http = http_client(url, timeout=httpx.Timeout(10, read=60))
        bindings = [TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON]
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=list(bindings))
        async with http, await create_client(url, config) as client:
            yield client


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Exit with a line that says what went wrong with the agent at ``url``."""
    import httpx
    from a2a.client import A2AClientError
    from a2a.utils.errors import A2AError

    from agent.cli.http_client import RefusedError

    try:
        yield
    except RefusedError as exc:
        click.echo(str(exc), err=True)
        sys.exit(exits.FAILED)
    except (A2AClientError, httpx.HTTPError, OSError) as exc:
        click.echo(f"Cannot talk to {url}: {exc}", err=True)
        sys.exit(exits.UNREACHABLE)
    except A2AError as exc:
        click.echo(f"The agent refused: {exc}", err=True)
        sys.exit(exits.FAILED)
