"""The experimental API in front of a real Llama Stack, by Llama Stack's own client: ``-m live``."""

from __future__ import annotations

import os

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.settings import Settings
from tests.contract.client_cycle import Cycle, client_of
from tests.fakes.server import run_server

URL = os.environ.get("LLAMA_STACK_URL")
MODEL = os.environ.get("LLAMA_STACK_MODEL", "vllm/mock-llm")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.live,
    pytest.mark.skipif(URL is None, reason="LLAMA_STACK_URL is not set"),
]


async def test_the_client_runs_its_cycle_in_front_of_a_llama_stack() -> None:
    settings = Settings.model_validate(
        {"a2a_state": {"memory": True}, "llama_stack": {"url": URL, "timeout": 60}}
    )
    with anyio.fail_after(150):
        async with run_server(create_app(settings)) as url, client_of(url) as client:
            cycle = Cycle(client, MODEL)
            await cycle.agents()
            await cycle.evaluations()
            await cycle.rerank(MODEL)
            assert await _engine(url, "/v1alpha/agents") == await _expected()


async def _engine(url: str, path: str) -> str:
    async with httpx.AsyncClient(base_url=url) as http:
        answer: str = (await http.get(path)).headers["x-llama-stack-engine"]
        return answer


async def _expected() -> str:
    """Return which engine is to have answered: the server's own, if it has agents."""
    async with httpx.AsyncClient(base_url=URL or "") as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    return "forwarded" if "/v1alpha/agents" in paths else "emulated"
