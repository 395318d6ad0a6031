"""The headers that MCP servers are shown: from files, or from what the caller of the turn showed."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from agent.errors import TurnFailed

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.turn import Credentials

KUBERNETES, CLIENT, OAUTH = "kubernetes", "client", "oauth"
"""LCS's words for what comes with the request: its bearer token, and twice its ``MCP-HEADERS``."""

_CALLERS = frozenset({KUBERNETES, CLIENT, OAUTH})
_WITH_TOKENS = frozenset({"noop-with-token", "jwk-token", "k8s"})


def takes(server: McpServer, *sources: str) -> bool:
    """Tell whether a server has a header from one of these sources; without any, from the caller."""
    return not (set(sources) or _CALLERS).isdisjoint(server.authorization_headers.values())


def callers_headers(server: McpServer, credentials: Credentials) -> dict[str, str]:
    """Return what the caller gave of the headers that the settings leave to the caller, and no other."""
    given: dict[str, str] = {}
    for key in (server.url, server.name):
        shown = credentials.mcp_headers.get(key, {})
        given |= {header.lower(): value for header, value in shown.items()}
    found: dict[str, str] = {}
    for header, source in server.authorization_headers.items():
        if source == KUBERNETES and credentials.token:
            found[header] = f"Bearer {credentials.token}"
        elif source in (CLIENT, OAUTH) and given.get(header.lower()):
            found[header] = given[header.lower()]
    return found


def is_left_out(server: McpServer, credentials: Credentials) -> bool:
    """Tell whether the caller gave too little for a server; what is ``oauth`` is asked for instead."""
    given = callers_headers(server, credentials)
    return any(
        source in (KUBERNETES, CLIENT) and header not in given
        for header, source in server.authorization_headers.items()
    )


def is_lost(server: McpServer, credentials: Credentials) -> bool:
    """Tell whether the caller had shown what may have been for a server, and it is not known any more."""
    return (takes(server, KUBERNETES) and "token" in credentials.lost) or (
        takes(server, CLIENT, OAUTH) and "mcp_headers" in credentials.lost
    )


async def headers_of(server: McpServer, credentials: Credentials) -> dict[str, str]:
    """Return the headers for a server, files read anew each time; raises ``TurnFailed``."""
    return await secrets_of(server) | callers_headers(server, credentials)


async def secrets_of(server: McpServer) -> dict[str, str]:
    """Return the headers for a server that are in files; raises ``TurnFailed``."""
    return {header: await _secret(path, server.name) for header, path in _files_of(server).items()}


def doubts(settings: Settings) -> list[str]:
    """Tell what about the credentials for MCP servers is probably not meant."""
    module, said = settings.authentication.module, []
    for index, server in enumerate(settings.mcp_servers):
        if takes(server, KUBERNETES) and module not in _WITH_TOKENS:
            said.append(
                f"mcp_servers[{index}]: callers have no token to pass on with authentication.module "
                f"{module}, so the tools of {server.name} are left out"
            )
        if server.authorization_headers and _is_open(server.url):
            said.append(
                f"mcp_servers[{index}]: credentials for {server.name} are sent without encryption: "
                "its URL is http://"
            )
        said += (
            f"mcp_servers[{index}]: the file for {header} cannot be read, and as long as that is so "
            f"the tools of {server.name} are left out"
            for header, path in _files_of(server).items()
            if not _is_there(path)
        )
    return said


def _is_there(path: str) -> bool:
    try:
        return os.access(path, os.R_OK)
    except ValueError:  # a null byte
        return False


def _files_of(server: McpServer) -> dict[str, str]:
    return {
        header: source
        for header, source in server.authorization_headers.items()
        if source not in _CALLERS
    }


async def _secret(path: str, server: str) -> str:
    try:
        secret = (await anyio.Path(path).read_text(encoding="utf-8")).strip()
    except (OSError, ValueError) as exc:  # also a path with a null byte, and what is no UTF-8
        raise TurnFailed(f"The credentials for the tool server {server} cannot be read.") from exc
    if not secret.isprintable() or not secret:
        # Said here, for the libraries that send it would quote it.
        raise TurnFailed(f"The credentials for the tool server {server} cannot be sent.")
    return secret


def _is_open(url: str) -> bool:
    """Tell whether others on the network can read along."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not is_loopback
