"""Who is shown what: ``MCP-HEADERS`` as callers send it, and the headers of each MCP server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import InvalidParams, TurnFailed
from agent.mcp_credentials import CHARS, SERVERS, client_auth_options, read_mcp_headers
from agent.settings import Settings
from agent.settings.header_names import HEADERS, NAME_CHARS
from agent.stacks import NO_CREDENTIALS, Credentials
from agent.stacks.embedded.mcp_listings import KEEP_SECONDS, Listings, McpTool
from agent.stacks.mcp_access import CHALLENGE_CHARS, CredentialsNeeded, is_usable, refusal
from agent.stacks.mcp_headers import callers_headers, doubts, headers_of, is_left_out
from agent.turn_requests import StoredRequest, read_stored_request, write_stored_request

if TYPE_CHECKING:
    from pathlib import Path

    from agent.settings.lcs import McpServer

pytestmark = pytest.mark.anyio

URL = "https://tools.org/mcp"


def settings(*servers: dict[str, Any], **sections: Any) -> Settings:
    """Return settings with these servers; those without a URL have the same."""
    return Settings.model_validate({"mcp_servers": [{"url": URL} | s for s in servers], **sections})


def server(name: str = "tools", url: str = URL, **headers: str) -> McpServer:
    """Return a server that is shown these headers."""
    given = {header.replace("_", "-"): source for header, source in headers.items()}
    return settings({"name": name, "url": url, "authorization_headers": given}).mcp_servers[0]


def shown(key: str = "tools", token: str = "", **headers: str) -> Credentials:
    """Return what a caller showed for one server."""
    return Credentials(token, {key: {h.replace("_", "-"): v for h, v in headers.items()}})


# --- MCP-HEADERS


def test_what_a_caller_shows_is_read() -> None:
    """By server, then by header; an umlaut may stand for itself."""
    sent = {"tools": {"Authorization": "Bearer a b\tc", "X-Empty": ""}, URL: {}}
    assert read_mcp_headers(json.dumps(sent)) == sent
    as_bytes = json.dumps({"Öl": {"X": "1"}}, ensure_ascii=False).encode()
    assert read_mcp_headers(as_bytes.decode("latin-1")) == {"Öl": {"X": "1"}}


MALFORMED = {
    "no JSON": "c4nary",
    "two of them": '{"c4nary": {}}, {"c4nary": {}}',
    "a list": '["c4nary"]',
    "a text for a server": '{"tools": "c4nary"}',
    "a number for a header": '{"tools": {"X": 7, "Y": "c4nary"}}',
    "no value": '{"tools": {"X": null, "Y": "c4nary"}}',
    "deep": '{"c4nary":' * 5000,
    "no UTF-8": '{"tools": {"X": "c4nary\xff"}}',
    "no bytes": '{"tools": {"X": "c4nary\u0100"}}',
    "too long": json.dumps({"tools": {"X": "c4nary" * CHARS}}),
    "too many servers": json.dumps({f"c4nary{n}": {} for n in range(SERVERS + 1)}),
    "too many headers": json.dumps({"tools": {f"c4nary{n}": "x" for n in range(HEADERS + 1)}}),
    "a name with a space": '{"tools": {"X c4nary": "x"}}',
    "an empty name": '{"tools": {"": "c4nary"}}',
    "a name with a colon": '{"tools": {"X:": "c4nary"}}',
    "a name with a line break": '{"tools": {"X\\r\\nc4nary": "x"}}',
    "a long name": json.dumps({"tools": {"X" * (NAME_CHARS + 1): "c4nary"}}),
    "a name twice": '{"tools": {"X": "c4nary", "x": "c4nary"}}',
    "a value with a line break": '{"tools": {"X": "c4nary\\r\\nHost: evil"}}',
    "a value that ends with one": '{"tools": {"X": "c4nary\\n"}}',
    "a value with a null": '{"tools": {"X": "c4nary\\u0000"}}',
    "a value that is no ASCII": '{"tools": {"X": "c4nary\\u00fc"}}',
    "a value that begins with a space": '{"tools": {"X": " c4nary"}}',
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_refused_without_a_word_of_it(sent: str) -> None:
    """Neither in the message nor in what caused it."""
    with pytest.raises(InvalidParams) as raised:
        read_mcp_headers(sent)
    assert raised.value.field == "MCP-HEADERS"
    assert "c4nary" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_servers_that_take_headers_of_the_caller_are_named() -> None:
    """With the headers that are the client's alone, as LCS's MCPServerAuthInfo."""
    configured = settings(
        {"name": "a", "authorization_headers": {"Authorization": "client", "X-Key": "client"}},
        {"name": "b", "authorization_headers": {"Authorization": "/x", "X-Key": "client"}},
        {"name": "c", "authorization_headers": {"Authorization": "kubernetes", "X-Key": "oauth"}},
        {"name": "d"},
    )
    assert client_auth_options(configured) == [
        {"name": "a", "client_auth_headers": ["Authorization", "X-Key"]},
        {"name": "b", "client_auth_headers": ["X-Key"]},
    ]


# --- settings


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("X Key", "is not the name of a header"),
        ("X-Key\r\nHost", "is not the name of a header"),
        ("Schlüssel", "is not the name of a header"),
        ("X" * (NAME_CHARS + 1), "is not the name of a header"),
        ("Host", "is not for credentials"),
        ("content-length", "is not for credentials"),
        ("Transfer-Encoding", "is not for credentials"),
        ("Connection", "is not for credentials"),
        ("Cookie", "is not for credentials"),
        ("Mcp-Session-Id", "is not for credentials"),
    ],
)
def test_settings_name_headers_that_can_hold_credentials(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match="authorization_headers") as raised:
        settings({"name": "a", "authorization_headers": {name: "client"}})
    assert raised.value.errors()[0]["ctx"]["error"].problems == {name: problem}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Key": "client", "x-key": "client"},
        {"X-Key": ""},
        {f"X-{number}": "client" for number in range(HEADERS + 1)},
    ],
    ids=["twice", "empty", "too-many"],
)
def test_settings_name_each_header_once_with_a_source(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="authorization_headers"):
        settings({"name": "a", "authorization_headers": headers})


@pytest.mark.parametrize(
    ("module", "has_tokens"),
    [("noop", False), ("rh-identity", False), ("noop-with-token", True), ("k8s", True)],
)
def test_a_module_without_tokens_is_doubted(module: str, *, has_tokens: bool) -> None:
    """Where an MCP server is to have the caller's."""
    authentication = {"module": module, "rh_identity_config": {}}
    asked = {"name": "a", "authorization_headers": {"Authorization": "kubernetes"}}
    said = doubts(settings(asked, {"name": "b"}, authentication=authentication))
    assert [("no token" in doubt, "mcp_servers[0]" in doubt) for doubt in said] == (
        [] if has_tokens else [(True, True)]
    )


