"""``card``: show the agent card of any A2A agent."""

from __future__ import annotations

import asyncio
import json

import click

from agent.cli.remote import reaching


@click.command()
@click.argument("url")
def card(url: str) -> None:
    """Show the agent card served at URL (1.0 shape, whatever the agent speaks)."""
    asyncio.run(_card(url))


async def _card(url: str) -> None:
    import httpx
    from a2a.client import A2ACardResolver
    from google.protobuf.json_format import MessageToDict

    with reaching(url):
        async with httpx.AsyncClient(follow_redirects=True) as client:
            found = await A2ACardResolver(client, url).get_agent_card()
    click.echo(json.dumps(MessageToDict(found), indent=2, ensure_ascii=False))
