"""An issuer of tokens: it has keys, signs, and serves its key set over real HTTP or HTTPS."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.keys import pem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "127.0.0.1"
USER = {"user_id": "ann", "username": "Ann"}
_CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}
_rsa: list[rsa.RSAPrivateKey] = []  # slow to make


def new_key(algorithm: str, *, number: int = 0) -> Any:
    """Return a private key for an algorithm; RSA keys are the same for the same number."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    while len(_rsa) <= number:
        _rsa.append(rsa.generate_private_key(65537, 2048))
    return _rsa[number]


def public_pem(private: Any) -> bytes:
    """Return what everybody may know of a key, as a file."""
    encoded: bytes = private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def public_jwk(private: Any, kid: str | None = None, **members: Any) -> dict[str, Any]:
    """Return what everybody may know of a key, as a key set holds it."""
    kinds = jwt.algorithms
    public = private.public_key()
    if isinstance(private, rsa.RSAPrivateKey):
        jwk = kinds.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        jwk = kinds.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        jwk = kinds.OKPAlgorithm.to_jwk(public, as_dict=True)
    jwk.pop("key_ops", None)
    return jwk | members | ({} if kid is None else {"kid": kid})


class Issuer:
    """Its first key is ``key-1``; ``rotate`` makes another and drops those before.

    ``answer`` replaces what is served: a body, a whole HTTP answer that begins with ``HTTP/``, or b""
    to close without one. ``held`` is waited for before an answer.
    """

    def __init__(self, algorithm: str = "ES256", issued_at: float | None = None) -> None:
        self.issued_at = time.time() if issued_at is None else issued_at
        self.fetches = 0
        self.answer: bytes | None = None
        self.held: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.url = ""
        self.keys: list[Any] = []
        self._number = 0
        self.rotate(algorithm)

    def rotate(self, algorithm: str = "ES256") -> None:
        """Sign with a new key; the set has no other."""
        self._number += 1
        self.algorithm = algorithm
        self.kid = f"key-{self._number}"
        self.private = new_key(algorithm, number=self._number)
        self.keys = [public_jwk(self.private, self.kid)]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return Ann's claims, good for an hour; ``None`` leaves one out."""
        now = int(self.issued_at)
        claims = USER | {"iat": now, "nbf": now, "exp": now + 3600} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """Sign Ann's claims with changes, in a header with changes; ``None`` leaves one out."""
        header = {"kid": self.kid, "alg": self.algorithm} | (headers or {})
        return sign(self.private, header, self.claims(**changes))

    @property
    def document(self) -> bytes:
        """The key set."""
        return json.dumps({"keys": self.keys}).encode()

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Serve the key set at ``url``."""
        server = await asyncio.start_server(self._answer, HOST, 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{HOST}:{port}/jwks.json"
        try:
            yield self
        finally:
            server.close()
            if self.held is not None:
                self.held.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.fetches += 1
            self.asked.set()
            if self.held is not None:
                await self.held.wait()
            body = self.document if self.answer is None else self.answer
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(body if not body or body.startswith(b"HTTP/") else head + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side has gone
        finally:
            writer.close()


def sign(private: Any, header: dict[str, Any], claims: Any, algorithm: str | None = None) -> str:
    """Sign what an honest library would refuse to; ``None`` leaves a member of the header out."""
    kept = {name: value for name, value in header.items() if value is not None}
    name = algorithm or {"Ed448": "EdDSA"}.get(kept["alg"], kept["alg"])
    if kept.get("alg") == "Ed448":
        kept["alg"] = "EdDSA"
    signing_input = b".".join([encoded(kept), encoded(claims)])
    kind = jwt.algorithms.get_default_algorithms()[name]
    signature = kind.sign(signing_input, kind.prepare_key(private))
    return b".".join([signing_input, jwt.utils.base64url_encode(signature)]).decode()


def encoded(value: Any) -> bytes:
    """Return a part of a token; bytes as they are."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return jwt.utils.base64url_encode(raw)


def server_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the TLS of a server on the loopback address, and the certificate to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "issuer.pem", folder / "issuer.key"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.write_bytes(pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context, path
