"""Signatures of cards: what a2a-sdk verifies, and what no verifier may be led to believe."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from a2a.client.card_resolver import parse_agent_card
from a2a.utils.signing import (
    InvalidSignaturesError,
    create_agent_card_signer,
    create_signature_verifier,
)
from google.protobuf.json_format import MessageToDict
from jwt import PyJWK

from agent.card import load_card
from agent.card_dialects import Features
from agent.card_forms import AS_0_3, AS_1_0, WHOLE, canonical_forms
from agent.card_signing import check_signatures, covers_all, key_sets, signed
from agent.settings import Settings
from agent.signing import SigningKey, load_signing_key
from tests.fakes import keys

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://agent.example"
JKU = f"{URL}/.well-known/jwks.json"
VERSIONS = pytest.mark.parametrize("version", ["hybrid", "1.0", "0.3"])
DOCUMENT: dict[str, Any] = {
    "name": "Müller & Söhne \U0001f600",
    "description": 'Says "hello" <b>\n\u2028',
    "skills": [
        {"id": "a", "name": "A", "description": "Has no tags."},
        {"id": "b", "name": "B", "description": "Has tags.", "tags": ["b"], "examples": ["b?"]},
    ],
}
EXTENSION = {
    "uri": "https://a.example/x",
    "required": True,
    "params": {"n": 1, "x": 1e21, "empty": {}, "none": None, "list": ["", 0.5]},
}
MINIMAL: dict[str, Any] = {
    "name": "N",
    "description": "",
    "version": "1",
    "supportedInterfaces": [
        {"url": URL, "protocolBinding": "JSONRPC", "tenant": "", "protocolVersion": "1.0"}
    ],
    "capabilities": {
        "streaming": False,
        "extensions": [{"uri": "x", "required": False, "params": {"a": ""}}],
    },
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": [],
    "skills": [],
    "securitySchemes": {"tls": {"mtlsSecurityScheme": {"description": ""}}},
    "securityRequirements": [{"schemes": {"tls": {"list": []}}}],
}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """Return a new key."""
    return load_signing_key(keys.write(tmp_path / "key.pem"))


def served(tmp_path: Path, version: str, kind: str = keys.EC) -> tuple[dict[str, Any], Any]:
    """Return a card as it is served, signed with a new key, and the key set beside it."""
    settings = Settings.model_validate(
        {
            "service": {"base_url": URL},
            "customization": {"agent_card_config": DOCUMENT},
            "a2a": {"signing_key": str(keys.write(tmp_path / "key.pem", kind)), "tenants": ["red"]},
        }
    )
    modes = ("text/plain", "image/*")
    features = Features(
        input_modes=modes, output_modes=modes, http_json=True, extensions=[EXTENSION]
    )
    card = load_card(settings, features, datetime.now(UTC))
    assert card.key_set is not None
    return json.loads(card.bodies[version].content), json.loads(card.key_set.content)


def sdk_verifies(card: dict[str, Any], key_set: Any) -> None:
    """Let a2a-sdk verify a card as its client does once it has parsed it."""

    def provide(kid: str | None, jku: str | None) -> PyJWK:
        assert jku == JKU
        [jwk] = [jwk for jwk in key_set["keys"] if jwk["kid"] == kid]
        return PyJWK(jwk)

    verify = create_signature_verifier(provide, ["ES256", "RS256", "EdDSA"])
    verify(parse_agent_card(json.loads(json.dumps(card))))


@VERSIONS
@pytest.mark.parametrize("kind", [keys.EC, keys.RSA, keys.ED])
def test_a2a_sdk_verifies_what_is_served(tmp_path: Path, version: str, kind: str) -> None:
    """In every version, with every kind of key."""
    sdk_verifies(*served(tmp_path, version, kind))


@VERSIONS
def test_a2a_sdk_does_not_verify_another_card(tmp_path: Path, version: str) -> None:
    """One letter is enough."""
    card, key_set = served(tmp_path, version)

    with pytest.raises(InvalidSignaturesError):
        sdk_verifies(card | {"name": "Muller"}, key_set)


@VERSIONS
def test_every_signature_of_ours_is_sound(tmp_path: Path, version: str) -> None:
    """And one of them is for the whole card."""
    card, key_set = served(tmp_path, version)
    checked = check_signatures(card, key_set["keys"])

    assert covers_all(card, checked)
    assert checked[0].covers == WHOLE
    assert all(signature.covers for signature in checked)
    assert key_sets(card) == [JKU]


@pytest.mark.parametrize("version", ["hybrid", "0.3"])
def test_a_client_of_0_3_has_a_signature_of_what_it_reads(tmp_path: Path, version: str) -> None:
    """The model of 0.3 without defaults and empty values, as its a2a-sdk canonicalizes it."""
    card, _ = served(tmp_path, version)
    [old] = [form for form in canonical_forms(card) if b"\\u00fc" in form]
    read = json.loads(old)

    assert read["url"] == f"{URL}/a2a"
    assert read["skills"][0] == {"id": "a", "name": "A", "description": "Has no tags."}
    assert not {"supportedInterfaces", "protocolVersion", "preferredTransport"} & set(read)
    assert canonical_forms(card)[old] == AS_0_3


def test_the_form_of_1_0_has_what_the_specification_keeps() -> None:
    """Section 8.4.1: required fields and optional ones that were set stay, other defaults go."""
    [form] = [form for form, covers in canonical_forms(MINIMAL).items() if covers == AS_1_0]

    assert json.loads(form) == {
        "name": "N",
        "description": "",
        "version": "1",
        "supportedInterfaces": [
            {"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
        "capabilities": {"streaming": False, "extensions": [{"uri": "x", "params": {"a": ""}}]},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": [],
        "skills": [],
        "securitySchemes": {"tls": {"mtlsSecurityScheme": {}}},
        "securityRequirements": [{"schemes": {"tls": {}}}],
    }


def test_a_card_that_all_read_alike_has_one_signature(key: SigningKey) -> None:
    """There is nothing to sign twice."""
    modes = ["text/plain"]
    skill = {"id": "a", "name": "A", "description": "A.", "tags": ["a"]}
    card = MINIMAL | {
        "description": "D",
        "supportedInterfaces": [
            {"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
        "capabilities": {"streaming": True},
        "defaultOutputModes": modes,
        "skills": [skill],
    }
    del card["securitySchemes"], card["securityRequirements"]

    assert len(signed(card, key, JKU)["signatures"]) == 1


def test_a_card_of_1_0_may_have_fields_that_0_3_reads_otherwise(key: SigningKey) -> None:
    """It is no card of 0.3 then."""
    card = signed(MINIMAL | {"url": 7}, key, JKU)

    assert covers_all(card, check_signatures(card, [key.jwk]))


def test_what_a2a_sdk_signs_is_verified(key: SigningKey) -> None:
    """Its servers sign the card as its client reads it."""
    header: Any = {"kid": key.kid, "alg": "ES256", "jku": JKU, "typ": "JOSE"}
    sign = create_agent_card_signer(keys.pem(key.private), header)
    card = MessageToDict(sign(parse_agent_card(json.loads(json.dumps(MINIMAL)))))

    [checked] = check_signatures(card, [key.jwk])

    assert checked.covers
    assert covers_all(card, [checked])


def test_a_key_counts_for_its_own_signatures_only(tmp_path: Path, key: SigningKey) -> None:
    """By its id and its algorithm; one that has neither is tried with all."""
    card, key_set = served(tmp_path / "..", "hybrid")
    [right] = key_set["keys"]
    bare = {name: right[name] for name in ("kty", "crv", "x", "y")}

    def verified(jwk: dict[str, Any]) -> bool:
        return covers_all(card, check_signatures(card, [jwk]))

    assert verified(right)
    assert verified(bare)
    assert not verified(bare | {"kid": "another"})
    assert not verified(bare | {"alg": "RS256"})
    assert not verified(key.jwk)
    assert not verified({"kty": "oct", "k": "c2VjcmV0"})
    assert not verified({})


@pytest.mark.parametrize(
    "signature",
    [
        "no object",
        {},
        {"protected": "e30", "signature": "AAAA"},
        {"protected": 1, "signature": None},
        {"protected": "eyJhbGciOiJub25lIn0", "signature": ""},
        {"protected": "a.b.c", "signature": "d.e"},
    ],
)
def test_a_signature_that_is_none_is_not_sound(key: SigningKey, signature: Any) -> None:
    """Among them one that says it needs no key (``{"alg": "none"}``)."""
    card = MINIMAL | {"signatures": [signature]}

    assert not covers_all(card, check_signatures(card, [key.jwk]))


def test_a_shared_secret_signs_no_card(key: SigningKey) -> None:
    """Whoever can verify it could have made it; and a public key is no secret."""
    import jwt

    secret = b"secret" * 8
    compact = jwt.PyJWS().encode(next(iter(canonical_forms(MINIMAL))), secret, "HS256")
    protected, _, signature = compact.split(".")
    card = MINIMAL | {"signatures": [{"protected": protected, "signature": signature}]}
    shared = {"kty": "oct", "k": jwt.utils.base64url_encode(secret).decode()}

    assert not covers_all(card, check_signatures(card, [shared, key.jwk]))


def test_the_signature_of_the_0_3_fields_is_not_one_of_the_1_0_card(tmp_path: Path) -> None:
    """Who changes what only 1.0 reads breaks what a client of 1.0 relies on."""
    card, key_set = served(tmp_path, "hybrid")
    interfaces = [{"url": "https://evil", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    card |= {"supportedInterfaces": interfaces}

    checked = check_signatures(card, key_set["keys"])

    assert {signature.covers for signature in checked} == {"", AS_0_3}
    assert not covers_all(card, checked)


def test_what_is_added_to_a_0_3_card_is_not_signed(tmp_path: Path) -> None:
    """A client of 1.0 reads its own fields there too."""
    card, key_set = served(tmp_path, "0.3")
    card["securityRequirements"] = [{"schemes": {"none": {"list": ["x"]}}}]

    assert not covers_all(card, check_signatures(card, key_set["keys"]))


@pytest.mark.parametrize("card", [{"name": 1}, {"skills": "many"}, MINIMAL | {"n": 2**60}])
def test_what_is_no_card_has_no_form(card: dict[str, Any]) -> None:
    """Nor has a number that JSON cannot carry."""
    with pytest.raises(ValueError, match=r"card|integer|exceeds"):
        canonical_forms(card)
