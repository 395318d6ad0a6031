"""A refusal that is about the transport, as HTTP+JSON writes errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping


def problem(
    code: int, status: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response; ``status`` is a name of gRPC's."""
    error = {"code": code, "status": status, "message": message}
    body = msgspec.json.encode({"error": error})
    return Response(body, code, headers, "application/json")
