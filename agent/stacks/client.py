"""The one client of a real Llama Stack, shared by both stacks that talk to one.

Three things are settled here and nowhere else: how the client is built, what its errors mean to
us, and which of the two stacks a server needs.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

import httpx
import msgspec

from agent.errors import (
    InvalidAgentResponse,
    ModelNotFound,
    PromptTooLong,
    StackError,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
)
from agent.stacks.azure_headers import azure_headers
from agent.stacks.place import place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from llama_stack_client import AsyncLlamaStackClient

    from agent.settings import Settings
    from agent.stacks.azure_headers import AzureHeaders


class ConversationLost(TurnFailed):
    """The conversation is no longer known to Llama Stack."""


class ToolGroupUnknown(TurnFailed):
    """Llama Stack does not know a tool group of this agent."""


class ToolAccessRefused(StackUnavailable):
    """A tool of Llama Stack does not accept the credentials of this agent."""


_ID = re.compile(r"[\w-]+", re.ASCII)
_CONNECT_SECONDS = 10.0
# One connection per running turn: how many run is bounded elsewhere. One is used again for a moment only:
# servers close them after 5 seconds, and a turn that is sent just then breaks, and must not be sent twice.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=2.0)
_VERSION_HEADER = "X-LlamaStack-Client-Version"

# What Llama Stack says tells more than its status: a lost session is a 400 on 0.3.5, a 404 later.
_MEANINGS: tuple[tuple[re.Pattern[str], type[StackError], str | None], ...] = (
    (
        re.compile(r"context[_ ](length|window)|maximum context|prompt is too long", re.IGNORECASE),
        PromptTooLong,
        None,
    ),
    (re.compile(r"\bmodel\b.*\bnot found\b", re.IGNORECASE), ModelNotFound, None),
    (
        re.compile(
            r"could not find agent"
            r"|\b(session|conversation)\b.*\bnot found\b"
            r"|\bresponse\b.*\bnot found\b",
            re.IGNORECASE,
        ),
        ConversationLost,
        None,
    ),
    # 0.3.5 says this also of one whose server it could not ask for its tools
    (re.compile(r"\btool ?group\b.*\bnot found\b", re.IGNORECASE), ToolGroupUnknown, None),
    # of MCP servers only; models whose server answers 401 are told of in other words
    (re.compile(r"^401: Authentication required\b"), ToolAccessRefused, None),
    (
        re.compile(r"\bshield\b.*\bnot (served|found)\b", re.IGNORECASE),
        TurnFailed,
        "Llama Stack does not know a shield of this agent.",
    ),
    (
        re.compile(r"failed to parse arguments for tool call", re.IGNORECASE),
        TurnFailed,
        "The model called a tool with arguments that are not JSON.",
    ),
)

_STATUSES: dict[int, tuple[type[StackError], str | None]] = {
    400: (TurnFailed, "Llama Stack or its model refused the request as invalid."),
    401: (
        StackUnavailable,
        "Llama Stack or a tool of it does not accept the credentials of this agent.",
    ),
    403: (
        StackUnavailable,
        "Llama Stack or a tool of it does not accept the credentials of this agent.",
    ),
    404: (TurnFailed, "Llama Stack does not know what the request names."),
    408: (StackTimeout, None),
    413: (TurnFailed, "The request is larger than Llama Stack accepts."),
    426: (StackUnavailable, "The version of Llama Stack does not fit this agent."),
    429: (TurnFailed, "The model is busy; try again later."),
    501: (TurnFailed, "Llama Stack does not support what the request needs."),
    502: (StackUnavailable, None),
    503: (StackUnavailable, None),
    504: (StackTimeout, None),
}


def connect(settings: Settings) -> AsyncLlamaStackClient:
    """Build the client; nothing is sent. It never retries: a turn must not run twice.

    ``settings.llama_stack.timeout`` bounds the wait for the next bytes, not the whole turn.
    """
    _import_client()
    from llama_stack_client import (  # takes a second to import
        AsyncLlamaStackClient,
        DefaultAsyncHttpxClient,
    )

    stack = settings.llama_stack
    timeout = _timeout(settings)
    base_url, transport = place_of(stack.url, _LIMITS)
    client = AsyncLlamaStackClient(
        base_url=base_url,
        api_key=stack.api_key.get_secret_value() if stack.api_key else "",
        timeout=timeout,
        max_retries=0,
        http_client=DefaultAsyncHttpxClient(
            timeout=timeout,
            limits=_LIMITS,
            transport=transport,
            event_hooks={
                "request": [_drop_headers, *azure_headers(settings, partial(ask, settings))]
            },
        ),
    )
    if not stack.api_key:
        client.api_key = None  # it was "" above to keep the client from looking in the environment
    return client


def _import_client() -> None:
    """Import the client, which sets up the root logger when nobody has: undo that."""
    if "llama_stack_client" in sys.modules:
        return
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    import llama_stack_client  # noqa: F401  # for what it does at import

    root.handlers[:] = handlers
    root.setLevel(level)


async def _drop_headers(request: httpx.Request) -> None:
    """Servers answer 426 unless this header names their own version."""
    request.headers.pop(_VERSION_HEADER, None)


async def served_paths(settings: Settings) -> frozenset[str]:
    """Return the paths of the server's OpenAPI document; none where it does not show the document."""
    answer = await ask(settings, "/openapi.json")
    if answer.status_code in (401, 403) or answer.status_code >= 500:
        raise meaning(answer.status_code, "")
    try:
        return frozenset(msgspec.json.decode(answer.content, type=_OpenApi).paths)
    except msgspec.MsgspecError:
        return frozenset()


