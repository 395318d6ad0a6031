"""Public keys that cards are verified with: from files, from URLs, and from where a card says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli import exits
from agent.cli.remote import reaching
from agent.signing import public_jwk

if TYPE_CHECKING:
    import httpx

type Jwk = dict[str, Any]


async def keys_of_card(http: httpx.AsyncClient, card: Any, url: httpx.URL) -> list[Jwk]:
    """Fetch the keys that the signatures of a card name, if the server that has the card has them.

    The URL of the keys is a claim of the very card that is to be verified: who forges a card names
    keys of his own. Only the server that one chose to ask may say which keys are its own; keys of
    anybody else are for the user to name.
    """
    from agent.card_signing import key_sets

    keys: list[Jwk] = []
    for named in key_sets(card):
        if _origin(named) == _origin(str(url)):
            keys += await read_keys(http, named)
        else:
            click.echo(f"Not asked for keys, being another server: {named}", err=True)
    return keys


async def read_keys(http: httpx.AsyncClient, source: str) -> list[Jwk]:
    """Read a JWK set, a JWK or a public key in PEM from a file or URL; exits when there is none."""
    from cryptography.exceptions import UnsupportedAlgorithm

    if source.startswith(("http://", "https://")):
        with reaching(source):
            # Nobody may point elsewhere: the address is what says whose keys they are.
            answer = await http.get(source, follow_redirects=False)
            answer.raise_for_status()
        content = answer.content
    else:
        content = _read(source)
    try:
        return _keys(content)
    except (ValueError, UnsupportedAlgorithm, RecursionError):
        click.echo(f"No public keys are at {source}", err=True)
        sys.exit(exits.FAILED)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise click.BadParameter(f"{path} cannot be read", param_hint="--key") from exc


def _keys(content: bytes) -> list[Jwk]:
    """Raises ``ValueError``, of which errors of JSON and PEM are kinds."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if content.lstrip().startswith(b"-----BEGIN"):
        return [public_jwk(load_pem_public_key(content))]
    found = json.loads(content)
    keys = found.get("keys", [found]) if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("no JWK set")
    return keys


def _origin(url: str) -> tuple[str, str, int | None] | None:
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return parsed.scheme, parsed.host, parsed.port
