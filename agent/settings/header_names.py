"""Which headers the settings may have sent to an MCP server."""

import re

HEADERS = 16
"""How many a server may have."""
NAME_CHARS = 128

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
# What makes up the message and the connection is not for the settings to say; nor is it a credential.
_NOT_CREDENTIALS = frozenset(
    {
        "accept",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "mcp-protocol-version",
        "mcp-session-id",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def is_header_name(name: str) -> bool:
    """Tell whether this is a name as HTTP has them (RFC 9110 section 5.6.2), and not too long a one."""
    return len(name) <= NAME_CHARS and _NAME.fullmatch(name) is not None


def problems_of_names(names: list[str]) -> dict[str, str]:
    """Return what is wrong with the names of a server's headers, by name."""
    problems = {}
    known: set[str] = set()
    for name in names:
        if not is_header_name(name):
            problems[name] = "is not the name of a header"
        elif name.lower() in _NOT_CREDENTIALS:
            problems[name] = "is not for credentials"
        elif name.lower() in known:
            problems[name] = "is there twice: names of headers are the same in any case"
        known.add(name.lower())
    return problems
