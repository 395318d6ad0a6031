"""What goes wrong at a model server, in our words: what the server said decides and is never passed on."""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from agent.errors import (
    InvalidAgentResponse,
    ModelNotFound,
    PromptTooLong,
    StackError,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# OpenAI, Azure and Ollama; vLLM; llama.cpp; those that speak for Anthropic's models
_TOO_LONG = re.compile(
    r"context_length|maximum context|exceed\w* the (available )?context|prompt is too long",
    re.IGNORECASE,
)
_NO_MODEL = "model_not_found"

_REFUSED = "The model server refused the credentials."
_STATUSES: dict[int, tuple[type[StackError], str]] = {
    401: (StackUnavailable, _REFUSED),
    403: (StackUnavailable, _REFUSED),
    408: (StackTimeout, "The model server did not answer in time."),
    413: (PromptTooLong, "The conversation is larger than the model server accepts."),
    429: (TurnFailed, "The model server is busy or its quota is used up; try again later."),
    504: (StackTimeout, "The model server did not answer in time."),
}


class ServerRefused(Exception):
    """An error answer of a model server; ``said`` never leaves this process."""

    def __init__(self, status: int, said: str) -> None:
        """Keep its status, and what it says of it."""
        super().__init__(status)
        self.status = status
        self.said = said


class BrokenOff(Exception):
    """A stream that a model server ended with an error; ``said`` never leaves this process."""

    def __init__(self, said: str) -> None:
        """Keep what it says."""
        super().__init__()
        self.said = said


@contextmanager
def translating(model: str) -> Iterator[None]:
    """Turn what goes wrong with a ``ModelServer`` into our errors; all others pass."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as exc:
        raise StackTimeout("The model server did not answer in time.") from exc
    except (httpx.RequestError, httpx.InvalidURL, ssl.SSLError, anyio.EndOfStream) as exc:
        raise StackUnavailable("The model server cannot be reached.") from exc
    except ServerRefused as exc:
        raise _meaning(exc.status, exc.said, model) from exc
    except BrokenOff as exc:
        if _TOO_LONG.search(exc.said):
            raise PromptTooLong from exc
        raise TurnFailed("The model server broke off the answer with an error.") from exc
    except (ValueError, AttributeError, TypeError, RecursionError) as exc:
        # what is no JSON, or not of the shape that OpenAI's has
        raise InvalidAgentResponse("The model server's answer is not understood.") from exc


def _meaning(status: int, said: str, model: str) -> StackError:
    """Classify an error answer; ``said`` decides what it is and never appears in the result."""
    if _TOO_LONG.search(said):
        return PromptTooLong()
    if status == 404 or _NO_MODEL in said:
        return ModelNotFound(
            f"The model server does not know the model {model}." if model else None
        )
    if status in _STATUSES:
        error, text = _STATUSES[status]
        return error(text)
    did = "failed" if status >= 500 else "refused the request"
    return TurnFailed(f"The model server {did} (HTTP {status}).")
