"""``GET /v1/tools``: the tools that turns may use, with where each comes from."""

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from agent.settings.lcs import McpServer
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.masking import masked_path
from rest_compat.lightspeed.responses import LISTING, succeeds
from rest_compat.lightspeed.rows import rows

BUILT_IN = "builtin"
_MCP = "mcp::"
_MCP_PROVIDER = "model-context-protocol"
_EXAMPLE = {
    "tools": [
        {
            "identifier": "filesystem_read",
            "description": "Read contents of a file from the filesystem",
            "parameters": [
                {
                    "name": "path",
                    "description": "Path to the file to read",
                    "parameter_type": "string",
                    "required": True,
                    "default": None,
                }
            ],
            "provider_id": "model-context-protocol",
            "toolgroup_id": "filesystem-tools",
            "server_source": "http://localhost:3000",
            "type": "tool",
        }
    ]
}


class ToolsResponse(BaseModel):
    """The tools of the MCP servers, and the built-in ones."""

    tools: list[dict[str, Any]]


class _Tool(msgspec.Struct):
    """A tool as a Llama Stack lists it: those before 0.3 have an identifier and parameters."""

    name: str | None = None
    identifier: str | None = None
    description: str | None = None
    toolgroup_id: str | None = None
    provider_id: str | None = None
    input_schema: Any = None
    parameters: Any = None
    metadata: Any = None


def make_tools(backend: Backend, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("tools")
    servers = backend.settings.mcp_servers

    @router.get(
        "/v1/tools",
        operation_id="tools_endpoint_handler_v1_tools_get",
        summary="Tools Endpoint Handler",
        dependencies=[Depends(callers.may("get_tools"))],
        responses=succeeds(_EXAMPLE) | LISTING,
    )
    async def tools() -> ToolsResponse:
        """List the tools of the MCP servers and the built-in ones.

        `server_source` is the address of an MCP server, or `builtin`.
        """
        known = rows(await backend.stack.tools(), _Tool)
        return ToolsResponse(tools=[_shown(tool, servers) for tool in known])

    return router


def _shown(tool: _Tool, servers: Iterable[McpServer]) -> dict[str, Any]:
    group = tool.toolgroup_id or ""
    server = next((each for each in servers if group in {each.name, _MCP + each.name}), None)
    url = server.url if server else _endpoint(tool.metadata)
    provider = server.provider_id if server else _MCP_PROVIDER if url else ""
    listed = tool.parameters if isinstance(tool.parameters, list) else None
    return {
        "identifier": tool.identifier or tool.name or "",
        "description": tool.description or "",
        "parameters": parameters(tool.input_schema) if listed is None else listed,
        "provider_id": tool.provider_id or provider,
        "toolgroup_id": server.name if server else group,
        # The path of an address is often a key: it is not shown in the configuration, either.
        "server_source": masked_path(url) if url else BUILT_IN,
        "type": "tool",
    }


def _endpoint(metadata: Any) -> str:
    """Return the address of an MCP server that Llama Stack itself knows."""
    endpoint = metadata.get("endpoint") if isinstance(metadata, dict) else None
    return endpoint if isinstance(endpoint, str) else ""


def parameters(schema: Any) -> list[dict[str, Any]]:
    """Return the parameters that a JSON schema describes; an MCP server may have written anything there."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return []
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return [
        {
            "name": name,
            "description": said.get("description") or "",
            "parameter_type": _type_of(said),
            "required": name in names,
            "default": said.get("default"),
        }
        for name, each in properties.items()
        for said in [each if isinstance(each, dict) else {}]
    ]


def _type_of(schema: dict[str, Any]) -> str:
    """Return the name of the type; of several, the first that is not null."""
    named = schema.get("type")
    types = named if isinstance(named, list) else [named]
    for name in ("anyOf", "oneOf"):
        among = schema.get(name)
        if isinstance(among, list):
            types += [each.get("type") for each in among if isinstance(each, dict)]
    return next((name for name in types if isinstance(name, str) and name != "null"), "any")
