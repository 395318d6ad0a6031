"""A model server that does what the last message of the user says, in capitals; else it repeats it.

``CALL tool {...}``, ``CALL2 tool {...} | {...}``, ``MIX`` (add_numbers and get_weather) and
``BADARGS tool`` are calls, once; ``ALWAYSCALL tool {...}`` calls for as long as it may. ``STREAM n`` are n
words, ``LENGTH`` an answer that is cut off, ``HTTP code`` an error, ``MIDERROR`` and ``DROP`` a stream that
breaks after three words. Of the result of a tool it says so. A model with ``guard`` in its name finds
bombs unsafe; texts with the same words have the same embedding.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

MODELS = ("mock-llm", "mock-guard", "mock-embed")
DIMENSION = 64
_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_CALL = re.compile(r"(?<![A-Z])(CALL|ALWAYSCALL) (\S+) (\{.*?\})(?:\s|$)", re.DOTALL)
_TWO = re.compile(r"CALL2 (\S+) (\{.*?\}) \| (\{.*?\})")
_BROKEN = re.compile(r"BADARGS (\S+)")
_MIX = [("add_numbers", '{"a": 3, "b": 4}'), ("get_weather", '{"city": "Oslo"}')]

type Json = dict[str, Any]


class Plan(NamedTuple):
    """What is answered; ``breaks`` is how many words come before the stream breaks."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = "stop"
    status: int = 200
    breaks: str = ""


def plan(body: Json) -> Plan:
    """Decide what is said to a request."""
    last = body["messages"][-1]
    said = next(_text(m["content"]) for m in reversed(body["messages"]) if m["role"] == "user")
    heard = _text(last["content"])
    if "guard" in body["model"]:
        return Plan("unsafe\nS9" if "bomb" in heard.lower() else "safe")
    if wanted := re.search(r"HTTP (\d{3})", said):
        return Plan(status=int(wanted[1]))
    if calls := _calls(body, said, is_first=last["role"] == "user"):
        return Plan(calls=calls, finish="tool_calls")
    return Plan(f"Tool said: {heard}") if last["role"] == "tool" else _words(said)


def _words(said: str) -> Plan:
    for word in ("MIDERROR", "DROP"):
        if word in said.split():
            return Plan("one two three four", breaks=word)
    if wanted := re.search(r"STREAM (\d+)", said):
        return Plan(" ".join(f"w{number}" for number in range(int(wanted[1]))))
    return (
        Plan("cut off he", finish="length") if "LENGTH" in said.split() else Plan(f"Echo: {said}")
    )


def _calls(body: Json, said: str, *, is_first: bool) -> tuple[tuple[str, str], ...]:
    if body.get("tool_choice") == "none":
        return ()
    offered = {tool["function"]["name"] for tool in body.get("tools") or ()}
    wanted: list[tuple[str, str]] = []
    if (one := _CALL.search(said)) and (is_first or one[1] == "ALWAYSCALL"):
        wanted = [(one[2], one[3])]
    elif (two := _TWO.search(said)) and is_first:
        wanted = [(two[1], two[2]), (two[1], two[3])]
    elif (broken := _BROKEN.search(said)) and is_first:
        wanted = [(broken[1], '{"x": ')]
    elif "MIX" in said.split() and is_first:
        wanted = _MIX
    return tuple(wanted) if wanted and {name for name, _ in wanted} <= offered else ()


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""


class DirectedModel:
    """Answers; ``requests`` holds the bodies."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self._ids = itertools.count(1)
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/embeddings", self._embed, methods=["POST"]),
            ]
        )

    async def _models(self, _request: Request) -> Response:
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "test"} for model in MODELS
        ]
        return JSONResponse({"object": "list", "data": data})

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [
            {"object": "embedding", "index": index, "embedding": embedding(text)}
            for index, text in enumerate(texts)
        ]
        return JSONResponse(
            {"object": "list", "data": data, "model": body["model"], "usage": _USAGE}
        )

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        known = body["model"] in MODELS
        planned = plan(body) if known else Plan(status=404)
        if planned.status != 200:
            error = {"message": "secret internals", "code": planned.status}
            return JSONResponse({"error": error}, planned.status)
        chunks = self._chunks(body["model"], planned)
        return StreamingResponse(_stream(chunks, planned.breaks), media_type="text/event-stream")

    def _chunks(self, model: str, planned: Plan) -> Iterator[Json]:
        head = {
            "id": f"chatcmpl-{next(self._ids)}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": model,
        }
        for delta in self._deltas(planned):
            yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": planned.finish}]}
        yield head | {"choices": [], "usage": _USAGE}

    def _deltas(self, planned: Plan) -> Iterator[Json]:
        for index, (name, arguments) in enumerate(planned.calls):
            function = {"name": name, "arguments": arguments}
            call_id = f"call_{next(self._ids)}"
            call = {"index": index, "id": call_id, "type": "function", "function": function}
            yield {"tool_calls": [call]}
        for word in re.findall(r"\S+\s*", planned.text):
            yield {"content": word}


async def _stream(chunks: Iterator[Json], breaks: str) -> AsyncIterator[str]:
    for number, chunk in enumerate(chunks):
        if breaks and number == 3:
            if breaks == "DROP":
                raise ConnectionAbortedError
            yield _line({"error": {"message": "secret internals", "code": 500}})
            return
        yield _line(chunk)
    yield "data: [DONE]\n\n"


def _line(chunk: Json) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def embedding(text: str) -> list[float]:
    """Return what is alike for texts with the same words."""
    vector = [0.0] * DIMENSION
    for word in re.findall(r"\w+", text.lower()):
        vector[hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1.0
    return vector
