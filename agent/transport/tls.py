"""TLS: its files are read and tried before anything listens, so that what is wrong has a name."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from agent.settings.lcs import Tls

_CERTIFICATE = "service.tls_config.tls_certificate_path"
_KEY = "service.tls_config.tls_key_path"
_PASSWORD = "service.tls_config.tls_key_password"  # noqa: S105 - the name of a setting


class KeyPair(NamedTuple):
    """A private key without a password, and its certificates; both as PEM."""

    key: bytes
    certificates: bytes


def check_tls(tls: Tls) -> None:
    """Raise ``SettingsError`` unless HTTPS can be spoken with these files, or is not asked for."""
    if tls.tls_certificate_path is None or tls.tls_key_path is None:
        return
    _check_certificate(_read(_CERTIFICATE, tls.tls_certificate_path))
    password = read_password(tls)
    _load_key(_read(_KEY, tls.tls_key_path), password)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            tls.tls_certificate_path, tls.tls_key_path, password
        )
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(_KEY, "is not the key of the certificate") from exc
        raise SettingsError(_CERTIFICATE, f"cannot be used: {exc.reason}") from exc


def read_key_pair(tls: Tls) -> KeyPair | None:
    """Return what is in the files, if TLS is asked for. Raises ``SettingsError`` as ``check_tls``."""
    if tls.tls_certificate_path is None or tls.tls_key_path is None:
        return None
    check_tls(tls)
    key = _read(_KEY, tls.tls_key_path)
    if _is_encrypted(key):
        key = _without_password(_load_key(key, read_password(tls)))
    return KeyPair(key, _read(_CERTIFICATE, tls.tls_certificate_path))


def read_password(tls: Tls) -> str | None:
    """Return the password of the private key: LCS names a file that holds it."""
    if tls.tls_key_password is None:
        return None
    try:
        return _read(_PASSWORD, tls.tls_key_password).decode().strip()
    except UnicodeDecodeError as exc:
        raise SettingsError(_PASSWORD, "is not UTF-8 text") from exc


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SettingsError(key, f"{path} cannot be read") from exc


def _check_certificate(content: bytes) -> None:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        load_pem_x509_certificates(content)
    except ValueError as exc:
        raise SettingsError(_CERTIFICATE, "holds no certificate in PEM") from exc


def _is_encrypted(key: bytes) -> bool:
    return b"ENCRYPTED" in key


def _load_key(content: bytes, password: str | None) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    is_encrypted = _is_encrypted(content)
    if is_encrypted and password is None:
        raise SettingsError(_PASSWORD, "is missing: the private key is encrypted")
    secret = password.encode() if is_encrypted and password is not None else None
    try:
        return load_pem_private_key(content, secret)
    except UnsupportedAlgorithm as exc:
        raise SettingsError(_KEY, "holds a private key of a kind that cannot be used") from exc
    except (ValueError, TypeError) as exc:
        if is_encrypted:
            raise SettingsError(_PASSWORD, "does not open the private key") from exc
        raise SettingsError(_KEY, "holds no private key in PEM") from exc


def _without_password(key: PrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
