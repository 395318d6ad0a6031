"""How a webhook knows that a notification is from this server, and unchanged."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

import msgspec

from agent.settings.push import PREFIX

if TYPE_CHECKING:
    from agent.signing import SigningKey

JWT_SECONDS = 300


def hmac_key(secret: str) -> bytes:
    """Return the key of a Standard Webhooks secret, ``whsec_`` and base64, or of any other text."""
    if secret.startswith(PREFIX):
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return secret.encode()


def hmac_signature(key: bytes, delivery_id: str, at: int, body: bytes) -> str:
    """Return the header ``webhook-signature`` of Standard Webhooks; ``at`` is in seconds."""
    signed = b".".join((delivery_id.encode(), str(at).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def token(
    key: SigningKey,
    *,
    issuer: str,
    audience: str,
    delivery_id: str,
    task_id: str,
    at: int,
    body: bytes,
) -> str:
    """Return a JWT over the notification: a detached JWS whose claims hold the hash of the body.

    A JWT, because any library verifies one, and with it the audience and the time: a bare detached JWS
    (RFC 7797) would leave replays and the choice of a canonical body to the receiver.
    """
    claims = msgspec.json.encode(
        {
            "iss": issuer,
            "aud": audience,
            "iat": at,
            "exp": at + JWT_SECONDS,
            "jti": delivery_id,
            "task_id": task_id,
            "request_body_sha256": hashlib.sha256(body).hexdigest(),
        }
    )
    signature = key.sign(claims, {"typ": "JWT"})
    payload = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
    return f"{signature.protected}.{payload}.{signature.signature}"
