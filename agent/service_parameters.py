"""Service parameters (1.0 section 3.2.6): what comes with a request beside what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.datastructures import QueryParams

from agent.auth.base import Presented
from agent.errors import InvalidParams, VersionNotSupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from agent.model import SendRequest

VERSIONS = frozenset({"1.0", "0.3"})
KEY_CHARS = 255
_MAX_SEQ = 2**63 - 1
_SEQ_CHARS = 20
"""One digit more than the largest has; Python refuses to read very long ones."""


class ServiceParameters(msgspec.Struct, frozen=True):
    """``version`` is "" when none is named; ``extensions`` are those that the caller wants to use.

    ``last_event_id`` is the number of the last event that the caller has heard of a stream.
    """

    version: str = ""
    extensions: tuple[str, ...] = ()
    idempotency_key: str | None = None
    last_event_id: int | None = None

    def check_version(self) -> None:
        """Raise ``VersionNotSupported`` for a version that is not spoken here; patch numbers do not count."""
        if self.version and ".".join(self.version.strip().split(".")[:2]) not in VERSIONS:
            raise VersionNotSupported("This agent speaks A2A 1.0 and 0.3 on this URL")

    def added_to(self, request: SendRequest, extensions: tuple[str, ...]) -> SendRequest:
        """Return the request with what of this it needs, and the ``extensions`` that are in use."""
        if self.idempotency_key is None and self.last_event_id is None and not extensions:
            return request
        return msgspec.structs.replace(
            request,
            idempotency_key=self.idempotency_key,
            last_event_id=self.last_event_id,
            extensions=extensions,
        )


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request; one that came several times is the list of its values (RFC 9110)."""
    given: list[tuple[bytes, bytes]] = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in given}
    if len(headers) < len(given):
        values: dict[bytes, list[bytes]] = {}
        for name, value in given:
            values.setdefault(name, []).append(value)
        headers = {k.decode("latin-1"): b", ".join(v).decode("latin-1") for k, v in values.items()}
    return headers


def presented(scope: Scope, headers: Mapping[str, str], surface: str = "rest") -> Presented:
    """Return what an HTTP request shows of who sends it; ``headers`` are its own."""
    peer = scope.get("client")
    return Presented(headers, scope["query_string"], peer[0] if peer else "", surface)


def read_service_parameters(headers: Mapping[str, str], query: bytes = b"") -> ServiceParameters:
    """Read headers, whose names are lower-case; the version may also stand in the query.

    Raises ``InvalidParams`` for a Last-Event-ID or Idempotency-Key that cannot be one.
    """
    version = version_of(headers, query)
    extensions = headers.get("a2a-extensions") or headers.get("x-a2a-extensions")
    key, last = headers.get("idempotency-key"), headers.get("last-event-id")
    return ServiceParameters(
        version=version,
        extensions=_names(extensions) if extensions else (),
        idempotency_key=None if key is None else _key(key),
        last_event_id=None if last is None else _seq(last),
    )


def version_of(headers: Mapping[str, str], query: bytes) -> str:
    """Return the version that a request names, "" when it names none."""
    if (version := headers.get("a2a-version")) or not query:
        return version or ""
    # The names of service parameters are case-insensitive.
    given = {name.lower(): value for name, value in QueryParams(query).items()}
    return given.get("a2a-version", "")


def _names(text: str) -> tuple[str, ...]:
    """Return the extensions that a list names, each once, in order."""
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _key(text: str) -> str:
    if not 1 <= len(text) <= KEY_CHARS or not text.isprintable():
        raise InvalidParams("Idempotency-Key", f"must have 1 to {KEY_CHARS} printable characters")
    return text


def _seq(text: str) -> int:
    digits = text.lstrip("0")[:_SEQ_CHARS] or "0"
    if not (text.isascii() and text.isdecimal() and int(digits) <= _MAX_SEQ):
        raise InvalidParams("Last-Event-ID", "must be the id of an event of this server")
    return int(digits)
