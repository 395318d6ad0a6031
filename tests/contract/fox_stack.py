"""The Llama Stack that the recorded LCS had within it: the model, the provider and the tool of the fox."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, override

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.contract.model import MODEL, SAYS, SERVER, TOOL, WORDS, make_tools
from tests.fakes import responses
from tests.fakes.responses import FakeResponses, Script
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

_SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
_DESCRIBED = {"name": TOOL, "description": "Look up facts about foxes.", "input_schema": _SCHEMA}
LISTING = {
    "type": "mcp_list_tools",
    "id": "mcp_list_1",
    "server_label": SERVER,
    "tools": [_DESCRIBED],
}
CALL = {
    "type": "mcp_call",
    "id": "fc_1",
    "name": TOOL,
    "server_label": SERVER,
    "arguments": '{"query": "fox"}',
    "output": "fact about fox: foxes jump",
}
PROVIDERS = [
    {
        "api": "inference",
        "provider_id": "openai",
        "provider_type": "remote::openai",
        "config": {"api_key": "secret", "base_url": "http://127.0.0.1:1/v1"},
        "health": {"status": "Not Implemented", "message": "No health check"},
    },
    {
        "api": "files",
        "provider_id": "files",
        "provider_type": "inline::localfs",
        "config": {},
        "health": {"status": "OK"},
    },
]


class FoxStack(FakeResponses):
    """Answers by what is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.models = [responses.model(f"openai/{MODEL}")]
        self.models[0]["custom_metadata"]["provider_resource_id"] = MODEL
        self.shields = []

    @property
    @override
    def app(self) -> Starlette:
        listings: dict[str, Any] = {
            "/v1/version": {"version": "0.7.3"},
            "/v1/health": {"status": "OK"},
            "/v1/models": {"data": self.models},
            "/v1/shields": {"data": []},
            "/v1/providers": {"data": PROVIDERS},
            "/v1/vector_stores": {"data": [], "has_more": False},
        }
        first = [Route(path, _constant(body)) for path, body in listings.items()]
        return Starlette(
            routes=[
                *first,
                *(
                    Route(path, self._seeing(call), methods=[verb])
                    for verb, path, call in self.endpoints
                ),
            ]
        )

    @override
    async def _create_response(self, request: Request) -> Response:
        self.scripts = [Script(_events(json.dumps(request.state.body["input"])))]
        return await super()._create_response(request)


def _constant(body: Any) -> Any:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(body)

    return endpoint


def _events(asked: str) -> list[responses.Event]:
    """Return the events of an answer."""
    if "[error]" in asked or "[429]" in asked:
        error = {"code": "server_error", "message": "mock failure"}
        return [responses.created(), responses.final("failed", error=error)]
    if "[tool]" not in asked:
        return responses.answer(*SAYS)
    text = responses.message(WORDS)
    return [
        responses.created(),
        {"type": "response.mcp_list_tools.in_progress", "item_id": LISTING["id"]},
        responses.added(LISTING | {"tools": []}),
        {"type": "response.mcp_list_tools.completed"},
        responses.done(LISTING),
        responses.added({**CALL, "output": None}),
        {"type": "response.mcp_call.in_progress", "item_id": CALL["id"]},
        {"type": "response.mcp_call.completed"},
        responses.done(CALL),
        responses.added(text | {"content": []}),
        *map(responses.delta, SAYS),
        responses.done(text),
        responses.final("completed", LISTING, CALL, text),
    ]


@asynccontextmanager
async def fox_stack() -> AsyncIterator[dict[str, Any]]:
    """Run it and the tool; yields the settings of who uses them."""
    async with run_server(FoxStack().app) as stack, run_server(make_tools()) as tools:
        yield {
            "llama_stack": {"url": stack, "timeout": 180},
            "inference": {"default_model": MODEL, "default_provider": "openai"},
            "mcp_servers": [{"name": SERVER, "url": f"{tools}/mcp"}],
        }
