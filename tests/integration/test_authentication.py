"""Who gets in, on every binding, over sockets: the modules that need nothing but the request."""

from __future__ import annotations

import base64
import json
import logging
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from anyio.streams.text import TextReceiveStream

pytest.importorskip("grpc")

import grpc
from a2a.types import a2a_pb2 as v1
from a2a.types import a2a_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from agent.app import create_app
from agent.cli import main
from agent.settings import Settings
from tests.fakes.ports import free_port
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import ByteReceiveStream

    type Headers = list[tuple[str, str]]

pytestmark = pytest.mark.anyio

KNOWLEDGE = Path(__file__).parent.parent / "fakes" / "knowledge"
KEY = "a-key-of-the-tests"
QUESTION = "How does auth work?"
stub_of: Any = a2a_pb2_grpc.A2AServiceStub

MODULES: dict[str, dict[str, Any]] = {
    "noop": {},
    "noop-with-token": {},
    "api-key-token": {"api_key_config": {"api_key": KEY}},
    "rh-identity": {"rh_identity_config": {"required_entitlements": ["rhel"]}},
}


def bearer(token: str) -> tuple[str, str]:
    """Return the header of a bearer token."""
    return ("authorization", f"Bearer {token}")


def rh_identity(told: Any) -> tuple[str, str]:
    """Return the header as the proxy sets it."""
    return ("x-rh-identity", base64.b64encode(json.dumps(told).encode()).decode())


def told_of(user_id: str, *, entitled: bool = True) -> dict[str, Any]:
    """Return what the proxy tells of a user."""
    user = {"user_id": user_id, "username": f"{user_id}@example.com"}
    return {
        "identity": {"type": "User", "user": user},
        "entitlements": {"rhel": {"is_entitled": entitled}},
    }


SYSTEM = {
    "identity": {"type": "System", "account_number": "77", "system": {"cn": "host-1"}},
    "entitlements": {"rhel": {"is_entitled": True}},
}

LET_IN: list[tuple[str, Headers]] = [
    ("noop", []),
    ("noop", [("authorization", "nonsense")]),
    ("noop-with-token", [bearer("anything")]),
    ("api-key-token", [bearer(KEY)]),
    ("api-key-token", [("authorization", f"bearer   {KEY}")]),
    ("rh-identity", [rh_identity(told_of("ann"))]),
    ("rh-identity", [rh_identity(SYSTEM)]),
]
LET_IN_IDS = [
    "noop",
    "noop-with-nonsense",
    "noop-with-token",
    "api-key-token",
    "api-key-token-lower-case",
    "rh-identity-user",
    "rh-identity-system",
]

UNAUTHENTICATED = "Missing or invalid credentials provided by client"
MALFORMED = "Invalid credentials format"
FORBIDDEN = "User does not have permission to access this endpoint"
BEARER = 'Bearer realm="llamastack-a2a"'
WRONG_KEY = f'{BEARER}, error="invalid_token", error_description="Invalid API Key"'


class Refusal(NamedTuple):
    """What is shown, and what comes back."""

    module: str
    headers: Headers
    response: str
    cause: str
    challenge: str = ""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return {UNAUTHENTICATED: 401, MALFORMED: 400, FORBIDDEN: 403}[self.response]

    @property
    def code(self) -> int:
        """The code of JSON-RPC."""
        return {UNAUTHENTICATED: -32055, MALFORMED: -32060, FORBIDDEN: -32056}[self.response]

    @property
    def reason(self) -> str:
        """The reason of ``google.rpc.ErrorInfo``."""
        reasons = ("UNAUTHENTICATED", "MALFORMED_CREDENTIALS", "PERMISSION_DENIED")
        return reasons[(UNAUTHENTICATED, MALFORMED, FORBIDDEN).index(self.response)]

    @property
    def grpc_code(self) -> grpc.StatusCode:
        """The status of gRPC."""
        return {
            UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
            MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
            FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
        }[self.response]

    @property
    def message(self) -> str:
        """What A2A says."""
        return f"{self.response}: {self.cause}"


