"""Calls of a Llama Stack that are passed on as they are: JSON and event streams, errors in our words."""

from __future__ import annotations

import re
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.errors import (
    AgentError,
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    NotProvided,
    PromptTooLong,
    ResourceNotFound,
    StackError,
    StackTimeout,
    StackUnavailable,
    TooManyTasks,
)
from agent.stacks.azure_headers import azure_headers
from agent.stacks.client import (
    ConversationLost,
    ToolGroupUnknown,
    ask,
    meaning,
    plain,
    translating,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    import httpx

    from agent.stacks.remote import RemoteStack
    from agent.stacks.turn import Json

ANSWER_BYTES = 64 * 1024 * 1024
LINE_BYTES = 16 * 1024 * 1024
RETRY_AFTER_SECONDS = 5

_MISSING = re.compile(r"\bnot (be )?found\b|\bcould not find\b|\bdoes not exist\b", re.IGNORECASE)
_NO_PATH = re.compile(r'^{"detail": ?"Not Found"}$')
_MIME = re.compile(r"\bmime type\b", re.IGNORECASE)
_TAKEN = re.compile(r"\balready exists\b", re.IGNORECASE)
_STATUS = re.compile(r"(\d{3}): ")
_NAME = re.compile(r"\w{1,64}", re.ASCII)
_DATA = b"data:"
_BAD, _NOT_FOUND, _TOO_MANY, _NOT_IMPLEMENTED, _FAILED = 400, 404, 429, 501, 500


class About(NamedTuple):
    """What a call is about, as ``ResourceNotFound`` has it."""

    kind: str
    identifier: str


class Taken(InvalidParams):
    """The server has such a thing already."""


class Forward:
    """Calls a Llama Stack. A call is sent once: nothing is tried again."""

    def __init__(self, stack: RemoteStack, lost: Callable[[], None]) -> None:
        """Nothing is opened; the stack, opened before, says where its server is.

        ``lost`` is called when the server has nothing at a path that it had.
        """
        self.stack = stack
        """What else the server does."""
        self._lost = lost
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Build the client; nothing is sent."""
        settings = self.stack.settings
        self._http = plain(settings, azure_headers(settings, partial(ask, settings)))

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        about: About,
        *,
        json: Json = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Json:
        """Return the JSON of an answer; None for an empty one.

        Raises ``ResourceNotFound`` of ``about``, ``Taken``, ``InvalidParams``, ``NotProvided``,
        ``TooManyTasks`` and ``StackError``.
        """
        async with aclosing(self._sent(method, path, about, json, params)) as pieces:
            body = await _joined(pieces)
        return _decoded(body) if body else None

    async def stream(
        self, path: str, about: About, json: Json, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Json]:
        """Yield the values of an event stream; raises as ``call`` does, for an error within it too."""
        sent = self._sent("POST", path, about, json, None, headers)
        async with aclosing(sent) as pieces, aclosing(_events(pieces)) as events:
            async for event in events:
                error = event.get("error") if isinstance(event, dict) else None
                if error is not None:
                    raise _of_chunk(error, about)
                yield event

    async def _sent(
        self,
        method: str,
        path: str,
        about: About,
        json: Json,
        params: Mapping[str, str | int] | None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[bytes]:
        """Yield the body of an answer piece by piece."""
        assert self._http is not None  # noqa: S101 - opened with the server
        request = self._http.build_request(method, path, json=json, params=params, headers=headers)
        with translating():
            answer = await self._http.send(request, stream=True)
            try:
                if not answer.is_success:
                    said = (await _joined(answer.aiter_bytes())).decode(errors="replace")
                    if _is_gone(answer.status_code, said):
                        self._lost()
                    raise refusal(answer.status_code, said, about)
                async for piece in answer.aiter_bytes():
                    yield piece
            finally:
                await answer.aclose()


async def _joined(pieces: AsyncIterator[bytes]) -> bytes:
    """Return a whole body; raises ``InvalidAgentResponse`` for one that is too large."""
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > ANSWER_BYTES:
            raise InvalidAgentResponse
    return bytes(body)


async def _events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Json]:
    """Yield the data of server-sent events, each of which is one line here."""
    held = bytearray()
    async for piece in pieces:
        held += piece
        if b"\n" in piece:
            *lines, rest = bytes(held).split(b"\n")
            held = bytearray(rest)
            for line in lines:
                if line.startswith(_DATA):
                    yield _decoded(line[len(_DATA) :])
        if len(held) > LINE_BYTES:
            raise InvalidAgentResponse
    if held.startswith(_DATA):
        yield _decoded(bytes(held[len(_DATA) :]))


def _decoded(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise InvalidAgentResponse from exc


def _of_chunk(error: Json, about: About) -> AgentError:
    """Say what an error within a stream means: its text begins with the status it would have had."""
    said = str(error.get("message", "")) if isinstance(error, dict) else ""
    status = _STATUS.match(said)
    return refusal(int(status[1]) if status else _FAILED, said, about)


def refusal(status: int, said: str, about: About) -> AgentError:
    """Say in our words what the server says in its own: 0.3.5 has 400 for nearly everything."""
    known = meaning(status, said)
    if isinstance(known, ModelNotFound | PromptTooLong | StackUnavailable | StackTimeout):
        return known
    found = _refused(status, said, about, known)
    found.__cause__ = known.__cause__
    return found


def _refused(status: int, said: str, about: About, known: StackError) -> AgentError:
    """Return what is wrong with the request, or what went wrong on the server's side."""
    if isinstance(known, ConversationLost) or _lacks(status, said, about):
        return ResourceNotFound(*about)
    if status == _NOT_IMPLEMENTED:
        return NotProvided("The Llama Stack behind this server does not provide this.")
    if status == _TOO_MANY:
        return TooManyTasks(RETRY_AFTER_SECONDS)
    return _invalid(said, about, known) if _BAD <= status < _FAILED else known


def _invalid(said: str, about: About, known: StackError) -> InvalidParams:
    if isinstance(known, ToolGroupUnknown):
        return InvalidParams("toolgroups", "the Llama Stack does not know a tool group of these")
    if _MIME.search(said):
        return InvalidParams("documents", "the Llama Stack does not take a type of these")
    if _TAKEN.search(said):
        return Taken(about.kind, f"{about.identifier} exists already")
    return _field_of(said) or InvalidParams("body", known.message)


def _lacks(status: int, said: str, about: About) -> bool:
    """Whether the server does not have what the call is about, or nothing at this path any more."""
    if _is_gone(status, said):
        return True
    named = about.kind.rpartition(" ")[2] in said.lower()
    return status in (_BAD, _NOT_FOUND) and named and _MISSING.search(said) is not None


def _is_gone(status: int, said: str) -> bool:
    return status == _NOT_FOUND and _NO_PATH.search(said) is not None


class _Field(msgspec.Struct):
    loc: list[str | int]
    type: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Field]


class _Detail(msgspec.Struct):
    detail: _Errors


class _Invalid(msgspec.Struct):
    error: _Detail


def _field_of(said: str) -> InvalidParams | None:
    """Name the first field that the server finds wrong: names are ours, its text may quote what was sent."""
    try:
        fields = msgspec.json.decode(said, type=_Invalid).error.detail.errors
    except (msgspec.DecodeError, RecursionError):
        return None
    names = [str(name) for name in fields[0].loc[1:]] if fields else []
    if not names or not all(_NAME.fullmatch(name) for name in names):
        return None
    problem = "is missing" if fields[0].type == "missing" else "is not valid for the Llama Stack"
    return InvalidParams(".".join(names), problem)
