"""The language model and the tools that the recorded LCS had, as far as its recordings show them.

What is asked decides what is answered: ``[tool]`` calls the tool, ``[error]`` and ``[429]`` are
errors, ``[long]`` is too long; anything else is told about the fox.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, override

from tests.fakes.openai_server import OpenAIServer, Reply, calls, says
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MODEL, SERVER, TOOL = "mock-model", "mock-mcp", "fox_lookup"
WORDS = (
    "The quick brown fox jumps over the lazy dog and then it runs back home to sleep until noon."
)
SAYS = tuple(f" {word}" if at else word for at, word in enumerate(WORDS.split()))
TOO_LONG = {"message": "maximum context length", "code": "context_length_exceeded"}


class FoxModel(OpenAIServer):
    """Answers by what was asked."""

    def __init__(self) -> None:
        super().__init__(models=(MODEL,))

    @override
    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.script = [reply_to(body["messages"])]
        return await super()._complete(request)


def reply_to(messages: list[dict[str, Any]]) -> Reply:
    """Return the answer to a conversation."""
    asked = next(str(each["content"]) for each in reversed(messages) if each["role"] == "user")
    if "[error]" in asked:
        return Reply(status=500, body={"error": {"message": "mock failure", "code": None}})
    if "[429]" in asked:
        return Reply(status=429, body={"error": {"message": "mock rate limit", "code": None}})
    if "[long]" in asked:
        return Reply(status=400, body={"error": TOO_LONG})
    if "[tool]" in asked and messages[-1]["role"] != "tool":
        return calls(("call-1", TOOL, '{"query": "fox"}'))
    return says(*SAYS)


def make_tools() -> Starlette:
    """Return the MCP server."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer(SERVER)

    @server.tool(name=TOOL)
    def look_up(query: str) -> str:
        """Look up facts about foxes."""
        return f"fact about {query}: foxes jump"

    return server.streamable_http_app()


@asynccontextmanager
async def fox_settings() -> AsyncIterator[dict[str, Any]]:
    """Run both; yields the settings of who uses them."""
    async with run_server(FoxModel().app) as model, run_server(make_tools()) as tools:
        yield {
            "openai": {"base_url": f"{model}/v1", "api_key": "k", "model": MODEL},
            "mcp_servers": [{"name": SERVER, "url": f"{tools}/mcp"}],
        }
