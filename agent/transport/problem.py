"""A refusal that is about the transport, as HTTP+JSON writes errors, and as REST does."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping


def problem(
    code: int, status: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response; ``status`` is a name of gRPC's.

    What the path is is not known yet, and so is not in whose words its callers read errors.
    """
    error = {"code": code, "status": status, "message": message}
    detail = {"response": HTTPStatus(code).phrase, "cause": message}
    body = msgspec.json.encode({"error": error, "detail": detail})
    return Response(body, code, headers, "application/json")