@pytest.mark.parametrize(
    ("url", "is_doubted"),
    [
        ("http://tools.org/mcp", True),
        ("http://10.0.0.1:3000/mcp", True),
        ("http://127.0.0.1.tools.org/mcp", True),
        ("https://tools.org/mcp", False),
        ("http://localhost:3000/mcp", False),
        ("http://127.0.0.2:3000/mcp", False),
        ("http://[::1]:3000/mcp", False),
    ],
)
def test_credentials_without_encryption_are_doubted(url: str, *, is_doubted: bool) -> None:
    """On the network, that is; a server that is shown nothing may have any URL."""
    asked = {"name": "a", "url": url, "authorization_headers": {"X-Key": "client"}}
    said = doubts(settings(asked, {"name": "b", "url": url}))
    assert len(said) == is_doubted


def test_a_file_that_cannot_be_read_is_doubted(tmp_path: Path) -> None:
    """Before anybody asks for the tools behind it."""
    (tmp_path / "key").write_text("k3y")
    there, missing = str(tmp_path / "key"), str(tmp_path / "missing")
    files = {"X-There": there, "X-Missing": missing, "X-Null": "\0", "X-User": "client"}
    asked = {"name": "a", "url": "https://tools.org", "authorization_headers": files}
    said = doubts(settings(asked))
    assert ["X-Missing" in doubt for doubt in said] == [True, False]
    assert ["X-Null" in doubt for doubt in said] == [False, True]


# --- what a server is shown


