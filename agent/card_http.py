"""The agent card and the key it is signed with, over HTTP: for everybody, with conditions."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request

    from agent.card import Body, Card

_ETAG = re.compile(r'"[^"]*"')


def card_response(request: Request, card: Card) -> Response:
    """Answer GET and HEAD, with or without conditions; ``?version=`` chooses a dialect."""
    body = card.body(request.query_params.get("version"))
    if body is None:
        return _unknown_version(card)
    return _response(request, body, card)


def key_set_response(request: Request, card: Card) -> Response:
    """Answer GET and HEAD with the public key; 404 when the card is not signed."""
    if card.key_set is None:
        return Response(status_code=404)
    return _response(request, card.key_set, card)


def _response(request: Request, body: Body, card: Card) -> Response:
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
        return last_modified <= (since if since.tzinfo else since.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return False
