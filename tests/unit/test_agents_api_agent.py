"""The agent that the settings ask for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import ModelNotFound, TurnFailed
from agent.settings import Settings
from agent.stacks import NO_CREDENTIALS
from agent.stacks.agents_api_agent import (
    config_of,
    mcp_headers,
    model_of,
    provider_data,
    toolgroups_of,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SERVED = ["vllm/small", "vllm/other", "ollama/big"]


def settings(**sections: Any) -> Settings:
    """Return settings with these sections."""
    return Settings.model_validate(sections)


def mcp(**headers: str) -> dict[str, Any]:
    """Return an MCP server that wants these headers."""
    return {"name": "sums", "url": "http://mcp:1/sse", "authorization_headers": headers}


async def headers(*servers: dict[str, Any]) -> dict[str, str]:
    """Return what Llama Stack is sent for these servers."""
    return provider_data(
        await mcp_headers(settings(mcp_servers=servers).mcp_servers, NO_CREDENTIALS)
    )


def test_the_agent_is_what_the_settings_say() -> None:
    """Instructions, tools, shields, steps and sampling."""
    config = config_of(
        settings(
            agent={
                "name": "helper",
                "instructions": "Help.",
                "toolgroups": ["builtin::rag", {"name": "mcp::x", "args": {"k": 1}}],
                "input_shields": ["in"],
                "output_shields": ["out"],
                "max_infer_iters": 3,
                "max_tokens": 50,
                "temperature": 0.5,
                "client_tools": [
                    {"name": "t", "description": "d", "input_schema": {"type": "object"}}
                ],
            },
            mcp_servers=[mcp()],
        ),
        "vllm/small",
    )
    name = config.pop("name")
    assert name.startswith("helper-")
    assert len(name) == len("helper-") + 12
    assert config == {
        "model": "vllm/small",
        "instructions": "Help.",
        "toolgroups": ["builtin::rag", {"name": "mcp::x", "args": {"k": 1}}, "mcp::sums"],
        "input_shields": ["in"],
        "output_shields": ["out"],
        "client_tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}}],
        "max_infer_iters": 3,
        "sampling_params": {
            "strategy": {"type": "top_p", "temperature": 0.5, "top_p": None},
            "max_tokens": 50,
        },
        "enable_session_persistence": True,
    }


def test_sampling_that_is_not_set_is_left_to_the_model() -> None:
    """The server's own default is no tokens at all."""
    assert config_of(settings(), "m")["sampling_params"] == {
        "strategy": {"type": "greedy"},
        "max_tokens": None,
    }


def test_a_temperature_of_zero_is_as_cold_as_the_server_allows() -> None:
    """It refuses 0, and its greedy strategy does not reach the model."""
    sampling = config_of(settings(agent={"temperature": 0}), "m")["sampling_params"]
    assert 0 < sampling["strategy"]["temperature"] < 0.001


def test_the_name_tells_whether_the_configuration_is_the_same() -> None:
    """The agent is found again by it, and changes with it."""
    name = config_of(settings(), "m")["name"]
    assert config_of(settings(), "m")["name"] == name
    assert config_of(settings(), "n")["name"] != name
    assert config_of(settings(agent={"max_infer_iters": 3}), "m")["name"] != name


@pytest.mark.parametrize(
    ("inference", "model"),
    [
        ({}, "vllm/small"),
        ({"default_model": "other", "default_provider": "vllm"}, "vllm/other"),
        ({"default_model": "vllm/other", "default_provider": "vllm"}, "vllm/other"),
        ({"default_model": "vllm/other"}, "vllm/other"),
        ({"default_model": "big"}, "ollama/big"),
        ({"default_model": "new", "default_provider": "vllm"}, "vllm/new"),
        ({"default_model": "new"}, "new"),
    ],
)
def test_a_model_is_named_as_the_server_names_it(inference: dict[str, str], model: str) -> None:
    """With its provider; the first one when none is configured."""
    assert model_of(settings(inference=inference), SERVED) == model


def test_without_any_model_there_is_no_agent() -> None:
    """The error says what is missing."""
    with pytest.raises(ModelNotFound, match="serves no language model"):
        model_of(settings(), [])


async def test_credentials_of_mcp_servers_are_read_from_their_files(tmp_path: Path) -> None:
    """Llama Stack gets them with each turn, by the URL of the server."""
    token = tmp_path / "token"
    token.write_text("Bearer ü\n", encoding="utf-8")
    sent = await headers(mcp(Authorization=str(token)))
    assert list(sent) == ["X-LlamaStack-Provider-Data"]
    data = sent["X-LlamaStack-Provider-Data"]
    assert data.isascii()
    assert json.loads(data) == {"mcp_headers": {"http://mcp:1/sse": {"Authorization": "Bearer ü"}}}


async def test_without_credentials_nothing_is_sent() -> None:
    """Most MCP servers need none."""
    assert await headers(mcp()) == {}


async def test_a_credential_that_cannot_be_read_names_the_server_and_not_the_path() -> None:
    """The caller may know the one and not the other."""
    with pytest.raises(TurnFailed) as raised:
        await headers(mcp(Authorization="/no/such/file"))
    assert "sums" in raised.value.message
    assert "/no/such" not in raised.value.message


@pytest.mark.parametrize("source", ["client", "kubernetes", "oauth"])
def test_servers_that_take_the_callers_credentials_are_no_part_of_the_agent(source: str) -> None:
    """All callers share it; nor are the tool groups that name such a server."""
    server = mcp(Authorization=source)
    free = {"name": "free", "url": "http://free:1"}
    agent = {"toolgroups": ["builtin::rag", "mcp::sums/add", {"name": "mcp::sums/sub", "args": {}}]}
    configured = settings(agent=agent, mcp_servers=[server, free])
    assert config_of(configured, "m")["toolgroups"] == ["builtin::rag", "mcp::free"]
    assert toolgroups_of(configured, configured.mcp_servers) == [
        "builtin::rag",
        "mcp::sums/add",
        {"name": "mcp::sums/sub", "args": {}},
        "mcp::sums",
        "mcp::free",
    ]
