"""Signatures of agent cards: ours are made, those of others verified (1.0 section 8.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.card_forms import AS_0_3, AS_1_0, NEARLY_1_0, WHOLE, canonical_forms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.signing import SigningKey

type Json = Any

ALGORITHMS = (
    "ES256",
    "ES384",
    "ES512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "EdDSA",
)
"""What cards may be signed with: never a shared secret, never nothing."""


class Checked(msgspec.Struct, frozen=True):
    """What became of one signature; ``covers`` is what of the card it stands for, "" when it is not sound."""

    kid: str
    algorithm: str
    covers: str = ""


def signed(card: dict[str, Json], key: SigningKey, jku: str) -> dict[str, Json]:
    """Return the card with a signature over each of its canonical forms; ``jku`` is where the key is.

    Raises ``ValueError`` when the card has no canonical form.
    """
    signatures = [key.sign(form, {"jku": jku}) for form in canonical_forms(card)]
    return card | {"signatures": msgspec.to_builtins(signatures)}


def key_sets(card: dict[str, Json]) -> list[str]:
    """Return the URLs where the signatures say that their keys are, each once."""
    found = [_header(signature).get("jku") for signature in _signatures(card)]
    return list(dict.fromkeys(jku for jku in found if isinstance(jku, str)))


def check_signatures(card: dict[str, Json], keys: Sequence[dict[str, Json]]) -> list[Checked]:
    """Hold each signature of the card against ``keys``, which are JWKs; raises ``ValueError`` for no card.

    A key with a ``kid`` counts for the signatures that name it, one without for all.
    """
    forms = canonical_forms(card)
    return [_checked(signature, forms, keys) for signature in _signatures(card)]


def covers_all(card: dict[str, Json], checked: Sequence[Checked]) -> bool:
    """Whether what a client of 1.0 reads of the card is signed."""
    enough = {AS_1_0, NEARLY_1_0} if "supportedInterfaces" in card else {AS_0_3}
    return any(signature.covers in enough | {WHOLE} for signature in checked)


def _checked(signature: Json, forms: dict[bytes, str], keys: Sequence[dict[str, Json]]) -> Checked:
    header = _header(signature)
    kid, algorithm = str(header.get("kid", "")), str(header.get("alg", ""))
    for key in keys if algorithm in ALGORITHMS else ():
        if key.get("kid", kid) != kid or key.get("alg", algorithm) != algorithm:
            continue
        for form, covers in forms.items():
            if _is_sound(signature, form, key, algorithm):
                return Checked(kid, algorithm, covers)
    return Checked(kid, algorithm)


def _is_sound(signature: Json, form: bytes, key: dict[str, Json], algorithm: str) -> bool:
    from jwt import PyJWK, PyJWS
    from jwt.exceptions import PyJWTError
    from jwt.utils import base64url_encode

    payload = base64url_encode(form).decode("ascii")
    compact = f"{signature.get('protected')}.{payload}.{signature.get('signature')}"
    try:
        PyJWS().decode(compact, PyJWK(key, algorithm), algorithms=ALGORITHMS)
    except PyJWTError:
        return False
    return True


def _signatures(card: dict[str, Json]) -> list[dict[str, Json]]:
    signatures = card.get("signatures")
    if not isinstance(signatures, list):
        return []
    return [signature for signature in signatures if isinstance(signature, dict)]


def _header(signature: dict[str, Json]) -> dict[str, Json]:
    """Return the protected header; empty when it is none."""
    from jwt import PyJWS
    from jwt.exceptions import PyJWTError

    try:
        return PyJWS().get_unverified_header(f"{signature.get('protected')}..")
    except PyJWTError:
        return {}
