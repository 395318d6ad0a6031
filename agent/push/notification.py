"""One notification as it is posted: the body in the receiver's version, and the headers."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import httpx
import msgspec

from agent.dialects.v0_3 import Dialect03
from agent.dialects.v1_0 import Dialect1
from agent.model import PushAuthentication
from agent.push.signatures import hmac_key, hmac_signature, token

if TYPE_CHECKING:
    from a2a_state.push_configs import PushConfigRow
    from agent.model import Event
    from agent.push.news import News
    from agent.settings import Settings
    from agent.signing import SigningKey

_1_0, _0_3 = Dialect1(), Dialect03()
CONTENT_TYPES = {_1_0.version: "application/a2a+json", _0_3.version: "application/json"}
SIGNATURE = "X-A2A-Notification-Signature"
_BEARER, _BASIC = "Bearer", "Basic"
_KNOWN = {"bearer": _BEARER, "basic": _BASIC}

decode_authentication = msgspec.json.Decoder(PushAuthentication).decode


def body(version: str, event: Event, news: News) -> bytes:
    """Write what is sent: in 1.0 the event as in a stream, in 0.3 the whole task as of it (section 9.5)."""
    return _0_3.task(news.task()) if version == _0_3.version else _1_0.event(event)


def delivery_id(row: PushConfigRow, seq: int) -> str:
    """Return what a receiver knows a repeated delivery by: the same for every try of one event."""
    named = "\0".join((row.task_id, row.config_id, str(seq)))
    return hashlib.sha256(named.encode()).hexdigest()[:32]


class Headers:
    """Writes the headers of notifications."""

    def __init__(self, settings: Settings, key: SigningKey | None) -> None:
        """``key`` is what this server signs with, if anything."""
        secret = settings.push.hmac_secret
        self._secret = None if secret is None else hmac_key(secret.get_secret_value())
        self._issuer = settings.service.public_url
        self._key = key

    def of(self, row: PushConfigRow, seq: int, at: int, content: bytes) -> dict[str, str]:
        """Return the headers for event ``seq``; ``at`` is now, in seconds since the epoch."""
        name = delivery_id(row, seq)
        headers = {
            "Content-Type": CONTENT_TYPES[row.version],
            "User-Agent": "llamastack-a2a",
            "Accept": "*/*",
            "webhook-id": name,
            "webhook-timestamp": str(at),
        }
        if row.token:
            headers["X-A2A-Notification-Token"] = row.token
        if self._secret is not None:
            headers["webhook-signature"] = hmac_signature(self._secret, name, at, content)
        signed = None
        if self._key is not None:
            signed = headers[SIGNATURE] = token(
                self._key,
                issuer=self._issuer,
                audience=audience(row.url),
                delivery_id=name,
                task_id=row.task_id,
                at=at,
                body=content,
            )
        if row.authentication is not None:
            given = decode_authentication(row.authentication)
            if credentials := authorization(given, signed):
                headers["Authorization"] = credentials
        return headers


def audience(url: str) -> str:
    """Return whom a JWT is for: the URL without its query, which may be secret."""
    return str(httpx.URL(url).copy_with(query=None, fragment=None))


def authorization(given: PushAuthentication, signed: str | None) -> str | None:
    """Return the header; with several schemes it is the first that is known, else the first.

    Bearer without credentials is the server's own token (0.3 section 9.5), if it has a key.
    """
    scheme = next((s for s in given.schemes if s.lower() in _KNOWN), next(iter(given.schemes), ""))
    scheme = _KNOWN.get(scheme.lower(), scheme)
    if given.credentials:
        credentials = given.credentials
        if scheme == _BASIC and ":" in credentials:
            # User and password as they are; base64 has no colon.
            credentials = base64.b64encode(credentials.encode()).decode()
        return f"{scheme} {credentials}" if scheme else None
    return f"{_BEARER} {signed}" if scheme == _BEARER and signed else None
