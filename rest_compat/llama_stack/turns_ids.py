"""Which turns of a session are asked for: in the query, as the API says, or in the body of the GET.

Llama Stack 0.3.5 reads a list in the body, although its document says otherwise.
"""

from typing import Annotated

import msgspec
from fastapi import Query
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator

from rest_compat.llama_stack.agents_config import NAME_CHARS
from rest_compat.llama_stack.agents_ids import printable
from rest_compat.problems import InvalidFields

IDS = 1000
"""Most turns that are named."""


def _checked(ids: list[str]) -> list[str]:
    if len(ids) > IDS:
        raise ValueError(f"must name {IDS} turns at most")
    for one in ids:
        if len(printable(one)) > NAME_CHARS:
            raise ValueError(f"an id has {NAME_CHARS} characters at most")
    return ids


def _ids(value: list[str]) -> list[str]:
    """Clients write lists with commas, or name the parameter once for each."""
    return _checked([one for given in value for one in given.split(",") if one])


TurnIds = Annotated[
    Annotated[list[str], AfterValidator(_ids)] | None,
    Query(description="(Optional) List of turn IDs to filter the session by."),
]


def ids_of_body(body: bytes) -> list[str] | None:
    """Return the ids of a body that has any."""
    if not body:
        return None
    try:
        ids = msgspec.json.decode(body, type=list[str] | None)
    except msgspec.ValidationError as exc:
        raise _invalid("Input should be a valid list of strings", "list_type") from exc
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise _invalid("JSON decode error", "json_invalid") from exc
    try:
        return None if ids is None else _checked(ids)
    except ValueError as exc:
        # The text is ours.
        raise _invalid(f"Value error, {exc}", "value_error") from exc


def _invalid(says: str, kind: str) -> InvalidFields:
    return InvalidFields(RequestValidationError([{"loc": ("body",), "msg": says, "type": kind}]))
