"""The embedded stack for tests: opened, with a model server if need be, and asked."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from msgspec.structs import replace

from agent.settings import Settings
from agent.stacks import (
    StepEnded,
    StepRecorded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnRequest,
)
from agent.stacks.embedded import EmbeddedStack
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from tests.fakes.openai_server import OpenAIServer

FOLDER = Path(__file__).parent / "knowledge"


@asynccontextmanager
async def stack_on(
    database: Any, folder: Path = FOLDER, **sections: Any
) -> AsyncIterator[EmbeddedStack]:
    """Open a stack; whatever is done with it has to end in time."""
    stack = EmbeddedStack(Settings.model_validate(sections), database, folder)
    await stack.open()
    try:
        with anyio.fail_after(20):
            yield stack
    finally:
        await stack.close()


@asynccontextmanager
async def stack_with(
    database: Database, server: OpenAIServer, **sections: Any
) -> AsyncIterator[EmbeddedStack]:
    """Open a stack with a model server."""
    async with AsyncExitStack() as exits:
        url = await exits.enter_async_context(run_server(server.app))
        openai = {"base_url": f"{url}/v1", "api_key": "k"} | sections.pop("openai", {})
        yield await exits.enter_async_context(stack_on(database, openai=openai, **sections))


def request(conversation_id: str, *parts: Any, **fields: Any) -> TurnRequest:
    defaults = {"task_id": "t", "context_id": "c", "message_id": "m", "owner": "me", "tenant": ""}
    return TurnRequest(conversation_id=conversation_id, parts=parts, **(defaults | fields))


async def run(stack: EmbeddedStack, conversation_id: str, *parts: Any, **fields: Any) -> list[Any]:
    said = [TextPart(part) if isinstance(part, str) else part for part in parts]
    return [event async for event in stack.turn(request(conversation_id, *said, **fields))]


def text_of(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def results_of(events: list[Any]) -> list[str]:
    """Return what the tools said."""
    ended = [e for e in events if isinstance(e, StepEnded) and e.kind == "tool_execution"]
    return [event.detail["result"] for event in ended]


def steps_of(events: list[Any]) -> list[Any]:
    """Return the steps as they are stored."""
    return [event.step for event in events if isinstance(event, StepRecorded)]


def plain(events: list[Any]) -> list[Any]:
    """Leave out the steps as they are stored, and their ids."""
    return [
        replace(event, step_id="") if isinstance(event, StepStarted) else event
        for event in events
        if not isinstance(event, StepRecorded)
    ]
