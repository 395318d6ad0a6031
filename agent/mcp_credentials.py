"""``MCP-HEADERS``: what the caller wants shown to MCP servers (LCS)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidParams
from agent.settings.header_names import HEADERS, is_header_name
from agent.stacks.mcp_headers import CLIENT

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.stacks import Json

CHARS = 16 * 1024
"""How long ``MCP-HEADERS`` may be."""
SERVERS = 32
"""How many servers it may name."""

_HEADER = "MCP-HEADERS"
_decode = msgspec.json.Decoder(dict[str, dict[str, str]]).decode
# As RFC 9110 has values (section 5.5), without what is not ASCII: clients and servers differ on that.
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?", re.ASCII)


def read_mcp_headers(shown: str) -> dict[str, dict[str, str]]:
    """Return header values by header and by server; raises ``InvalidParams``, which holds no value.

    ``shown`` is the header as HTTP has it, where each character is a byte.
    """
    if len(shown) > CHARS:
        raise InvalidParams(_HEADER, f"must have {CHARS} characters at most")
    try:
        given = _decode(shown.encode("latin-1"))
    except (msgspec.MsgspecError, UnicodeError):
        # not told from what: the text of a decoder's error may quote its input
        problem = "must be a JSON object of header values by header and by MCP server"
        raise InvalidParams(_HEADER, problem) from None
    if len(given) > SERVERS:
        raise InvalidParams(_HEADER, f"must name {SERVERS} MCP servers at most")
    for headers in given.values():
        _check(headers)
    return given


def client_auth_options(settings: Settings) -> list[dict[str, Json]]:
    """Return the MCP servers that take headers of the caller, each as LCS's ``MCPServerAuthInfo``."""
    named = {
        server.name: [
            name for name, source in server.authorization_headers.items() if source == CLIENT
        ]
        for server in settings.mcp_servers
    }
    return [
        {"name": server, "client_auth_headers": headers}
        for server, headers in named.items()
        if headers
    ]


def _check(headers: dict[str, str]) -> None:
    if len(headers) > HEADERS:
        raise InvalidParams(_HEADER, f"must hold {HEADERS} headers for a server at most")
    if not all(map(is_header_name, headers)):
        raise InvalidParams(_HEADER, "holds what is not the name of a header")
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidParams(_HEADER, "holds a header twice for one server")
    if not all(map(_VALUE.fullmatch, headers.values())):
        raise InvalidParams(_HEADER, "holds what cannot be the value of a header")
