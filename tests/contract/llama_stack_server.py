"""This server as the recorded Llama Stack was set up: its model, its guard, its tools."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx

from agent.app import create_app
from agent.settings import Settings
from tests.fakes.directed_model import DirectedModel
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

GUARD = "mock-guard"
WORKER = Path(__file__).parents[1] / "training" / "fake_worker.py"
"""What does as if it trained, so that the extra for training need not be there."""


def make_tools() -> Starlette:
    """Return an MCP server."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("mock")

    @server.tool()
    def add_numbers(a: int, b: int) -> str:
        """Add two numbers."""
        return str(a + b)

    @server.tool()
    def lookup_city(city: str) -> str:
        """Say what a city is."""
        return f"{city} is a city."

    @server.tool()
    def fail_tool(reason: str) -> str:
        """Fail."""
        raise ValueError(reason)

    return server.streamable_http_app()


@asynccontextmanager
async def llama_stack_server() -> AsyncIterator[httpx.AsyncClient]:
    """Serve on a real socket, with the state in memory, and one model to train."""
    async with run_server(DirectedModel().app) as model, run_server(make_tools()) as tools:
        with TemporaryDirectory() as folder:
            given: dict[str, Any] = {
                "a2a_state": {"memory": True},
                "openai": {"base_url": f"{model}/v1", "api_key": "k", "model": "mock-llm"},
                "mcp_servers": [{"name": "mock", "url": f"{tools}/mcp"}],
                "agent": {"input_shields": [GUARD]},
                "experimental": {"training": _models(Path(folder))},
            }
            command = (sys.executable, "-I", "-S", str(WORKER))
            app = create_app(Settings.model_validate(given), training_command=command)
            async with (
                run_server(app) as url,
                httpx.AsyncClient(base_url=url, timeout=20) as http,
            ):
                yield http


def _models(folder: Path) -> dict[str, str]:
    """Make a model; returns the settings of training."""
    models = folder / "models"
    (models / "tiny").mkdir(parents=True)
    (models / "tiny" / "config.json").write_text("{}")
    return {"folder": str(folder / "made"), "models": str(models)}