def stack_for(paths: Collection[str]) -> Literal["agents_api", "responses_api"]:
    """Tell which stack a server with these paths needs: every version serves ``responses_api``."""
    return "agents_api" if "/v1alpha/agents" in paths else "responses_api"


async def ask(settings: Settings, path: str) -> httpx.Response:
    """Ask the server without the client library."""
    with translating():
        async with plain(settings) as http:
            return await http.get(path, follow_redirects=True)


def plain(settings: Settings, hooks: Sequence[AzureHeaders] = ()) -> httpx.AsyncClient:
    """Build a client of the server that is not the client library's; nothing is sent."""
    stack = settings.llama_stack
    headers = {}
    if stack.api_key:
        headers["Authorization"] = f"Bearer {stack.api_key.get_secret_value()}"
    base_url, transport = place_of(stack.url, _LIMITS)
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=_timeout(settings),
        headers=headers,
        limits=_LIMITS,
        transport=transport,
        event_hooks={"request": [*hooks]},
    )


class _OpenApi(msgspec.Struct):
    """What is read of an OpenAPI document."""

    paths: dict[str, msgspec.Raw] = {}


def _timeout(settings: Settings) -> httpx.Timeout:
    seconds = float(settings.llama_stack.timeout)
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


@contextmanager
def translating() -> Iterator[None]:
    """Turn the errors of the client, of httpx and of decoding into ours; all others pass."""
    _import_client()
    from llama_stack_client import LlamaStackClientError  # takes a second

    try:
        yield
    except (
        LlamaStackClientError,
        httpx.HTTPError,
        httpx.InvalidURL,
        json.JSONDecodeError,
        UnicodeDecodeError,
    ) as exc:
        raise translate(exc) from exc


def translate(exc: Exception) -> StackError:
    """Say in our words what an error of the client, of httpx or of decoding means.

    The result never holds the text of ``exc``; raise it ``from exc``.
    """
    if isinstance(exc.__cause__, httpx.TransportError | StackError):
        exc = exc.__cause__  # the client wraps what httpx or a hook says when there was no answer
    if isinstance(exc, StackError):
        return exc
    if isinstance(exc, httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ConnectError):
        return StackUnavailable()
    if isinstance(exc, httpx.TimeoutException):
        return StackTimeout()
    if isinstance(exc, httpx.RemoteProtocolError | httpx.ReadError):
        return TurnFailed("The connection to Llama Stack broke.")
    if isinstance(exc, httpx.HTTPError | httpx.InvalidURL):
        return StackUnavailable()
    return _of_client(exc)


def _of_client(exc: Exception) -> StackError:
    from llama_stack_client import (  # takes a second to import
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
    )

    if isinstance(exc, APITimeoutError):
        return StackTimeout()
    if isinstance(exc, APIConnectionError):
        return StackUnavailable()
    if isinstance(exc, APIStatusError):
        return meaning(exc.status_code, str(exc.body))
    return InvalidAgentResponse()


def safe(identifier: str) -> str:
    """Return an id that is to be a segment of a path; no server knows one that cannot be."""
    if not _ID.fullmatch(identifier):
        raise ConversationLost
    return identifier


class Reported(Exception):
    """What Llama Stack itself says went wrong: for the log, never for a caller."""


def meaning(status: int, said: str) -> StackError:
    """Classify an error that Llama Stack reports, in an answer or within a stream.

    ``said`` is its text; it decides what the error is and appears only as the cause of the result.
    """
    error, text = _STATUSES.get(status, (TurnFailed, "Llama Stack could not finish the turn."))
    for pattern, meant, its_text in _MEANINGS:
        if pattern.search(said):
            error, text = meant, its_text
            break
    found = error(text)
    found.__cause__ = Reported(said)
    return found
