"""The key that this agent signs with: its card, and what it sends to webhooks (RFC 7515, 7517, 7638)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.settings import Settings

_MIN_RSA_BITS = 2048
_SETTING = "a2a.signing_key"
_MEMBERS = ("kty", "crv", "x", "y", "n", "e")


class Signature(msgspec.Struct, frozen=True):
    """A JWS without its payload: both parts are base64url, as in A2A's ``AgentCardSignature``."""

    protected: str
    signature: str


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """``jwk`` is the public key, ``algorithm`` JOSE's name, ``kid`` the thumbprint (RFC 7638)."""

    kid: str
    algorithm: str
    jwk: dict[str, str]
    private: Any

    def sign(self, payload: bytes, header: dict[str, Any] | None = None) -> Signature:
        """Sign ``payload``; ``header`` is what the protected header has beside alg, typ and kid.

        The same payload and header always give the same signature.
        """
        protected = {"typ": "JOSE"} | (header or {}) | {"alg": self.algorithm, "kid": self.kid}
        first = _base64url(msgspec.json.encode(protected))
        signed = f"{first}.{_base64url(payload)}".encode("ascii")
        return Signature(first, _base64url(_sign(self.private, signed)))

    @property
    def jwks(self) -> bytes:
        """The public key as a JSON Web Key Set."""
        return msgspec.json.encode({"keys": [self.jwk]})


def signing_key(settings: Settings) -> SigningKey | None:
    """Return the key that the settings name, if any; raises ``SettingsError``."""
    path = settings.a2a.signing_key
    return None if path is None else load_signing_key(path)


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key in PEM, without a password; raises ``SettingsError``.

    EC P-256 signs with ES256, RSA of at least 2048 bits with RS256, Ed25519 with EdDSA.
    """
    private = _private_key(path)
    algorithm, members = _algorithm(private), public_jwk(private.public_key())
    # RFC 7638: the members that make the key, by name, without white space.
    kid = _base64url(hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest())
    jwk = members | {"use": "sig", "alg": algorithm, "kid": kid}
    return SigningKey(kid=kid, algorithm=algorithm, jwk=jwk, private=private)


def _private_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except OSError as exc:
        raise SettingsError(_SETTING, f"{path} cannot be read") from exc
    except TypeError as exc:
        raise SettingsError(_SETTING, f"{path} is encrypted; a plain key is needed") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SettingsError(_SETTING, f"{path} holds no private key in PEM") from exc


def public_jwk(public: Any) -> dict[str, str]:
    """Return the members of the JWK of a public key; raises ``ValueError`` for what signs nothing."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    if isinstance(public, ec.EllipticCurvePublicKey):
        jwk = ECAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        jwk = OKPAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, rsa.RSAPublicKey):
        jwk = RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        raise ValueError("no key of RSA, EC or EdDSA")  # noqa: TRY004 - a value of a file
    return {name: jwk[name] for name in _MEMBERS if name in jwk}


def _algorithm(private: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == "secp256r1":
        return "ES256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= _MIN_RSA_BITS:
        return "RS256"
    raise SettingsError(_SETTING, "must be EC P-256, Ed25519, or RSA of 2048 bits or more")


def _sign(private: Any, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from jwt.utils import der_to_raw_signature

    if isinstance(private, ec.EllipticCurvePrivateKey):
        # RFC 6979: every process signs alike, so that the card and its entity tag are the same.
        der = private.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
        return der_to_raw_signature(der, private.curve)
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), SHA256())
    signature: bytes = private.sign(data)
    return signature


def _base64url(raw: bytes) -> str:
    from jwt.utils import base64url_encode

    return base64url_encode(raw).decode("ascii")
