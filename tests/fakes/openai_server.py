"""A small model server that speaks OpenAI's API and says what a script tells it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response

USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}


@dataclass(frozen=True)
class Reply:
    """One answer: chunks of a stream, or a status with an error body.

    ``ending``: ``done`` ends the stream as it should end, ``cut`` before its end, ``error`` with an
    error chunk, ``hang`` never, ``noise`` with a line that is no JSON.
    """

    deltas: tuple[dict[str, Any], ...] = ()
    finish: str = "stop"
    status: int = 200
    body: Any = None
    ending: str = "done"
    usage: dict[str, int] | None = field(default_factory=lambda: dict(USAGE))


def says(*pieces: str, finish: str = "stop", ending: str = "done") -> Reply:
    """Stream a text in pieces."""
    return Reply(tuple({"content": piece} for piece in pieces), finish, ending=ending)


def calls(*wanted: tuple[str, str, str], text: str = "", finish: str = "tool_calls") -> Reply:
    """Stream tool calls (id, name, arguments), the arguments in two pieces."""
    deltas: list[dict[str, Any]] = [{"content": text}] if text else []
    for index, (call_id, name, arguments) in enumerate(wanted):
        half = len(arguments) // 2
        function = {"name": name, "arguments": arguments[:half]}
        first = {"index": index, "id": call_id, "type": "function", "function": function}
        rest = {"index": index, "function": {"arguments": arguments[half:]}}
        deltas += [{"tool_calls": [first]}, {"tool_calls": [rest]}]
    return Reply(tuple(deltas), finish)


def fails(status: int, message: str = "secret internals") -> Reply:
    """Answer with an error."""
    return Reply(status=status, body={"error": {"message": message, "code": None}})


class OpenAIServer:
    """Answers requests with the replies of its script, in order; then it repeats the last one.

    ``requests`` holds the bodies, ``hung`` is set when a stream hangs, ``gone`` when its client is.
    Texts are embedded as ``vector_of`` has it, by its ``models``; ``embedded`` holds these bodies.
    """

    def __init__(self, *script: Reply, models: tuple[str, ...] = ("tiny",)) -> None:
        """Take the replies."""
        self.script = list(script) or [says("Hello.")]
        self.models = models
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.embedded: list[dict[str, Any]] = []
        self.vector_of: Callable[[str], Any] = lambda text: [float(len(text)), 1.0]
        self.hung = asyncio.Event()
        self.gone = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/embeddings", self._embed, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )

    async def _models(self, _request: Request) -> Response:
        data = [
            {"id": name, "object": "model", "created": 1, "owned_by": "test"}
            for name in self.models
        ]
        return JSONResponse({"object": "list", "data": data})

    async def _complete(self, request: Request) -> Response:
        self.requests.append(await request.json())
        self.headers.append(dict(request.headers))
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(reply.body, str):
            return PlainTextResponse(reply.body, reply.status)
        if reply.status != 200:
            return JSONResponse(reply.body, reply.status)
        return StreamingResponse(self._stream(reply), media_type="text/event-stream")

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        self.embedded.append(body)
        if body["model"] not in self.models:
            return JSONResponse({"error": {"message": "secret internals"}}, 404)
        data = [
            {"object": "embedding", "index": index, "embedding": self.vector_of(text)}
            for index, text in enumerate(body["input"])
        ]
        # the order of the answers is nobody's promise
        return JSONResponse({"object": "list", "data": data[::-1], "model": body["model"]})

    async def _stream(self, reply: Reply) -> AsyncIterator[str]:
        for delta in reply.deltas:
            yield _chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        match reply.ending:
            case "done":
                yield _chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reply.finish}])
                if reply.usage:
                    yield _chunk(choices=[], usage=reply.usage)
                yield "data: [DONE]\n\n"
            case "error":
                yield f"data: {json.dumps({'error': {'message': 'secret internals'}})}\n\n"
            case "noise":
                yield "data: {not json\n\n"
            case "hang":
                self.hung.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.gone.set()


def _chunk(**fields: Any) -> str:
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "tiny", **fields}
    return f"data: {json.dumps(chunk)}\n\n"
