"""Llama Stack's own client, of the last version that had agents, against this server."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from agent.app import create_app
from agent.settings import Settings
from tests.contract.client_cycle import Cycle, client_of
from tests.contract.llama_stack_server import llama_stack_server
from tests.fakes.agents_server import FakeAgentsServer
from tests.fakes.echo_responses import EchoResponses
from tests.fakes.server import run_server

pytestmark = pytest.mark.anyio


async def test_the_client_runs_its_whole_cycle_on_the_embedded_stack() -> None:
    with anyio.fail_after(60):
        async with llama_stack_server() as http, client_of(str(http.base_url)) as client:
            cycle = Cycle(client, "openai/mock-llm")
            await cycle.agents()
            await cycle.evaluations()
            await cycle.rerank("openai/mock-llm")
            await cycle.training("tiny")


@pytest.mark.parametrize(
    ("fake", "model", "engine"),
    [(FakeAgentsServer, "vllm/llm", "forwarded"), (EchoResponses, "vllm/small", "emulated")],
)
async def test_the_client_runs_the_same_agents_in_front_of_a_llama_stack(
    fake: type[FakeAgentsServer | EchoResponses], model: str, engine: str
) -> None:
    """Of 0.3.5, which has agents of its own, and of a later one, which has none."""
    with anyio.fail_after(30):
        async with run_server(fake().app) as stack:
            settings = {"a2a_state": {"memory": True}, "llama_stack": {"url": stack}}
            app = create_app(Settings.model_validate(settings))
            async with run_server(app) as url, client_of(url) as client:
                await Cycle(client, model).agents()
                raw: Any = client.alpha.agents.with_raw_response
                assert (await raw.list()).headers["x-llama-stack-engine"] == engine