def no_token(module: str, *headers: tuple[str, str]) -> Refusal:
    """Return how a header without a token is refused."""
    cause = "No token found in Authorization header"
    return Refusal(module, list(headers), UNAUTHENTICATED, cause, BEARER)


def no_header(module: str) -> Refusal:
    """Return how a request without the header is refused."""
    return Refusal(module, [], UNAUTHENTICATED, "No Authorization header found", BEARER)


def wrong_key(*headers: tuple[str, str]) -> Refusal:
    """Return how another key is refused."""
    return Refusal("api-key-token", list(headers), UNAUTHENTICATED, "Invalid API Key", WRONG_KEY)


def malformed(cause: str, *headers: tuple[str, str]) -> Refusal:
    """Return how a header that the proxy cannot have set is refused."""
    return Refusal("rh-identity", list(headers), MALFORMED, cause)


REFUSED = {
    "noop-with-token-none": no_header("noop-with-token"),
    "noop-with-token-basic": no_token("noop-with-token", ("authorization", "Basic YTpi")),
    "noop-with-token-no-token": no_token("noop-with-token", ("authorization", "Bearer")),
    "noop-with-token-two": no_token("noop-with-token", bearer("a"), bearer("b")),
    "api-key-none": no_header("api-key-token"),
    "api-key-basic": no_token("api-key-token", ("authorization", "Basic YTpi")),
    "api-key-without-scheme": no_token("api-key-token", ("authorization", KEY)),
    "api-key-wrong": wrong_key(bearer("another-key")),
    "api-key-part": wrong_key(bearer(KEY[:-1])),
    "api-key-more": wrong_key(bearer(f"{KEY}x")),
    "api-key-wrong-then-good": no_token("api-key-token", bearer("wrong"), bearer(KEY)),
    "api-key-good-then-wrong": no_token("api-key-token", bearer(KEY), bearer("wrong")),
    "api-key-good-twice": no_token("api-key-token", bearer(KEY), bearer(KEY)),
    "rh-identity-none": Refusal(
        "rh-identity",
        [bearer(KEY)],
        UNAUTHENTICATED,
        "Missing x-rh-identity header",
        'x-rh-identity realm="llamastack-a2a"',
    ),
    "rh-identity-no-base64": malformed(
        "Invalid base64 encoding in x-rh-identity header", ("x-rh-identity", "???")
    ),
    "rh-identity-twice": malformed(
        "Invalid base64 encoding in x-rh-identity header",
        rh_identity(told_of("ann")),
        rh_identity(told_of("bob")),
    ),
    "rh-identity-no-json": malformed(
        "Invalid JSON in x-rh-identity header", ("x-rh-identity", "bm8ganNvbg==")
    ),
    "rh-identity-of-list": malformed("Invalid 'identity' field", rh_identity({"identity": []})),
    "rh-identity-empty": malformed("Missing 'identity' field", rh_identity({})),
    "rh-identity-robot": malformed(
        "Unsupported identity type: Robot", rh_identity({"identity": {"type": "Robot"}})
    ),
    "rh-identity-not-entitled": Refusal(
        "rh-identity",
        [rh_identity(told_of("ann", entitled=False))],
        FORBIDDEN,
        "Missing required entitlement: rhel",
    ),
}


class Served(NamedTuple):
    """A server: its URL for HTTP, and its address for gRPC."""

    url: str
    target: str


@asynccontextmanager
async def served(module: str, **sections: Any) -> AsyncIterator[Served]:
    """Serve the embedded stack behind a module of authentication."""
    listening, port = listen(), free_port()
    settings = Settings.model_validate(
        {
            "authentication": {"module": module} | MODULES[module],
            "knowledge": KNOWLEDGE,
            "a2a_state": {"memory": True},
            "a2a": {"grpc_port": port},
            # All tests come from one address, to one server of each module.
            "limits": {"auth_failures_per_minute": 10_000},
            "service": {"host": "127.0.0.1", "base_url": listening[1]},
            **sections,
        }
    )
    async with run_server(create_app(settings), listening) as url:
        yield Served(url, f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, Served]]:
    """Yield a server of each module."""
    async with (
        served("noop") as noop,
        served("noop-with-token") as noop_with_token,
        served("api-key-token") as api_key,
        served("rh-identity") as rh,
    ):
        every = (noop, noop_with_token, api_key, rh)
        yield dict(zip(MODULES, every, strict=True))


