"""``GET /v1/mcp-auth/client-options``: the MCP servers that take credentials of the caller."""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from agent.mcp_credentials import client_auth_options
from agent.settings import Settings
from rest_compat.callers import Callers
from rest_compat.lightspeed.responses import ACCESS, INTERNAL_SERVER_ERROR, succeeds

_EXAMPLE: dict[str, Any] = {
    "servers": [{"name": "github", "client_auth_headers": ["Authorization"]}]
}


class MCPServerAuthInfo(BaseModel):
    """An MCP server, and the headers that the caller may set for it in ``MCP-HEADERS``."""

    name: str
    client_auth_headers: list[str]


class MCPClientAuthOptionsResponse(BaseModel):
    """The MCP servers that take credentials of the caller."""

    servers: list[MCPServerAuthInfo] = []


def make_mcp_auth(settings: Settings, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("mcp-auth")
    servers = [MCPServerAuthInfo.model_validate(each) for each in client_auth_options(settings)]

    @router.get(
        "/v1/mcp-auth/client-options",
        operation_id="get_mcp_client_auth_options_v1_mcp_auth_client_options_get",
        summary="Get Mcp Client Auth Options",
        dependencies=[Depends(callers.may("get_tools"))],
        responses=succeeds(_EXAMPLE) | ACCESS | INTERNAL_SERVER_ERROR,
    )
    async def client_options() -> MCPClientAuthOptionsResponse:
        """List the MCP servers that take credentials of the caller, with the names of the headers."""
        return MCPClientAuthOptionsResponse(servers=servers)

    return router
