"""Private keys for signing, as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

EC = "ES256"
RSA = "RS256"
ED = "EdDSA"


def make(kind: str) -> PrivateKeyTypes:
    """Return a new private key; ``kind`` is an algorithm, or names a key that cannot be used."""
    match kind:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)  # noqa: S505 - must be refused
        case _:
            return dsa.generate_private_key(1024)  # noqa: S505 - must be refused


def pem(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    """Write a private key as PKCS 8."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def write(path: Path, kind: str = EC, *, password: bytes | None = None) -> Path:
    """Write a new private key in PEM, and its public key beside it with ``.pub``."""
    key = make(kind)
    path.write_bytes(pem(key, password))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path