def message(version: str = "1.0") -> dict[str, Any]:
    """Return a message with a question."""
    if version == "0.3":
        parts = [{"kind": "text", "text": QUESTION}]
        return {"kind": "message", "messageId": "m", "role": "user", "parts": parts}
    return {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": QUESTION}]}


def call(method: str, params: Any) -> dict[str, Any]:
    """Return the body of a JSON-RPC call."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def rpc(
    server: Served, method: str, params: Any, headers: Headers, query: str = ""
) -> httpx.Response:
    """Make a call with JSON-RPC."""
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as http:
            return await http.post(f"/a2a{query}", json=call(method, params), headers=headers)


async def http(
    server: Served, method: str, path: str, headers: Headers, body: Any = None
) -> httpx.Response:
    """Make a request with HTTP+JSON."""
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            return await client.request(method, path, json=body, headers=headers)


async def send_with_grpc(server: Served, headers: Headers) -> v1.Task:
    """Send a question with gRPC."""
    question = v1.Message(message_id="m", role=v1.ROLE_USER, parts=[v1.Part(text=QUESTION)])
    request = v1.SendMessageRequest(message=question)
    with anyio.fail_after(10):
        async with grpc.aio.insecure_channel(server.target) as channel:
            answer = await stub_of(channel).SendMessage(request, metadata=headers)
    task: v1.Task = answer.task
    return task


@pytest.mark.parametrize(("module", "headers"), LET_IN, ids=LET_IN_IDS)
async def test_good_credentials_run_a_turn_over_json_rpc(
    servers: dict[str, Served], module: str, headers: Headers
) -> None:
    answer = await rpc(servers[module], "SendMessage", {"message": message()}, headers)
    assert answer.status_code == 200
    assert "www-authenticate" not in answer.headers
    task = answer.json()["result"]["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "auth.module" in json.dumps(task["artifacts"])

    older = await rpc(servers[module], "message/send", {"message": message("0.3")}, headers)
    assert older.json()["result"]["status"]["state"] == "completed"


@pytest.mark.parametrize(("module", "headers"), LET_IN, ids=LET_IN_IDS)
async def test_good_credentials_run_a_turn_over_http_json(
    servers: dict[str, Served], module: str, headers: Headers
) -> None:
    server = servers[module]
    answer = await http(server, "POST", "/message:send", headers, {"message": message()})
    assert answer.status_code == 200
    task = answer.json()["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "auth.module" in json.dumps(task["artifacts"])


@pytest.mark.parametrize(("module", "headers"), LET_IN, ids=LET_IN_IDS)
async def test_good_credentials_run_a_turn_over_grpc(
    servers: dict[str, Served], module: str, headers: Headers
) -> None:
    task = await send_with_grpc(servers[module], headers)
    assert task.status.state == v1.TASK_STATE_COMPLETED
    assert "auth.module" in str(task.artifacts)


@pytest.mark.parametrize(
    "method",
    ["SendMessage", "SendStreamingMessage", "GetTask", "message/send", "message/stream", "x/y"],
)
@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
async def test_json_rpc_says_what_is_wrong(
    servers: dict[str, Served], refusal: Refusal, method: str
) -> None:
    params = {"message": message("0.3" if "/" in method else "1.0"), "id": "t"}
    answer = await rpc(servers[refusal.module], method, params, refusal.headers)
    assert answer.status_code == refusal.status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get("www-authenticate", "") == refusal.challenge
    body = answer.json()
    assert body.keys() == {"jsonrpc", "id", "error"}
    assert body["id"] is None
    assert (body["error"]["code"], body["error"]["message"]) == (refusal.code, refusal.message)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/message:send"),
        ("POST", "/message:stream"),
        ("GET", "/tasks"),
        ("GET", "/tasks/t"),
        ("DELETE", "/contexts/c"),
        ("POST", "/v1/message:send"),
    ],
)
@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
async def test_http_json_says_what_is_wrong(
    servers: dict[str, Served], refusal: Refusal, method: str, path: str
) -> None:
    body = {"message": message()} if method == "POST" else None
    answer = await http(servers[refusal.module], method, path, refusal.headers, body)
    assert answer.status_code == refusal.status
    assert answer.headers.get("www-authenticate", "") == refusal.challenge
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == (refusal.status, refusal.message)
    assert error["status"] == refusal.grpc_code.name
    assert error["details"][0]["reason"] == refusal.reason


@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
async def test_grpc_says_what_is_wrong(servers: dict[str, Served], refusal: Refusal) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send_with_grpc(servers[refusal.module], refusal.headers)
    error: Any = caught.value
    assert (error.code(), error.details()) == (refusal.grpc_code, refusal.message)
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == refusal.reason


async def exchange(server: Served, sent: bytes) -> bytes:
    """Send bytes; return what comes back until the server closes the connection."""
    received = b""
    url = urlsplit(server.url)
    assert url.hostname
    assert url.port
    with anyio.fail_after(10):
        async with await anyio.connect_tcp(url.hostname, url.port) as connection:
            await connection.send(sent)
            async for data in connection:
                received += data
    return received


@pytest.mark.parametrize("path", [b"/a2a", b"/message:send"], ids=["json-rpc", "http-json"])
async def test_a_request_is_refused_before_its_body_comes(
    servers: dict[str, Served], path: bytes
) -> None:
    """The body never comes; waiting for it would time out."""
    head = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    answer = await exchange(servers["api-key-token"], head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'www-authenticate: Bearer realm="llamastack-a2a"\r\n' in answer


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"AUTHORIZATION: BEARER " + KEY.encode(), b"200"),
        (b"authorization:bearer\t" + KEY.encode() + b"   ", b"200"),
        (b"Authorization: Bearer " + KEY.encode() + b"\r\nAuthorization: ", b"401"),
        (b"Authorization: \r\nAuthorization: Bearer " + KEY.encode(), b"401"),
        (b"Authorization: Bearer \xc3\xbc\xff\xfe", b"401"),
        (b"Authorization: Bearer\xa0" + KEY.encode(), b"401"),
        (b"Authorization: Bearer " + b"x" * 20_000, b"401"),
        (b"Authorization: " + b"Bearer " * 2_000, b"401"),
    ],
    ids=[
        "upper-case",
        "odd-spaces",
        "empty-second",
        "empty-first",
        "no-ascii",
        "no-break-space",
        "oversized",
        "many-words",
    ],
)
async def test_headers_as_they_may_come(
    servers: dict[str, Served], line: bytes, status: bytes
) -> None:
    body = json.dumps(call("ListTasks", {})).encode()
    head = b"POST /a2a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + line
    head += b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await exchange(servers["api-key-token"], head + body)
    assert answer.split(b" ", 2)[1] == status
    assert (b"www-authenticate: " in answer) == (status == b"401")


async def test_cards_need_no_credentials(servers: dict[str, Served]) -> None:
    for server in servers.values():
        answer = await http(server, "GET", "/.well-known/agent-card.json", [])
        assert answer.status_code == 200


async def test_a_key_that_is_shown_is_told_nowhere(
    servers: dict[str, Served], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for shown in (KEY, "wrong-canary"):
        answer = await rpc(servers["api-key-token"], "GetTask", {"id": "t"}, [bearer(shown)])
        for said in (answer.text, str(answer.headers), caplog.text):
            assert shown not in said


def as_user(module: str, name: str) -> tuple[str, Headers]:
    """Return the query and the headers of a user."""
    match module:
        case "noop":
            return f"?user_id={name}", []
        case "noop-with-token":
            return f"?user_id={name}", [bearer("same")]
        case "api-key-token":
            return f"?user_id={name}", [bearer(KEY)]
        case _:
            return "", [rh_identity(told_of(name))]


@pytest.mark.parametrize("module", MODULES)
async def test_users_do_not_see_each_others_tasks(servers: dict[str, Served], module: str) -> None:
    server = servers[module]
    query, headers = as_user(module, "alice")
    sent = await rpc(server, "SendMessage", {"message": message()}, headers, query)
    task = sent.json()["result"]["task"]["id"]

    own = await rpc(server, "GetTask", {"id": task}, headers, query)
    assert own.json()["result"]["id"] == task
    listed = await rpc(server, "ListTasks", {}, headers, query)
    assert [one["id"] for one in listed.json()["result"]["tasks"]] == [task]

    query, headers = as_user(module, "bob")
    for method in ("GetTask", "CancelTask", "SubscribeToTask", "tasks/get", "tasks/cancel"):
        other = await rpc(server, method, {"id": task}, headers, query)
        missing = await rpc(server, method, {"id": "no-such-task"}, headers, query)
        assert (other.status_code, other.json()) == (200, missing.json())
        assert other.json()["error"]["code"] == -32001
    listed = await rpc(server, "ListTasks", {}, headers, query)
    assert listed.json()["result"]["tasks"] == []
    answer = await http(server, "GET", f"/tasks/{task}{query}", headers)
    assert answer.status_code == 404
    listed = await http(server, "GET", f"/tasks{query}", headers)
    assert listed.json()["tasks"] == []


async def test_the_header_outweighs_the_query(servers: dict[str, Served]) -> None:
    server, carol = servers["rh-identity"], [rh_identity(told_of("carol"))]
    sent = await rpc(server, "SendMessage", {"message": message()}, carol)
    task = sent.json()["result"]["task"]["id"]
    mallory = [rh_identity(told_of("mallory"))]
    answer = await rpc(server, "GetTask", {"id": task}, mallory, "?user_id=carol")
    assert answer.json()["error"]["code"] == -32001


async def test_a_user_that_cannot_be_is_an_invalid_parameter(servers: dict[str, Served]) -> None:
    answer = await rpc(servers["noop"], "ListTasks", {}, [], "?user_id=%00")
    assert answer.json()["error"]["code"] == -32602


@pytest.mark.parametrize("module", MODULES)
async def test_an_open_address_is_told_of_once_at_start(
    module: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is believed there, or else that credentials can be read; it is the gRPC port that opens."""
    async with served(module, service={"host": "0.0.0.0", "base_url": "http://agent.example"}):
        (warning,) = [each for each in caplog.records if "service.host" in each.getMessage()]
    checks = module == "api-key-token"
    said = f"({module}) in plain HTTP" if checks else f"authentication.module is {module}"
    assert warning.levelno == logging.WARNING
    assert said in warning.getMessage()


async def until_said(stream: ByteReceiveStream, text: str) -> str:
    """Return what a process says up to the lines with ``text``."""
    said = ""
    async for part in TextReceiveStream(stream):
        said += part
        if text in said:
            return said
    return said


@pytest.mark.parametrize(
    ("host", "is_told"), [("0.0.0.0", True), ("127.0.0.1", False)], ids=["open", "loopback"]
)
async def test_the_server_tells_it_on_the_terminal(
    tmp_path: Path, host: str, *, is_told: bool
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("a2a_state: {memory: true}\n")
    program = str(Path(sys.executable).with_name("llamastack-a2a"))
    command = [program, "serve", "--config", str(config), "--host", host, "--port", "0"]
    with anyio.fail_after(60):
        async with await anyio.open_process(command, cwd=tmp_path) as process:
            try:
                assert process.stderr is not None
                said = await until_said(process.stderr, "Try it")
            finally:
                process.kill()
    assert "A2A agent" in said
    assert ("ANYBODY CAN CALL THIS SERVER" in said) == is_told


@pytest.mark.parametrize(
    ("host", "is_told"), [("0.0.0.0", True), ("localhost", False)], ids=["open", "loopback"]
)
def test_check_tells_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, *, is_told: bool
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"a2a_state: {{memory: true}}\nservice: {{host: {host!r}}}\n")
    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", str(config)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert ("WARNING: ANYBODY CAN CALL THIS SERVER" in said) == is_told
