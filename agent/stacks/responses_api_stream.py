"""The stream of a response, from the server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from agent.errors import InvalidAgentResponse
from agent.stacks.client import translating
from agent.stacks.responses_api_shields import explaining_refusals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llama_stack_client import AsyncLlamaStackClient, AsyncStream

    from agent.stacks.responses_api_events import Translation
    from agent.stacks.turn import Json


async def stream(
    client: AsyncLlamaStackClient,
    body: dict[str, Json],
    translation: Translation,
    settle_seconds: float,
) -> AsyncGenerator[Json]:
    """Yield the decoded events of a response, up to the one that ``translation`` takes for the last.

    The server may hang up within ``settle_seconds`` then.
    """
    from llama_stack_client import AsyncStream  # takes a second to import

    rest = {key: value for key, value in body.items() if key not in ("model", "input")}
    opening: Any = client.responses.with_streaming_response.create(
        model=body["model"], input=body["input"], stream=True, extra_body=rest
    )
    with translating(), explaining_refusals(body):
        async with opening as answer:
            # plain JSON: the client's own models know only 0.3.5 and cost more than the rest
            events = await answer.parse(to=AsyncStream[object])
            try:
                async for wire in events:
                    yield wire
                    if translation.finished:
                        break
            except UnicodeDecodeError as exc:
                raise InvalidAgentResponse from exc
            await _settle(events, settle_seconds)


async def _settle(events: AsyncStream[object], seconds: float) -> None:
    """Let the server hang up: 0.3.5 files the answer only after its last event."""
    with anyio.move_on_after(seconds), suppress(httpx.HTTPError, ValueError):
        async for _ in events:
            pass
