"""The keys of a JSON Web Key Set (RFC 7517) that can check signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

RSA_BITS = 2048
"""Smaller keys must not be used (RFC 7518 section 3.3)."""

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_FITTING: dict[tuple[str, str], frozenset[str]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
    ("OKP", "Ed448"): frozenset({"EdDSA"}),
}
"""What a key of a type and curve can check; ``oct``, which is a secret, and all others: nothing."""

_PUBLIC = ("kty", "crv", "n", "e", "x", "y")
_PRIVATE = ("d", "k")


class PublicKey(msgspec.Struct, frozen=True):
    """A key, and the algorithms that it may be used with."""

    key: Any  # one of the classes of the library cryptography
    algorithms: frozenset[str]
    kid: str | None = None


class PublicKeys:
    """A set as it was fetched; another fetch makes another object."""

    def __init__(self, document: bytes, allowed: Collection[str]) -> None:
        """Read a set; keys that can check none of the ``allowed`` algorithms are left out.

        Raises ``ValueError`` for what is no key set. One without keys is: an issuer can revoke all.
        """
        self.document = document
        try:
            key_set = msgspec.json.decode(document)
        except (msgspec.MsgspecError, RecursionError) as exc:
            raise ValueError("not JSON") from exc
        keys = key_set.get("keys") if isinstance(key_set, dict) else None
        if not isinstance(keys, list):
            raise ValueError("no list of keys")  # noqa: TRY004 - what is wrong is the document
        self._keys = tuple(_read_keys(keys, frozenset(allowed)))

    def __len__(self) -> int:
        return len(self._keys)

    def fitting(self, kid: str | None, algorithm: str) -> list[PublicKey]:
        """Return the keys with this id, or all if there is none, that the algorithm may be used with."""
        return [
            key
            for key in self._keys
            if algorithm in key.algorithms and (kid is None or key.kid == kid)
        ]


def _read_keys(keys: list[Any], allowed: frozenset[str]) -> Iterator[PublicKey]:
    for jwk in keys:
        if isinstance(jwk, dict) and (algorithms := _algorithms(jwk) & allowed):
            key = _public_key(jwk, min(algorithms))
            if key is not None:
                kid = jwk.get("kid")
                yield PublicKey(key, algorithms, kid if isinstance(kid, str) else None)


def _algorithms(jwk: dict[str, Any]) -> frozenset[str]:
    """Return what a key can check, by its type and by what its issuer says of it."""
    if jwk.get("use", "sig") != "sig" or any(name in jwk for name in _PRIVATE):
        return frozenset()
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return frozenset()
    kind, curve = jwk.get("kty"), jwk.get("crv", "")
    if not isinstance(kind, str) or not isinstance(curve, str):
        return frozenset()
    fitting = _FITTING.get((kind, curve), frozenset())
    return fitting if "alg" not in jwk else fitting.intersection([str(jwk["alg"])])


def _public_key(jwk: dict[str, Any], algorithm: str) -> Any:
    """Return the key, None when it is none."""
    public = {name: jwk[name] for name in _PUBLIC if name in jwk}
    if not all(isinstance(value, str) for value in public.values()):
        return None
    try:
        key = jwt.PyJWK(public, algorithm).key
    except (jwt.PyJWTError, ValueError, OverflowError):
        return None
    return None if algorithm in _RSA and key.key_size < RSA_BITS else key
