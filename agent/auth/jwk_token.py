"""LCS's ``jwk-token``: callers show a JSON Web Token (RFC 7519) that their issuer signed."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import jwt
import msgspec

from agent.auth.base import Identity, can_be_id
from agent.auth.bearer import bearer_token, invalid_token, shown_token
from agent.auth.key_set import KeySet
from agent.auth.recent import Recent
from agent.auth.role_rules import RoleRules
from agent.nesting import too_deep

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.auth.base import Presented
    from agent.auth.public_keys import PublicKeys
    from agent.errors import Unauthenticated
    from agent.settings.access import Authentication, Jwk, Jwt

KNOWN_TOKENS = 4096
KNOWN_SECONDS = 60
"""For how long, at most, and for how many tokens it is remembered that they were found good."""

TRIED_KEYS = 8
"""How many keys are tried for a token that does not name its key."""

_CAUSES = (
    (jwt.InvalidSignatureError, "Invalid token signature"),
    (jwt.InvalidAudienceError, "Token is meant for another audience"),
    (jwt.InvalidIssuerError, "Token comes from another issuer"),
    (jwt.PyJWTError, "Token could not be decoded"),
)
_SIGNED = (jwt.InvalidAudienceError, jwt.InvalidIssuerError)
"""What is found only after the signature was right."""


class _Known(msgspec.Struct, frozen=True):
    """Whose a token is, as found with these keys; good from ``since`` until before ``until``."""

    user_id: str
    username: str
    roles: frozenset[str]
    keys: PublicKeys
    since: float
    until: float


class _Jwt(jwt.PyJWT):
    """Reads claims strictly: UTF-8, no NaN, not nested without end."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        payload = decoded["payload"]
        try:
            claims = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise jwt.DecodeError("not JSON") from exc
        if not isinstance(claims, dict) or too_deep(payload):
            raise jwt.DecodeError("not claims")
        return claims


class _UnknownKeyError(Exception):
    """The key set holds no key that a token could be signed by."""


class JwkToken:
    """Checks tokens with the keys of their issuer.

    Only what the issuer did not sign can be a guess: a token that has expired, say, is none.
    """

    always_checks = True

    def __init__(
        self,
        jwk: Jwk,
        authentication: Authentication,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` is in seconds since the epoch; ``monotonic`` times the key set."""
        self._settings: Jwt = jwk.jwt_configuration
        self._algorithms = frozenset[str](jwk.algorithms)
        self._keys = KeySet(jwk, authentication, monotonic)
        self._rules = RoleRules(self._settings.role_rules)
        self._now = now
        self._jwt = _Jwt()
        self._known: Recent[bytes, _Known] = Recent(KNOWN_TOKENS)

    async def open(self) -> None:
        """Get ready to fetch keys."""
        await self._keys.open()

    async def close(self) -> None:
        """Fetch no more."""
        await self._keys.close()

    def credential(self, presented: Presented) -> str | None:
        """Return the token."""
        return shown_token(presented.headers)

    async def identify(self, presented: Presented) -> Identity:
        """Return who the token says it is."""
        token = bearer_token(presented.headers)
        # The tokens themselves are not kept: memory can be read, too.
        digest = sha256(token.encode()).digest()
        known = self._still_known(digest)
        if known is None:
            known = await self._verified(token)
            self._known.put(digest, known)
        return Identity(known.user_id, known.username, known.roles, token)

    def _still_known(self, digest: bytes) -> _Known | None:
        known = self._known.get(digest)
        if known is None:
            return None
        if known.keys is not self._keys.at_hand() or not known.since <= self._now() < known.until:
            self._known.drop(digest)
            return None
        return known

    async def _verified(self, token: str) -> _Known:
        try:
            kid, algorithm = self._header(token)
            keys = await self._keys.current()
            try:
                claims = self._claims(token, kid, algorithm, keys)
            except (_UnknownKeyError, jwt.InvalidSignatureError):
                # Perhaps the issuer has other keys by now.
                keys = await self._keys.newer(old := keys)
                if keys is old:
                    raise
                claims = self._claims(token, kid, algorithm, keys)
        except _UnknownKeyError as exc:
            self._keys.check()
            raise invalid_token("Token signed by unknown key") from exc
        except jwt.MissingRequiredClaimError as exc:
            raise _missing(exc.claim) from exc
        except jwt.PyJWTError as exc:
            cause = next(text for kind, text in _CAUSES if isinstance(exc, kind))
            raise invalid_token(cause, counts=not isinstance(exc, _SIGNED)) from exc
        return self._whose(claims, keys)

    def _header(self, token: str) -> tuple[str | None, str]:
        """Return id of the key and algorithm. Nothing else there is believed or followed."""
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise invalid_token("Token algorithm is not allowed")
        if "crit" in header or "b64" in header:
            raise invalid_token("Token needs an extension that is not supported")
        return header.get("kid"), algorithm

    def _claims(
        self, token: str, kid: str | None, algorithm: str, keys: PublicKeys
    ) -> dict[str, Any]:
        """Return the claims of a token that one of the keys signed."""
        fitting = keys.fitting(kid, algorithm)[:TRIED_KEYS]
        if not fitting:
            raise _UnknownKeyError
        for key in fitting[:-1]:
            try:
                return self._decoded(token, key.key, key.algorithms)
            except jwt.InvalidSignatureError:
                continue
        return self._decoded(token, fitting[-1].key, fitting[-1].algorithms)

    def _decoded(self, token: str, key: Any, algorithms: frozenset[str]) -> dict[str, Any]:
        """Check signature, audience and issuer; the times are checked later, by our own clock."""
        return self._jwt.decode(
            token,
            key,
            sorted(algorithms),
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": bool(self._settings.audience),
            },
            audience=self._settings.audience or None,
            issuer=self._settings.issuer or None,
        )

    def _whose(self, claims: dict[str, Any], keys: PublicKeys) -> _Known:
        now = self._now()
        expiry = self._expiry(claims, now)
        return _Known(
            _text(claims, self._settings.user_id_claim),
            _text(claims, self._settings.username_claim),
            self._rules.roles(claims),
            keys,
            since=now,
            until=min(expiry, now + KNOWN_SECONDS),
        )

    def _expiry(self, claims: dict[str, Any], now: float) -> float:
        """Return when the token expires; raises ``Unauthenticated`` when that, or its begin, is wrong."""
        leeway = self._settings.leeway_seconds
        if "exp" not in claims:
            raise _missing("exp")
        expiry = _date(claims, "exp")
        if expiry + leeway <= now:
            raise invalid_token("Token has expired", counts=False)
        if any(_date(claims, name) > now + leeway for name in ("nbf", "iat") if name in claims):
            raise invalid_token("Token is not valid yet", counts=False)
        return expiry


def _date(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(name)
    return value


def _text(claims: dict[str, Any], name: str) -> str:
    """Return a claim; its name is a name, not a path, whatever it looks like."""
    value = claims.get(name)
    if value is None:
        raise _missing(name)
    if not isinstance(value, str) or not can_be_id(value) or value.isspace():
        raise _invalid(name)
    return value


def _missing(name: str) -> Unauthenticated:
    return invalid_token(f"Token missing claim: {name}", counts=False)


def _invalid(name: str) -> Unauthenticated:
    return invalid_token(f"Token has an invalid claim: {name}", counts=False)