def test_only_what_the_settings_leave_to_the_caller_comes_from_the_caller(tmp_path: Path) -> None:
    """No header of a file is replaced, none is added, in whatever case it is written."""
    asked = server(Authorization=str(tmp_path / "key"), X_User="client", X_Token="oauth")
    given = shown(authorization="mine", x_user="ada", X_TOKEN="t", X_More="more")
    assert callers_headers(asked, given) == {"X-User": "ada", "X-Token": "t"}


async def test_headers_of_files_and_of_the_caller_go_together(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k3y\n")
    asked = server(X_Key=str(tmp_path / "key"), Authorization="kubernetes", X_User="client")
    assert await headers_of(asked, shown(token="t0ken", X_User="ada")) == {
        "X-Key": "k3y",
        "Authorization": "Bearer t0ken",
        "X-User": "ada",
    }


def test_a_server_goes_by_its_name_or_its_url() -> None:
    """The name wins; what is meant for other servers is for those."""
    asked = server(X_A="client", X_B="client")
    both = Credentials("", {"tools": {"X-A": "name"}, URL: {"X-A": "url", "X-B": "url"}})
    assert callers_headers(asked, both) == {"X-A": "name", "X-B": "url"}
    assert callers_headers(asked, shown("other", X_A="x")) == {}
    assert callers_headers(asked, shown(URL + "/", X_A="x")) == {}


@pytest.mark.parametrize(
    ("headers", "given", "is_out"),
    [
        ({"X_A": "client"}, NO_CREDENTIALS, True),
        ({"X_A": "client"}, shown(X_A=""), True),
        ({"X_A": "client", "X_B": "client"}, shown(X_A="1"), True),
        ({"X_A": "client", "X_B": "client"}, shown(X_A="1", X_B="2"), False),
        ({"X_A": "kubernetes"}, shown(X_A="1"), True),
        ({"X_A": "kubernetes"}, Credentials("t"), False),
        ({"X_A": "client"}, Credentials("t"), True),
        ({"X_A": "oauth"}, NO_CREDENTIALS, False),
        ({"X_A": "/file"}, NO_CREDENTIALS, False),
        ({}, NO_CREDENTIALS, False),
    ],
)
def test_a_server_is_left_out_unless_all_that_it_wants_came(
    headers: dict[str, str], given: Credentials, *, is_out: bool
) -> None:
    """What is OAuth's is asked for instead."""
    assert is_left_out(server(**headers), given) is is_out


@pytest.mark.parametrize("written", ["", " \n", "Bearer a\r\nHost: evil", "a\x00b", "\x7f"])
async def test_a_file_that_holds_no_value_of_a_header_is_not_sent(
    tmp_path: Path, written: str
) -> None:
    """And not quoted."""
    (tmp_path / "key").write_bytes(written.encode())
    with pytest.raises(TurnFailed) as raised:
        await headers_of(server(X_Key=str(tmp_path / "key")), NO_CREDENTIALS)
    assert raised.value.message == "The credentials for the tool server tools cannot be sent."


# --- a turn that runs again


@pytest.mark.parametrize(
    ("source", "lost", "is_needed"),
    [
        ("client", ("mcp_headers",), True),
        ("oauth", ("mcp_headers",), True),
        ("client", ("token",), False),
        ("kubernetes", ("token",), True),
        ("kubernetes", ("mcp_headers",), False),
        ("/no/file", ("token", "mcp_headers"), False),
    ],
)
def test_what_a_caller_had_shown_is_asked_for_again(
    source: str, lost: tuple[str, ...], *, is_needed: bool
) -> None:
    """Better than to answer without a tool that was there before."""
    asked, given = server(X_Key=source), Credentials(lost=lost)
    if is_needed:
        with pytest.raises(CredentialsNeeded, match="had to begin again"):
            is_usable(asked, given)
    else:
        assert is_usable(asked, given) is not is_left_out(asked, given)


def test_of_credentials_only_is_kept_that_there_were_some() -> None:
    """Also of those that are lost already: a turn may run again twice."""
    given = shown(token="c4nary", X_Key="c4nary")
    assert given.shown == ("token", "mcp_headers")
    assert Credentials(lost=given.shown).shown == given.shown
    assert NO_CREDENTIALS.shown == Credentials("", {}).shown == ()
    stored = write_stored_request(StoredRequest("m", shown=given.shown))
    assert b"c4nary" not in stored
    assert read_stored_request(stored) == StoredRequest("m", shown=given.shown)
    assert read_stored_request(b'{"message_id": "m"}') == StoredRequest("m")


def test_credentials_are_not_printed() -> None:
    assert "c4nary" not in repr(shown(token="c4nary", X_Key="c4nary"))


# --- what a server says that refuses

WANTS = 'Bearer resource_metadata="https://tools.org/.well-known/oauth-protected-resource"'


def test_what_a_server_wants_is_passed_on() -> None:
    needed = refusal(server(Authorization="oauth"), {"WWW-Authenticate": WANTS}, {})
    assert needed.challenge == WANTS
    assert needed.event.data == {
        "type": "auth",
        "server": "tools",
        "url": "https://tools.org",
        "www_authenticate": WANTS,
    }
    assert needed.event.text == (
        "The tool server tools wants credentials of yours. "
        "Send a message with them in MCP-HEADERS: the turn is tried again."
    )


@pytest.mark.parametrize(
    "said",
    [
        'Bearer error_description="c4nary is wrong"',
        'Bearer error_description="Bearer c4nary is wrong"',
        'Bearer resource="https://tools.org/mcp?key=qu3ry"',
        'Bearer realm="p4ssword"',
        'Bearer resource_metadata="https://tools.org/.well-known/oauth/s/5ecret-of-a-path/mcp"',
    ],
)
def test_what_repeats_a_secret_is_not_passed_on(said: str) -> None:
    """Be it of the caller, a file, or the URL."""
    url = "https://u:p4ssword@tools.org/s/5ecret-of-a-path/mcp?key=qu3ry"
    asked = server(url=url, X_Key="oauth")
    needed = refusal(asked, {"WWW-Authenticate": said}, {"X-Key": "Bearer c4nary"})
    assert needed.challenge == ""
    assert needed.event.data == {"type": "auth", "server": "tools", "url": "https://tools.org"}


def test_what_a_server_wants_is_bounded_and_can_be_a_header() -> None:
    said = "Bearer \r\n\x00\x1b" + "x" * 2 * CHALLENGE_CHARS
    challenge = refusal(server(), {"WWW-Authenticate": said}, {}).challenge
    assert len(challenge) == CHALLENGE_CHARS
    assert challenge.startswith("Bearer xxx")


# --- listings


class Asked:
    """Counts how often tools are asked for."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> tuple[McpTool, ...]:
        """Return a tool that tells the number."""
        self.times += 1
        return (McpTool(f"tool{self.times}", "", {}),)


async def test_a_listing_is_kept_for_a_minute() -> None:
    now = [0.0]
    listings, ask = Listings(lambda: now[0]), Asked()
    first = await listings.of("a", {}, ask)
    now[0] = KEEP_SECONDS - 1
    assert await listings.of("a", {}, ask) == first
    now[0] = KEEP_SECONDS
    assert await listings.of("a", {}, ask) != first
    assert ask.times == 2


async def test_a_listing_is_of_one_server_and_of_those_who_showed_the_same() -> None:
    """In whatever order; what stands in which header matters."""
    listings, ask = Listings(), Asked()
    told = [
        await listings.of(name, given, ask)
        for name, given in [
            ("a", {}),
            ("b", {}),
            ("a", {"X": "1", "Y": "2"}),
            ("a", {"X": "2", "Y": "1"}),
            ("a", {"X": "1"}),
            ("a", {"Y": "2", "X": "1"}),
        ]
    ]
    assert ask.times == 5
    assert told[5] == told[2]


async def test_the_listings_that_were_asked_for_last_are_kept() -> None:
    """A flood of callers takes the place of others' listings, and no more memory."""
    listings, ask = Listings(most=2), Asked()
    for token in ("1", "2", "1", "3", "1"):
        await listings.of("a", {"X": token}, ask)
    assert ask.times == 3
    await listings.of("a", {"X": "2"}, ask)
    assert ask.times == 4


async def test_of_what_was_shown_listings_keep_nothing() -> None:
    listings = Listings()
    await listings.of("a", {"X": "c4nary"}, Asked())
    assert "c4nary" not in str(vars(listings))
