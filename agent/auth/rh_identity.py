"""LCS's ``rh-identity``: a proxy in front of this server says who calls, in a header."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any

import msgspec

from agent.auth.base import Identity, Immediate, can_be_id
from agent.errors import MalformedCredentials, PermissionDenied, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.auth.base import Presented

HEADER = "x-rh-identity"
HEADER_CHARS = 16 * 1024

CHALLENGE = f'{HEADER} realm="llamastack-a2a"'
"""Every 401 has a challenge (RFC 9110). No scheme is registered for this, and one that is would make clients
send a password or a token; this one names what is missing."""


class RhIdentity(Immediate):
    """Believes the header: whoever can reach this server past the proxy can be anybody."""

    def __init__(self, required_entitlements: Iterable[str] = ()) -> None:
        """Callers need all of ``required_entitlements``."""
        self._required = tuple(required_entitlements)

    def credential(self, presented: Presented) -> str | None:
        """Return the header."""
        return presented.headers.get(HEADER, "").strip(" \t") or None

    async def identify(self, presented: Presented) -> Identity:
        """Return the user, or the system, that the header tells of."""
        shown = self.credential(presented)
        if shown is None:
            raise Unauthenticated(f"Missing {HEADER} header", CHALLENGE)
        document = _read(shown)
        identity = _identity(_mapping(document, "identity", "'identity' field"))
        if self._required:
            self._check(document)
        return identity

    def _check(self, document: dict[str, Any]) -> None:
        entitlements = {}
        if document.get("entitlements") is not None:
            entitlements = _mapping(document, "entitlements", "'entitlements' field")
        missing = [name for name in self._required if not _is_entitled(entitlements, name)]
        if missing:
            noun = "entitlement" if len(missing) == 1 else "entitlements"
            raise PermissionDenied(f"Missing required {noun}: {', '.join(missing)}")


def _read(shown: str) -> dict[str, Any]:
    """Return the JSON object of the header."""
    if len(shown) > HEADER_CHARS:
        raise MalformedCredentials(f"The {HEADER} header is too long")
    try:
        decoded = binascii.a2b_base64(shown, strict_mode=True)
    except ValueError as exc:
        raise MalformedCredentials(f"Invalid base64 encoding in {HEADER} header") from exc
    try:
        return msgspec.json.decode(decoded, type=dict[str, Any])
    except (ValueError, RecursionError) as exc:
        raise MalformedCredentials(f"Invalid JSON in {HEADER} header") from exc


def _identity(identity: dict[str, Any]) -> Identity:
    org_id = _org_id(identity)
    match kind := _text(identity, "type", "identity 'type' field"):
        case "User":
            user = _mapping(identity, "user", "'user' field for User type")
            return Identity(
                _text(user, "user_id", "'user_id' in user data"),
                _text(user, "username", "'username' in user data"),
                org_id=org_id,
            )
        case "System":
            system = _mapping(identity, "system", "'system' field for System type")
            return Identity(
                _text(system, "cn", "'cn' in system data"),
                _text(identity, "account_number", "'account_number' for System type"),
                org_id=org_id,
            )
    raise MalformedCredentials(f"Unsupported identity type: {kind}")


def _org_id(identity: dict[str, Any]) -> str:
    """Return the organization, which nobody needs to have: one that cannot be an id is none."""
    org_id = identity.get("org_id")
    return org_id if isinstance(org_id, str) and can_be_id(org_id) else ""


def _is_entitled(entitlements: dict[str, Any], name: str) -> bool:
    if entitlements.get(name) is None:
        return False
    entitlement = _mapping(entitlements, name, f"entitlement: {name}")
    is_entitled = entitlement.get("is_entitled", False)
    if not isinstance(is_entitled, bool):
        raise MalformedCredentials(f"Invalid 'is_entitled' in entitlement: {name}")
    return is_entitled


def _mapping(holder: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    """Return an object of the header; ``name`` is what LCS calls it."""
    value = _present(holder, key, name)
    if not isinstance(value, dict):
        raise MalformedCredentials(f"Invalid {name}")
    return value


def _text(holder: dict[str, Any], key: str, name: str) -> str:
    """Return an id, or what is as short as one."""
    value = _present(holder, key, name)
    if not isinstance(value, str) or not can_be_id(value):
        raise MalformedCredentials(f"Invalid {name}")
    return value


def _present(holder: dict[str, Any], key: str, name: str) -> object:
    value = holder.get(key)
    if value is None:
        raise MalformedCredentials(f"Missing {name}")
    return value
