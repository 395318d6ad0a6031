"""What every response carries, what pages in browsers may do, and where a proxy may put the server."""

from __future__ import annotations

import base64
import json
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.conformance.client import on_socket
from tests.durability.process import Process, running
from tests.fakes import keys
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from tests.conformance.client import Client

pytestmark = pytest.mark.anyio

CARD = "/.well-known/agent-card.json"
PAGE = "https://page.test"
OTHER = "https://other.test"
KEY = {"Authorization": "Bearer letmein"}
KEYED = {"module": "api-key-token", "api_key_config": {"api_key": "letmein"}}
VERSION = {"A2A-Version": "1.0"}
JSON = {"Content-Type": "application/json"}
SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def call(method: str, **params: Any) -> bytes:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return json.dumps(request).encode()


def message(text: str = "hello") -> dict[str, Any]:
    return {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]}


def once(response: httpx.Response, name: str) -> str:
    """Return a header that must be there once."""
    (value,) = response.headers.get_list(name)
    return value


REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "answer": ("POST", "/a2a", {"content": call("GetTask", id="none")}, 200, "no-store"),
    "stream": (
        "POST",
        "/a2a",
        {"content": call("SendStreamingMessage", message=message())},
        200,
        "no-cache, no-transform",
    ),
    "no JSON": ("POST", "/", {"content": b"{"}, 200, "no-store"),
    "card": ("GET", CARD, {}, 200, "public, max-age=300"),
    "unknown card": ("GET", f"{CARD}?version=9", {}, 400, "no-store"),
    "HTTP+JSON": ("GET", "/tasks", {}, 200, "no-store"),
    "HTTP+JSON error": ("GET", "/tasks/none", {}, 404, "no-store"),
    "HTTP+JSON stream": (
        "POST",
        "/message:stream",
        {"json": {"message": message()}},
        200,
        "no-cache, no-transform",
    ),
    "nothing there": ("GET", "/nothing/there", {}, 404, "no-store"),
    "wrong method": ("PUT", "/a2a", {}, 405, "no-store"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_every_response_tells_browsers_and_caches_to_be_careful(name: str) -> None:
    """Each header once; what an answer says itself of caching is what counts."""
    method, path, body, status, caching = REQUESTS[name]
    async with on_socket(Script(ANSWER), service={"base_url": "https://agent.test"}) as client:
        response = await client.http.request(method, path, headers=JSON | VERSION, **body)

    assert response.status_code == status
    assert once(response, "cache-control") == caching
    assert once(response, "strict-transport-security") == "max-age=31536000"
    assert {header: once(response, header) for header in SAFE} == SAFE


async def test_without_https_nothing_is_said_of_it() -> None:
    async with on_socket(Script()) as client:
        response = await client.http.get("/tasks")

    assert "strict-transport-security" not in response.headers


async def preflight(client: Client, path: str, origin: str, method: str) -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Origin": origin}
    asked["Access-Control-Request-Headers"] = "a2a-version,authorization,content-type"
    return await client.http.options(path, headers=asked)


@pytest.mark.parametrize("path", ["/a2a", "/", "/message:send"])
async def test_any_page_may_call_where_callers_authenticate(path: str) -> None:
    """The browser asks first, without credentials; errors can be read as well."""
    async with on_socket(Script(ANSWER), authentication=KEYED) as client:
        asked = await preflight(client, path, PAGE, "POST")
        headers = JSON | VERSION | {"Origin": PAGE}
        refused = await client.http.post(path, content=b"{}", headers=headers)
        body = json.dumps({"message": message()}).encode()
        content = body if path == "/message:send" else call("SendMessage", message=message())
        taken = await client.http.post(path, content=content, headers=headers | KEY)

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert (refused.status_code, taken.status_code) == (401, 200)
    for response in (refused, taken):
        assert once(response, "access-control-allow-origin") == "*"
        exposed = once(response, "access-control-expose-headers")
        assert {"WWW-Authenticate", "Retry-After", "A2A-Extensions", "X-Request-ID"} <= set(
            exposed.split(", ")
        )
        assert "access-control-allow-credentials" not in response.headers


async def test_a_page_reads_a_stream() -> None:
    cors = {"allow_origins": [PAGE]}
    async with on_socket(Script(ANSWER), service={"cors": cors}) as client:
        response = await client.http.post(
            "/a2a",
            content=call("SendStreamingMessage", message=message()),
            headers=JSON | VERSION | {"Origin": PAGE},
        )

    assert response.headers["content-type"].startswith("text/event-stream")
    assert once(response, "access-control-allow-origin") == PAGE
    assert "TASK_STATE_COMPLETED" in response.text


async def test_only_named_origins_get_credentials_and_never_a_star() -> None:
    cors = {"allow_origins": [PAGE], "allow_credentials": True}
    async with on_socket(Script(), authentication=KEYED, service={"cors": cors}) as client:
        ours, foreign = [
            [
                await client.http.get("/tasks", headers=KEY | {"Origin": origin}),
                await client.http.get(CARD, headers={"Origin": origin}),
                await preflight(client, "/a2a", origin, "POST"),
            ]
            for origin in (PAGE, OTHER)
        ]

    for response in ours:
        assert once(response, "access-control-allow-origin") == PAGE
        assert once(response, "access-control-allow-credentials") == "true"
        assert "origin" in response.headers["vary"].lower()
    shown, card, asked = foreign
    assert "access-control-allow-origin" not in shown.headers
    assert "access-control-allow-origin" not in asked.headers
    assert asked.status_code == 400
    assert once(card, "access-control-allow-origin") == "*"
    assert "access-control-allow-credentials" not in card.headers


@pytest.mark.parametrize("said", [None, [], [PAGE], ["*"]], ids=["nothing", "none", "page", "any"])
async def test_the_card_is_for_every_page(said: list[str] | None) -> None:
    """Whatever CORS says of the rest, with one header."""
    service = {} if said is None else {"cors": {"allow_origins": said}}
    async with on_socket(Script(), service=service) as client:
        for path in (CARD, "/a2a", f"{CARD}?version=9"):
            response = await client.http.get(path, headers={"Origin": OTHER})

            assert once(response, "access-control-allow-origin") == "*"


FORMS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
"""A page may post these to any site without asking (Fetch standard)."""


@pytest.mark.parametrize("path", ["/a2a", "/", "/message:send", "/v1/message:send"])
@pytest.mark.parametrize("content_type", FORMS, ids=["text", "form", "multipart"])
async def test_what_pages_may_post_without_asking_is_refused_for_its_type(
    path: str, content_type: str
) -> None:
    """Even of pages that are allowed, and of those that do not name themselves."""
    script = Script(ANSWER)
    async with on_socket(script, service={"cors": {"allow_origins": [PAGE]}}) as client:
        for more in ({}, {"Origin": PAGE}):
            response = await client.http.post(
                path,
                content=call("SendMessage", message=message()),
                headers=VERSION | {"Content-Type": content_type} | more,
            )

            assert response.status_code == 415
    assert script.owners == []


IDENTITY = {"identity": {"type": "User", "user": {"user_id": "7", "username": "ann"}}}
BEHIND_GATEWAY = {"x-rh-identity": base64.b64encode(json.dumps(IDENTITY).encode()).decode()}


@pytest.mark.parametrize("module", ["noop", "noop-with-token", "rh-identity"])
@pytest.mark.parametrize("origin", [OTHER, "null", "http://127.0.0.1:1"])
async def test_pages_of_others_change_nothing_where_the_browser_is_believed(
    module: str, origin: str
) -> None:
    """Where everybody is, or a gateway makes the identity of the cookie that the browser adds.

    A cancellation needs no body, and so no type that would be asked about.
    """
    script = Script(ANSWER)
    shown = VERSION | KEY | BEHIND_GATEWAY | {"Origin": origin}
    headers = JSON | shown
    async with on_socket(script, authentication={"module": module}) as client:
        responses = [
            await client.http.post(
                "/a2a", content=call("SendMessage", message=message()), headers=headers
            ),
            await client.http.post("/tasks/t:cancel", headers=shown),
            await client.http.delete("/tasks/t", headers=headers),
        ]
        asked = await preflight(client, "/a2a", origin, "POST")
        read = await client.http.get("/tasks", headers=headers)

    assert read.status_code == 200
    for response in responses:
        assert response.status_code == 403
        body = response.json()
        assert body["error"]["status"] == "PERMISSION_DENIED"
        # Clients of REST read the error there.
        assert body["detail"] == {"response": "Forbidden", "cause": body["error"]["message"]}
    assert asked.status_code == 400
    # The browser does not show it to the page.
    assert "access-control-allow-origin" not in read.headers
    assert script.owners == []


NO_URLS = ["", "page", "://", "http://", "http://[", "http://[::1", "http://a]b", "http://[v1.x]"]


@pytest.mark.parametrize("host", [None, "", "]", "[::1]]", "a]b:1"])
async def test_an_origin_that_is_no_url_is_a_stranger(host: str | None) -> None:
    """Also to a server that is called by no name, or by one that cannot be."""
    named = {} if host is None else {"Host": host}
    async with on_socket(Script()) as client:
        for origin in ("null", *NO_URLS):
            headers = JSON | VERSION | named | {"Origin": origin}
            changed = await client.http.post(
                "/a2a", content=call("GetTask", id="none"), headers=headers
            )
            read = await client.http.get("/tasks", headers=headers)
            asked = await preflight(client, "/a2a", origin, "POST")

            assert (changed.status_code, read.status_code, asked.status_code) == (403, 200, 400)
            assert changed.headers["x-content-type-options"] == "nosniff"


async def test_what_only_looks_like_the_question_of_a_browser_is_refused() -> None:
    """No browser sends this header with anything but OPTIONS."""
    asking = {"Origin": OTHER, "Access-Control-Request-Method": "POST"}
    script = Script(ANSWER)
    async with on_socket(script) as client:
        content = call("SendMessage", message=message())
        response = await client.http.post("/a2a", content=content, headers=JSON | VERSION | asking)

    assert response.status_code == 403
    assert script.owners == []


async def test_pages_of_the_server_itself_and_of_named_origins_may_call() -> None:
    service = {"base_url": "https://agent.test/x", "cors": {"allow_origins": [PAGE]}}
    async with on_socket(Script(ANSWER), service=service) as client:
        own = str(client.http.base_url).rstrip("/")
        for origin in (own, "https://agent.test", PAGE):
            response = await client.http.post(
                "/a2a",
                content=call("GetTask", id="none"),
                headers=JSON | VERSION | {"Origin": origin},
            )

            assert response.json()["error"]["code"] == -32001


@pytest.mark.parametrize("prefix", ["", "/agents/one"], ids=["taken off", "left on"])
@pytest.mark.parametrize("root", ["/agents/one", "/a2a"])
async def test_a_proxy_may_serve_it_below_a_path_that_it_takes_off_or_leaves_on(
    prefix: str, root: str
) -> None:
    prefix = prefix and root
    async with on_socket(Script(ANSWER, ANSWER), service={"root_path": root}) as client:
        http = client.http
        card = (await http.get(prefix + CARD)).json()
        sent = await http.post(
            f"{prefix}/a2a", content=call("SendMessage", message=message()), headers=JSON | VERSION
        )
        streamed = await http.post(
            f"{prefix}/message:stream",
            json={"message": message() | {"messageId": "n"}},
            headers=VERSION,
        )
        task = sent.json()["result"]["task"]
        shown = await http.get(f"{prefix}/tasks/{task['id']}", headers=VERSION)
        missing = await http.get(f"{prefix}/nothing", headers=VERSION)
        older = await http.get(f"{prefix}/v1/tasks/{task['id']}")
        wrong = await http.put(f"{prefix}/message:send")

    urls = {one["url"] for one in card["supportedInterfaces"]}
    assert urls
    assert all(root in url for url in urls)
    assert shown.json()["id"] == older.json()["id"] == task["id"]
    assert "TASK_STATE_COMPLETED" in streamed.text
    assert (missing.status_code, wrong.status_code) == (404, 405)


async def test_only_a_whole_segment_of_a_path_is_the_prefix() -> None:
    async with on_socket(Script(), service={"root_path": "/agent"}) as client:
        other = await client.http.get("/agents/tasks", headers=VERSION)
        twice = await client.http.get("/agent/agent/tasks", headers=VERSION)
        bare = await client.http.post(
            "/agent", content=call("GetTask", id="none"), headers=JSON | VERSION
        )

    assert (other.status_code, twice.status_code) == (404, 404)
    assert bare.json()["error"]["code"] == -32001


@pytest.mark.parametrize("root", ["", "/agent"])
async def test_a_slash_at_the_end_is_forgiven_without_a_redirect(tmp_path: Path, root: str) -> None:
    """A redirect would lead wherever the Host header says, and the card with it."""
    key = str(keys.write(tmp_path / "key.pem"))
    async with on_socket(Script(), service={"root_path": root}, a2a={"signing_key": key}) as client:
        for path in (CARD, "/.well-known/agent.json", "/a2a", "/.well-known/jwks.json"):
            plain, slash = [
                await client.http.get(f"{root}{path}{end}", headers={"Host": "evil.test"})
                for end in ("", "/")
            ]

            assert (plain.status_code, slash.status_code) == (200, 200), path
            assert slash.content == plain.content
            assert b"evil" not in slash.content


async def test_nothing_is_redirected_by_its_slash() -> None:
    async with on_socket(Script(), service={"root_path": "/agent"}) as client:
        bare, slash = [
            await client.http.get(f"/agent{end}", headers={"Host": "evil.test"})
            for end in ("", "/")
        ]
        others = [
            await client.http.request(method, f"/agent{path}", headers={"Host": "evil.test"})
            for method, path in (
                ("GET", "/tasks/"),
                ("GET", "/liveness/"),
                ("PUT", "/a2a/"),
                ("POST", "/message:send/"),
                ("GET", "/nothing/"),
            )
        ]

    assert (bare.status_code, bare.content) == (slash.status_code, slash.content)
    for response in (bare, slash, *others):
        assert not response.is_redirect
        assert "location" not in response.headers


async def test_a_chunked_body_is_refused_when_it_has_become_too_large() -> None:
    """Nobody announced its size."""

    async def large() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with on_socket(Script(), limits={"body_bytes": 10_000}) as client:
        for path in ("/a2a", "/message:send"):
            response = await client.http.post(path, content=large(), headers=JSON | VERSION)

            assert response.status_code == 413


def get(port: int, *hosts: bytes, path: bytes = b"/tasks") -> tuple[bytes, dict[str, str]]:
    """Return the status and headers of the answer to a request with these Host headers."""
    lines = [b"GET %b HTTP/1.1" % path, *(b"Host: " + host for host in hosts)]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
        received = b""
        while data := connection.recv(65536):
            received += data
    head = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return head[0].encode(), dict(line.lower().split(": ", 1) for line in head[1:])


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """Yield the server as it is started, on loopback, where it believes everybody."""
    process = Process(tmp_path_factory.mktemp("transport"), a2a_state={"memory": True})
    async with running(process):
        yield process


@pytest.mark.parametrize(
    "hosts",
    [
        [b"localhost"],
        [b"LocalHost.:1234"],
        [b"127.0.0.1"],
        [b"127.9.9.9:80"],
        [b"[::1]:8080"],
        [],
    ],
    ids=["name", "name with port", "address", "another address", "IPv6", "none"],
)
async def test_on_loopback_its_names_are_served(server: Process, hosts: list[bytes]) -> None:
    """Who sends none is no browser."""
    status, _ = await anyio.to_thread.run_sync(get, server.port, *hosts)

    assert status == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "hosts",
    [
        [b"page.test"],
        [b"page.test:8080"],
        [b"localhost.page.test"],
        [b"127.0.0.1.page.test"],
        [b"localhost@page.test"],
        [b"192.168.0.1"],
        [b"[::1"],
        [b"\xff"],
        [b""],
        [b"localhost", b"page.test"],
    ],
    ids=[
        "name",
        "port",
        "prefix",
        "address",
        "user",
        "network",
        "brackets",
        "bytes",
        "empty",
        "two",
    ],
)
@pytest.mark.parametrize("path", [b"/tasks", b"/.well-known/agent-card.json", b"/nothing"])
async def test_a_name_that_was_made_to_mean_loopback_is_refused(
    server: Process, hosts: list[bytes], path: bytes
) -> None:
    """Behind it is a page of somebody else (DNS rebinding)."""
    asking = partial(get, server.port, *hosts, path=path)
    status, headers = await anyio.to_thread.run_sync(asking)

    assert status == b"HTTP/1.1 421 Misdirected Request"
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


