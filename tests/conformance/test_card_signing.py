"""The signature of the agent card, verified as a client would."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from a2a.types import a2a_pb2
from a2a.utils.signing import create_signature_verifier
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from google.protobuf.json_format import ParseDict

from tests.conformance._requirements import requirement
from tests.conformance.client import PACKAGED, in_process
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conformance.client import Client
    from tests.conformance.wire import Json

pytestmark = pytest.mark.anyio

CARD = "/.well-known/agent-card.json"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """Return a client of a server that signs its card."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "key.pem"
    path.write_bytes(key)
    path.chmod(0o600)
    settings: dict[str, Any] = {
        "a2a": {"signing_key": path},
        "service": {"base_url": "http://agent.test"},
        **PACKAGED,
    }
    async with in_process(Script(ANSWER), **settings) as client:
        yield client


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def signed_card(client: Client, query: str = "?version=1.0") -> Json:
    card: Json = (await client.http.get(CARD + query)).json()
    return card


async def public_key(client: Client, signature: Json) -> ec.EllipticCurvePublicKey:
    """Return the key that a signature's header leads to."""
    header = json.loads(decoded(signature["protected"]))
    keys = (await client.http.get(header["jku"])).json()["keys"]
    (key,) = [key for key in keys if key["kid"] == header["kid"]]
    assert (key["kty"], key["crv"]) == ("EC", "P-256")
    x, y = (int.from_bytes(decoded(key[name])) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def verify(key: ec.EllipticCurvePublicKey, signature: Json, payload: bytes) -> None:
    """Raise for a signature that is not over the payload."""
    raw = decoded(signature["signature"])
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    encoded = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    message = f"{signature['protected']}.{encoded}".encode()
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


@requirement("1.0/card-canonical", "1.0/card-signature", "1.0/card-signature-keys")
async def test_the_signature_is_over_the_canonical_card(client: Client) -> None:
    for query in ("?version=1.0", "?version=0.3", ""):
        card = await signed_card(client, query)
        signatures = card.pop("signatures")
        payload = rfc8785.dumps(card)
        good = []
        for signature in signatures:
            assert (
                {"protected", "signature"}
                <= signature.keys()
                <= {"protected", "signature", "header"}
            )
            key = await public_key(client, signature)
            good += [signature] if _verifies(key, signature, payload) else []
            with pytest.raises(InvalidSignature):
                verify(key, signature, payload.replace(b"Answer", b"Reject"))
        assert good


def _verifies(key: ec.EllipticCurvePublicKey, signature: Json, payload: bytes) -> bool:
    try:
        verify(key, signature, payload)
    except InvalidSignature:
        return False
    return True


@requirement("1.0/card-signature-head")
async def test_the_header_names_algorithm_type_and_key(client: Client) -> None:
    for signature in (await signed_card(client))["signatures"]:
        header = json.loads(decoded(signature["protected"]))
        assert (header["alg"], header["typ"]) == ("ES256", "JOSE")
        assert header["kid"]
        assert header["jku"] == "http://agent.test/.well-known/jwks.json"


@requirement("1.0/card-signature", "1.0/card-canonical")
async def test_the_verifier_of_a2a_sdk_agrees(client: Client) -> None:
    card = await signed_card(client)
    header = json.loads(decoded(card["signatures"][0]["protected"]))
    keys = (await client.http.get(header["jku"])).json()["keys"]
    from jwt import PyJWK

    check = create_signature_verifier(lambda _kid, _jku: PyJWK(keys[0]), ["ES256"])
    check(ParseDict(card, a2a_pb2.AgentCard()))


@requirement("1.0/card-signature-keys")
async def test_the_private_key_stays_private(client: Client) -> None:
    keys = (await client.http.get("/.well-known/jwks.json")).json()["keys"]
    assert all("d" not in key for key in keys)
