"""Lines of the log, without what other servers said."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, override

from uvicorn.logging import ColourizedFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = frozenset(
    {
        *("httpcore", "httpcore2", "httpx", "httpx2"),
        *("grpc", "jwt", "llama_stack_client", "mcp"),
        "pydantic_core",  # repeats what it could not read
    }
)
"""Packages whose exceptions say what came from outside."""

MOST = 20
"""Exceptions of one chain or group that are told."""

_CAUSED = "The above exception was the direct cause of the following exception:"
_WHILE = "During handling of the above exception, another exception occurred:"


class LogLines(ColourizedFormatter):
    """Tells of an exception of a client library where it was raised, but not what it says.

    That is what the other side said, and a careless one repeats the credentials that it was shown.
    """

    @override
    def formatException(self, ei: object) -> str:
        error = ei[1] if isinstance(ei, tuple) else None
        return "\n".join(_told(error, set())) if isinstance(error, BaseException) else ""


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Yield lines about an exception, after those about what led to it, each once."""
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen and len(seen) < MOST:
        yield from _told(before, seen)
        yield f"\n{_CAUSED if error.__cause__ else _WHILE}\n"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield _named(error)
    if isinstance(error, BaseExceptionGroup):
        for number, part in enumerate(error.exceptions, 1):
            if len(seen) < MOST:
                yield f"\nNumber {number} of this group:\n"
                yield from _told(part, seen)


def _named(error: BaseException) -> str:
    kind = type(error)
    package = kind.__module__.partition(".")[0]
    name = kind.__qualname__ if package == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    said = "(what it says is not logged)" if package in CLIENTS else str(error)
    return f"{name}: {said}" if said else name
