"""The agent card: computed once at start, served without authentication."""

from __future__ import annotations

import hashlib
import logging
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from agent.card_dialects import Facts, Features, card_0_3, card_1_0, card_hybrid
from agent.card_document import read_card_document
from agent.card_truth import truthful

if TYPE_CHECKING:
    from starlette.requests import Request

    from agent.settings import Settings

__all__ = ["Body", "Card", "Features", "card_response", "load_card"]

_log = logging.getLogger(__name__)
_ETAG = re.compile(r'"[^"]*"')


class Body(msgspec.Struct, frozen=True):
    """One way to write the card: JSON, and a strong entity tag with its quotes."""

    content: bytes
    etag: str


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The card in all its ways: the keys of ``bodies`` are ``hybrid``, ``1.0`` and ``0.3``."""

    name: str
    bodies: dict[str, Body]
    default: str
    max_age: int
    last_modified: datetime

    def body(self, wanted: str | None) -> Body | None:
        """Choose by ``?version=``, whose patch number does not count; None when there is none."""
        if wanted is None:
            return self.bodies[self.default]
        return self.bodies.get(".".join(wanted.split(".")[:2]))


def load_card(settings: Settings, features: Features, started: datetime) -> Card:
    """Read the card's document and write the card; raises ``SettingsError``.

    What the document says wrongly is overruled and logged. ``started`` becomes Last-Modified, since
    a new start may come with other settings.
    """
    base_url = settings.service.public_url
    written = read_card_document(settings.customization)
    document, overruled = truthful(written, features, f"{base_url}/a2a")
    if overruled:
        _log.warning("The agent card says what is not so; left out: %s", ", ".join(overruled))
    facts = Facts(
        document=document,
        features=features,
        version=document.version or _own_version(),
        base_url=base_url,
        tenants=settings.a2a.tenants,
    )
    dialects = {"hybrid": card_hybrid, "1.0": card_1_0, "0.3": card_0_3}
    return Card(
        name=document.name,
        bodies={name: _body(msgspec.json.encode(write(facts))) for name, write in dialects.items()},
        default=settings.a2a.card_version,
        max_age=settings.a2a.card_max_age_seconds,
        last_modified=started.astimezone(UTC).replace(microsecond=0),
    )


def card_response(request: Request, card: Card) -> Response:
    """Answer GET and HEAD, with or without conditions; ``?version=`` chooses a dialect."""
    body = card.body(request.query_params.get("version"))
    if body is None:
        return _unknown_version(card)
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": f"public, max-age={card.max_age}",
        "ETag": body.etag,
        "Last-Modified": format_datetime(card.last_modified, usegmt=True),
    }
    if _is_fresh(request, body, card.last_modified):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(body.content))
    content = b"" if request.method == "HEAD" else body.content
    return Response(content, headers=headers, media_type="application/json")


def _unknown_version(card: Card) -> Response:
    known = ", ".join(card.bodies)
    error = {
        "code": 400,
        "status": "FAILED_PRECONDITION",
        "message": f"There is no agent card of this version; version is one of {known}.",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "VERSION_NOT_SUPPORTED",
                "domain": "a2a-protocol.org",
            }
        ],
    }
    return Response(
        msgspec.json.encode({"error": error}),
        status_code=400,
        headers={"Access-Control-Allow-Origin": "*"},
        media_type="application/json",
    )


def _is_fresh(request: Request, body: Body, last_modified: datetime) -> bool:
    """Whether the caller has this body already; entity tags win over dates (RFC 9110, 13.2.2)."""
    tags = ",".join(request.headers.getlist("if-none-match"))
    if tags:
        return tags.strip() == "*" or body.etag in _ETAG.findall(tags)
    try:
        since = parsedate_to_datetime(request.headers.get("if-modified-since", ""))
    except ValueError:
        return False
    return last_modified <= (since if since.tzinfo else since.replace(tzinfo=UTC))


def _body(content: bytes) -> Body:
    return Body(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _own_version() -> str:
    try:
        return version("llamastack-a2a")
    except PackageNotFoundError:  # a source tree that is not installed
        return "0.0.0"
