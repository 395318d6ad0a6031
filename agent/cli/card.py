"""``card``: show the agent card of any A2A agent, and verify its signatures."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from agent.cli import exits
from agent.cli.credentials import token_option
from agent.cli.keys import keys_of_card, read_keys
from agent.cli.remote import reaching

if TYPE_CHECKING:
    import httpx


@click.command()
@click.argument("url")
@click.option(
    "--verify", is_flag=True, help="Show the card only if one of its signatures is sound."
)
@click.option(
    "--key",
    metavar="FILE|URL",
    help="Verify with these keys, PEM or JWK set, not with those that the agent's server publishes.",
)
@token_option
def card(url: str, verify: bool, key: str | None) -> None:
    """Show the agent card served at URL (1.0 shape, whatever the agent speaks)."""
    if key is not None and not verify:
        raise click.UsageError("--key needs --verify")
    shown, is_verified = asyncio.run(_card(url, verify, key))
    if verify and not is_verified:
        sys.exit(exits.FAILED)
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


async def _card(url: str, verify: bool, key: str | None) -> tuple[Any, bool]:
    """Return the card in the 1.0 shape, and whether it was verified."""
    from a2a.client import A2ACardResolver
    from google.protobuf.json_format import MessageToDict

    from agent.cli.http_client import http_client

    answers: list[httpx.Response] = []

    async def keep(response: httpx.Response) -> None:
        answers.append(response)

    async with http_client(url, on_response=[keep]) as http:
        with reaching(url):
            resolver = A2ACardResolver(http, url)
            found = await resolver.get_agent_card(http_kwargs={"follow_redirects": True})
        is_verified = verify and await _is_verified(http, answers[-1], key)
    return MessageToDict(found), is_verified


async def _is_verified(http: httpx.AsyncClient, answer: httpx.Response, key: str | None) -> bool:
    """Hold the signatures of a card, as it was received, against keys, and tell about each."""
    from agent.card_signing import check_signatures, covers_all

    card = answer.json()
    keys = await (keys_of_card(http, card, answer.url) if key is None else read_keys(http, key))
    try:
        checked = check_signatures(card, keys)
    except ValueError as exc:
        click.echo(f"The card cannot be verified: {exc}", err=True)
        return False
    for signature in checked:
        verdict = f"signs {signature.covers}" if signature.covers else "is not verified"
        click.echo(f"{signature.algorithm} {signature.kid} {verdict}", err=True)
    if not checked:
        click.echo("The card has no signature", err=True)
    return covers_all(card, checked)