async def test_the_host_of_the_base_url_is_served(tmp_path: Path) -> None:
    process = Process(tmp_path, a2a_state={"memory": True})
    settings = json.loads(process.config.read_text())
    settings["service"]["base_url"] = "https://agent.test/x"
    process.config.write_text(json.dumps(settings))
    async with running(process):
        ours, headers = await anyio.to_thread.run_sync(get, process.port, b"agent.test")
        foreign, _ = await anyio.to_thread.run_sync(get, process.port, b"page.test")

    assert ours == b"HTTP/1.1 200 OK"
    assert "server" not in headers
    assert foreign.startswith(b"HTTP/1.1 421 ")


async def test_a_server_on_all_addresses_is_called_by_whatever_name_it_has(tmp_path: Path) -> None:
    """As in a container, whose neighbours have a name for it that its settings need not know."""
    process = Process(tmp_path, a2a_state={"memory": True})
    settings = json.loads(process.config.read_text())
    settings["service"]["host"] = "0.0.0.0"
    process.config.write_text(json.dumps(settings))
    async with running(process):
        served = [
            (await anyio.to_thread.run_sync(get, process.port, host))[0]
            for host in (b"lightspeed-stack.ns.svc:8080", b"192.168.1.7:80", b"localhost")
        ]

    assert served == [b"HTTP/1.1 200 OK"] * 3
