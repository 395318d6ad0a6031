"""A model that answers at once: OpenAI's chat completions in three pieces, bytes that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    type Message = MutableMapping[str, Any]
    type Receive = Callable[[], Awaitable[Message]]
    type Send = Callable[[Message], Awaitable[None]]

PIECES = ("All ", "is ", "well.")
NAME = "stub"


def _chunk(choices: list[Any], usage: Any = None) -> bytes:
    chunk = {
        "id": "chatcmpl-stub",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": NAME,
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _choice(delta: dict[str, str], finish: str | None = None) -> list[Any]:
    return [{"index": 0, "delta": delta, "finish_reason": finish}]


_USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
_ANSWER = b"".join(
    [
        *(_chunk(_choice({"content": piece})) for piece in PIECES),
        _chunk(_choice({}, "stop")),
        _chunk([], _USAGE),
        b"data: [DONE]\n\n",
    ]
)
_MODELS = msgspec.json.encode(
    {
        "object": "list",
        "data": [{"id": NAME, "object": "model", "created": 0, "owned_by": "bench"}],
    }
)


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer a completion, or say which models there are."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    is_list = scope["method"] == "GET"
    kind = b"application/json" if is_list else b"text/event-stream"
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _MODELS if is_list else _ANSWER})
