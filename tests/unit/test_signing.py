"""The signing key: which keys are taken, what is signed, and what the public may know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from jwt.utils import base64url_encode

from agent.errors import SettingsError
from agent.settings import Settings
from agent.signing import load_signing_key, signing_key
from tests.fakes import keys

if TYPE_CHECKING:
    from pathlib import Path

KINDS = pytest.mark.parametrize("kind", [keys.EC, keys.RSA, keys.ED])
PAYLOAD = b'{"a":1}'


@KINDS
def test_what_is_signed_is_verified_by_others(tmp_path: Path, kind: str) -> None:
    """PyJWT needs nothing but the public key."""
    key = load_signing_key(keys.write(tmp_path / "key.pem", kind))
    signature = key.sign(PAYLOAD, {"jku": "https://a.example/keys"})
    payload = base64url_encode(PAYLOAD).decode()
    compact = f"{signature.protected}.{payload}.{signature.signature}"

    [public] = jwt.PyJWKSet.from_json(key.jwks.decode()).keys
    assert jwt.PyJWS().decode(compact, public, [kind]) == PAYLOAD
    assert jwt.get_unverified_header(compact) == {
        "alg": kind,
        "typ": "JOSE",
        "kid": key.kid,
        "jku": "https://a.example/keys",
    }


@KINDS
def test_the_same_is_signed_alike_by_every_process(tmp_path: Path, kind: str) -> None:
    """A card must not differ between the workers that serve it."""
    path = keys.write(tmp_path / "key.pem", kind)
    first, second = load_signing_key(path), load_signing_key(path)

    assert first.sign(PAYLOAD) == second.sign(PAYLOAD)
    assert first.jwks == second.jwks


@KINDS
def test_nothing_private_is_published(tmp_path: Path, kind: str) -> None:
    """No member but those of a public key."""
    [jwk] = json.loads(load_signing_key(keys.write(tmp_path / "key.pem", kind)).jwks)["keys"]

    assert set(jwk) <= {"kty", "crv", "x", "y", "n", "e", "use", "alg", "kid"}
    assert (jwk["use"], jwk["alg"]) == ("sig", kind)


def test_the_key_id_is_the_thumbprint(tmp_path: Path) -> None:
    """The example of RFC 8037, appendix A: its private key and the thumbprint it must have."""
    private: Any = jwt.PyJWK(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }
    ).key
    path = tmp_path / "key.pem"
    path.write_bytes(keys.pem(private))

    assert load_signing_key(path).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("P-384", "must be EC P-256"),
        ("RSA-1024", "must be EC P-256"),
        ("DSA", "must be EC P-256"),
        ("encrypted", "is encrypted"),
        ("public", "holds no private key"),
        ("text", "holds no private key"),
        ("missing", "cannot be read"),
    ],
)
def test_a_key_that_cannot_sign_is_a_wrong_setting(tmp_path: Path, kind: str, problem: str) -> None:
    """And is said to be one at start."""
    path = tmp_path / "key.pem"
    match kind:
        case "encrypted":
            keys.write(path, password=b"secret")
        case "public":
            path = keys.write(path).with_suffix(".pub")
        case "text":
            path.write_text("no key")
        case "missing":
            pass
        case _:
            keys.write(path, kind)

    with pytest.raises(SettingsError, match=problem) as wrong:
        load_signing_key(path)

    assert wrong.value.problems[0][0] == "a2a.signing_key"


def test_without_the_setting_there_is_no_key() -> None:
    """Nothing is signed then."""
    assert signing_key(Settings()) is None
