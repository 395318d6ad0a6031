"""Canaries: every secret setting and all that callers show is planted, and looked for in all output."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAliasType, get_args
from urllib.parse import quote

import anyio
import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import BaseModel, SecretStr
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from agent.settings import Settings
from tests.durability.process import Process, running
from tests.fakes.certificates import Authority
from tests.fakes.issuer import Issuer
from tests.fakes.issuer import encoded as encoded_part
from tests.fakes.kubernetes import AUTHENTICATION, AUTHORIZATION, service_account
from tests.fakes.ports import free_port
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

pytestmark = pytest.mark.anyio

WORD = "canary"
FILES = {
    "authentication.k8s_service_account",
    "mcp_servers[].authorization_headers",
    "splunk.token_path",
}
"""Settings that name a file with a secret in it; that of a key has a test of its own."""

URLS = {
    "authentication.jwk_config.url",
    "authentication.k8s_cluster_api",
    "azure_entra_id.authority_host",
    "llama_stack.url",
    "mcp_servers[].url",
    "openai.base_url",
    "service.base_url",
    "splunk.url",
}
"""Settings that hold a URL, and perhaps a password in it.

``service.base_url`` is for everybody to read, and ``azure_entra_id.authority_host`` takes no password.
"""


def sections(annotation: Any) -> Iterator[Any]:
    """Yield what a type is made of."""
    if isinstance(annotation, TypeAliasType):
        yield from sections(annotation.__value__)
    elif args := get_args(annotation):
        for arg in args:
            yield from sections(arg)
    else:
        yield annotation


def keys_of(kind: Any, model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Yield the keys whose type is, or is named, ``kind``."""
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        key = prefix + name
        if kind in {*sections(annotation)} or kind in names_of(annotation):
            yield key
        for part in {*sections(annotation)}:
            if isinstance(part, type) and issubclass(part, BaseModel):
                many = "[]" if "tuple" in str(annotation) else ""
                yield from keys_of(kind, part, f"{key}{many}.")


def names_of(annotation: Any) -> set[str]:
    """Return the names of the aliases that a type is written with."""
    if isinstance(annotation, TypeAliasType):
        return {annotation.__name__, *names_of(annotation.__value__)}
    return {name for arg in get_args(annotation) for name in names_of(arg)}


class Planted:
    """Canaries, each with a name of its own."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def word(self, key: str) -> str:
        """Return the canary of a key."""
        return self.words.setdefault(key, f"{WORD}{len(self.words):02d}x7Qz")

    def plant(self, key: str, word: str) -> str:
        """Make a word that is not of our choice a canary; returns it."""
        return self.words.setdefault(key, word)

    def found_in(self, said: str | bytes) -> list[str]:
        """Return the keys whose canary is in what was said, as it is or encoded."""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        lowered = text.lower()
        return [
            key
            for key, word in self.words.items()
            if word.encode().hex() in lowered or any(form in text for form in encoded(word))
        ]


def encoded(word: str) -> set[str]:
    """Return how a word is written: as it is, in URLs, backwards, and in base64 whatever stands before it."""
    forms = {word, quote(word), quote(word, safe=""), word[::-1]}
    for shift in range(3):
        raw = b"\0" * shift + word.encode()
        for written in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
            forms.add(written.decode()[4 if shift else 0 : -4])
    return forms


@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda word: f"x{word}y",
        lambda word: quote(f"Bearer {word}"),
        lambda word: word.encode().hex().upper(),
        *(
            lambda word, n=n: base64.b64encode(b"~" * n + word.encode() + b"~~").decode()
            for n in range(4)
        ),
        *(
            lambda word, n=n: base64.urlsafe_b64encode(b"?" * n + word.encode()).decode()
            for n in range(4)
        ),
    ],
    ids=[
        *("plain", "within", "quoted", "hex"),
        *(f"base64-{n}" for n in range(4)),
        *(f"url-{n}" for n in range(4)),
    ],
)
def test_what_is_looked_for_is_found_in_whatever_form(write: Callable[[str], str]) -> None:
    """Or all the other tests could not fail."""
    planted = Planted()
    planted.plant("odd", "a/b+c?d~e/f??>>~~")
    for key in ("plain", "odd"):
        assert key in planted.found_in(write(planted.word(key)))
    assert not planted.found_in(write("nothing of this kind"))


def postgres(planted: Planted, key: str, port: int) -> dict[str, Any]:
    """Return the settings of a server that asks for no password."""
    return {
        "postgres": {
            "host": "127.0.0.1",
            "port": port,
            "db": "lcs",
            "user": "lcs",
            "password": planted.word(f"{key}.postgres.password"),
        }
    }


def configuration(planted: Planted, folder: Path, upstream: str) -> dict[str, Any]:
    """Return a configuration with a canary in every secret that there is."""
    word = planted.word

    def file(key: str, name: str) -> str:
        path = folder / name
        path.write_text(word(key))
        return str(path)

    def url(key: str, path: str = "") -> str:
        return f"{upstream.replace('//', f'//user:{word(key)}@')}{path}"

    return {
        "llama_stack": {"api_key": word("llama_stack.api_key")},
        "openai": {
            "base_url": url("openai.base_url", "/v1"),
            "api_key": word("openai.api_key"),
            "model": "m",
        },
        "authentication": {
            "module": "api-key-token",
            "api_key_config": {"api_key": word("authentication.api_key_config.api_key")},
            "jwk_config": {"url": f"{upstream}/jwks?key={word('authentication.jwk_config.url')}"},
            "k8s_cluster_api": url("authentication.k8s_cluster_api"),
            "k8s_service_account": str(
                service_account(folder, word("authentication.k8s_service_account"))
            ),
        },
        "mcp_servers": [
            {
                "name": "files",
                "url": url("mcp_servers[].url", f"/s/{word('path of mcp_servers[].url')}/mcp"),
                "authorization_headers": {
                    "Authorization": file("mcp_servers[].authorization_headers", "mcp"),
                    "X-Client": "client",
                },
            }
        ],
        "agent": {"toolgroups": ["files"]},
        "a2a": {"grpc_port": free_port()},
        "database": postgres(planted, "database", free_port()),
        "conversation_cache": {
            "type": "sqlite",
            "sqlite": {"db_path": str(folder / "conversations.db")},
        },
        "quota_handlers": {"sqlite": {"db_path": str(folder / "quotas.db")}},
        "azure_entra_id": {
            key: word(f"azure_entra_id.{key}")
            for key in ("tenant_id", "client_id", "client_secret")
        },
        "splunk": {
            "enabled": True,
            "url": url("splunk.url", "/services/collector"),
            "token_path": file("splunk.token_path", "splunk"),
            "index": "main",
        },
        "push": {"hmac_secret": word("push.hmac_secret"), "allow": ["127.0.0.1"]},
        "a2a_state": {"sqlite": {"db_path": str(folder / "state.db")}},
        "audit": {"enabled": True, "path": str(folder / "audit.log")},
    }


ELSEWHERE = {
    # The other databases cannot be set at the same time as SQLite; they fail to open in a test of their own.
    "a2a_state.postgres.password",
    "conversation_cache.postgres.password",
    "quota_handlers.postgres.password",
}


KNOWN = "user:known"
"""What a token ends with whose user the careless Kubernetes API knows."""


async def reflect(request: Request) -> JSONResponse:
    """Answer as a careless server does: with all that it was shown."""
    body = (await request.body()).decode("utf-8", "replace")
    echo = f"{dict(request.headers)} {request.url} {body}"
    headers = {"X-Echo": request.headers.get("authorization", "")}
    if f'{KNOWN}"' in body and request.url.path == AUTHENTICATION:
        status = {"authenticated": True, "user": {"username": "ann", "uid": "1"}, "error": echo}
        return JSONResponse({"kind": "TokenReview", "status": status}, 201, headers)
    if '"ann"' in body and request.url.path == AUTHORIZATION:
        access = {"allowed": True, "reason": echo}
        return JSONResponse({"kind": "SubjectAccessReview", "status": access}, 201, headers)
    return JSONResponse({"error": {"message": echo, "code": "x"}}, 400, headers)


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[str]:
    """Serve what stands behind the agent, and says everything that it hears."""
    methods = ["GET", "POST", "DELETE"]
    async with run_server(Starlette(routes=[Route("/{x:path}", reflect, methods=methods)])) as url:
        yield url


def test_every_secret_setting_is_planted(tmp_path: Path) -> None:
    """A setting that is new must be planted too."""
    planted = Planted()
    configuration(planted, tmp_path, "http://127.0.0.1:1")

    assert set(keys_of(SecretStr)) - ELSEWHERE <= planted.words.keys()
    assert set(keys_of("HttpUrl")) == URLS
    public = {"service.base_url", "llama_stack.url", "azure_entra_id.authority_host"}
    assert URLS - public <= planted.words.keys()
    assert planted.words.keys() >= FILES


class Visitor:
    """Asks a server for everything, and keeps all that it says."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.said: dict[str, str] = {}

    async def ask(self, name: str, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask once."""
        answer = await self.http.request(method, path, **request)
        self.said[name] = f"{answer.status_code} {dict(answer.headers)} {answer.text}"
        return answer

    async def call(self, name: str, method: str, params: Any, **request: Any) -> httpx.Response:
        """Call a method over JSON-RPC."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await self.ask(name, "POST", "/a2a", json=body, **request)


type Headers = dict[str, str]


class Module(NamedTuple):
    """An authentication module: its settings, what is shown to it rightly, and what wrongly."""

    settings: dict[str, Any]
    right: Headers
    wrong: Headers
    is_let_in: bool = True


def api_key(planted: Planted, _issuer: Issuer, _upstream: str) -> Module:
    """One key for all."""
    key = planted.word("authentication.api_key_config.api_key")
    wrong = planted.word("a wrong key")
    return Module({"module": "api-key-token"}, bearer(key), bearer(wrong))


def jwk(planted: Planted, issuer: Issuer, _upstream: str) -> Module:
    """Tokens of an issuer, and of somebody else who has no key of it."""
    right = jwt_with(planted, "a good token", issuer)
    wrong = jwt_with(planted, "a forged token", Issuer())
    key = planted.word("authentication.jwk_config.url")
    settings = {"module": "jwk-token", "jwk_config": {"url": f"{issuer.url}?key={key}"}}
    return Module(settings, bearer(right), bearer(wrong))


def jwk_of_a_dead_issuer(planted: Planted, issuer: Issuer, _upstream: str) -> Module:
    """Nobody can be known."""
    right = jwt_with(planted, "a good token", issuer)
    key = planted.word("authentication.jwk_config.url")
    url = f"http://127.0.0.1:{free_port()}/jwks?key={key}"
    settings = {"module": "jwk-token", "jwk_config": {"url": url}}
    return Module(settings, bearer(right), bearer(planted.word("no token")), is_let_in=False)


def k8s(planted: Planted, _issuer: Issuer, upstream: str) -> Module:
    """A Kubernetes API that repeats the token of the server, and those that it is asked about."""
    right = planted.word("a token of Kubernetes") + KNOWN
    settings = {"module": "k8s", "k8s_cluster_api": upstream}  # takes no password
    return Module(settings, bearer(right), bearer(planted.word("an unknown token")))


def rh_identity(planted: Planted, _issuer: Issuer, _upstream: str) -> Module:
    """Headers that hold more than anybody needs."""
    user = {"user_id": "1", "username": "ann", "email": planted.word("an identity's email")}
    right = {"identity": {"type": "User", "user": user, "note": planted.word("a note of it")}}
    wrong = {"identity": {"type": "Robot", "user": user}}
    return Module({"module": "rh-identity"}, identity(right), identity(wrong))


def bearer(token: str) -> Headers:
    """Return what shows a token."""
    return {"authorization": f"Bearer {token}"}


def identity(document: Any) -> Headers:
    """Return what shows an identity."""
    return {"x-rh-identity": base64.b64encode(json.dumps(document).encode()).decode()}


def jwt_with(planted: Planted, key: str, issuer: Issuer) -> str:
    """Return a token; its signature is a canary, and so is a claim of it."""
    token = issuer.token(note=planted.word(f"a claim of {key}"))
    planted.plant(f"the signature of {key}", token.rpartition(".")[2])
    return token


MODULES = [api_key, jwk, jwk_of_a_dead_issuer, k8s, rh_identity]
TAKES_TOKEN = {"jwk-token", "k8s"}
WEBHOOKS = {"a webhook's token", "a webhook's credentials"}
"""What callers show in order that it is kept."""

PATHS = (
    "/",
    "/.well-known/agent-card.json",
    "/v1/config",
    "/v1/mcp-auth/client-options",
    "/v1/info",
    "/v1/models",
    "/v1/tools",
    "/v1/shields",
    "/v1/providers",
    "/v1/providers/vllm",
    "/v1/rags",
    "/metrics",
    "/openapi.json",
    "/readiness",
    "/liveness",
    "/extendedAgentCard",
    "/nothing",
)


async def visit(
    planted: Planted, url: str, upstream: str, right: Headers, wrong: Headers
) -> dict[str, str]:
    """Do all that a caller can do, rightly and wrongly; return what was answered."""
    word = planted.word
    shown = {
        **right,
        "mcp-headers": json.dumps({"files": {"X-Client": word("caller's MCP-HEADERS")}}),
        "cookie": f"session={word('a cookie')}",
    }
    basic = {"authorization": f"Basic {word('basic credentials')}"}
    unsigned = b".".join(encoded_part(part) for part in ({"alg": "none"}, {"sub": word("a JWT")}))
    looking = bearer(f"{unsigned.decode()}.")
    broken = {**shown, "mcp-headers": f"{{{word('broken MCP-HEADERS')}"}
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "Call files, please"}]}
    hook = {
        "url": f"{upstream}/hook",
        "token": word("a webhook's token"),
        "authentication": {"scheme": "Bearer", "credentials": word("a webhook's credentials")},
    }
    sending = {"message": said, "configuration": {"taskPushNotificationConfig": hook}}
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        visitor = Visitor(http)
        for path in PATHS:
            await visitor.ask(f"GET {path}", "GET", path, headers=shown)
            await visitor.ask(f"GET {path} wrong", "GET", path, headers=wrong)
        await visitor.ask("POST /authorized", "POST", "/authorized", headers=shown)
        await visitor.call("send", "SendMessage", sending, headers=shown)
        await visitor.call("stream", "SendStreamingMessage", {"message": said}, headers=shown)
        await visitor.call("list", "ListTasks", {}, headers=shown)
        for name, headers in {
            "wrong": wrong,
            "basic": basic,
            "unsigned": looking,
            "broken": broken,
        }.items():
            await visitor.call(name, "SendMessage", {"message": said}, headers=headers)
        await visitor.call("bad", "SendMessage", {"message": 1}, headers=shown)
        await visitor.ask("no JSON", "POST", "/a2a", content=b"{", headers=shown)
        return visitor.said


async def visit_grpc(port: int, right: Headers, wrong: Headers) -> dict[str, str]:
    """Send a message with either as metadata; return what was answered."""
    grpc = pytest.importorskip("grpc")
    messages = pytest.importorskip("a2a.types.a2a_pb2")
    message = messages.Message(message_id="g", role=1, parts=[messages.Part(text="Call files")])
    request = messages.SendMessageRequest(message=message).SerializeToString()
    said = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        send = channel.unary_unary("/lf.a2a.v1.A2AService/SendMessage")
        for name, metadata in {"gRPC": right, "gRPC wrong": wrong}.items():
            call = send(request, metadata=tuple(metadata.items()), timeout=30)
            code, details = await call.code(), await call.details()
            answer = await call if code is grpc.StatusCode.OK else b""
            trailing = [*await call.initial_metadata(), *await call.trailing_metadata()]
            said[name] = f"{code.name} {details} {trailing} {answer!r}"
    return said


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """Serve the keys of an issuer of tokens."""
    async with Issuer().serving() as served:
        yield served


@pytest.mark.parametrize("make", MODULES, ids=lambda make: make.__name__)
async def test_no_secret_is_in_anything_that_the_server_says(
    tmp_path: Path, upstream: str, issuer: Issuer, make: Callable[[Planted, Issuer, str], Module]
) -> None:
    """What stands behind it fails, and tells everything that it was shown."""
    planted = Planted()
    settings = configuration(planted, tmp_path, upstream)
    module = make(planted, issuer, upstream)
    settings["authentication"] |= module.settings
    if module.settings["module"] in TAKES_TOKEN:
        settings["mcp_servers"][0]["authorization_headers"]["X-Token"] = "kubernetes"
    server = Process(tmp_path, stack=None, **settings)
    async with running(server):
        answers = await visit(planted, server.url, upstream, module.right, module.wrong)
        answers |= await visit_grpc(settings["a2a"]["grpc_port"], module.right, module.wrong)

    let_in = "200 " if module.is_let_in else "503 "
    assert answers["GET /v1/config"].startswith(let_in)
    assert answers["gRPC"].startswith("OK " if module.is_let_in else "UNAVAILABLE ")
    assert ("TASK_STATE_FAILED" in answers["send"]) == module.is_let_in
    assert answers["wrong"][:3] in {"400", "401", "503"}
    for name, said in {**answers, "log": server.log}.items():
        assert not planted.found_in(said), name
    assert server.log
    assert not planted.found_in((tmp_path / "audit.log").read_bytes())
    assert not {*planted.found_in(stored_in(tmp_path))} - WEBHOOKS


def stored_in(folder: Path) -> bytes:
    """Return what the databases there hold."""
    files = sorted(folder.glob("*.db*"))
    assert files
    return b"".join(path.read_bytes() for path in files)


async def test_the_check_of_a_configuration_tells_no_secret(tmp_path: Path, upstream: str) -> None:
    planted = Planted()
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(configuration(planted, tmp_path, upstream)))

    said = await anyio.to_thread.run_sync(run, "check", "--config", str(config))

    assert said
    assert not planted.found_in(said)


@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_the_password_of_a_key_is_told_nobody(tmp_path: Path, *, is_right: bool) -> None:
    """Whether it opens the key or not."""
    planted = Planted()
    password = tmp_path / "password"
    password.write_text(planted.word("service.tls_config.tls_key_password"))
    certificate = Authority(tmp_path).certificate()
    key = load_pem_private_key(certificate.read_bytes(), None)
    other = planted.word("another password")
    used = password.read_text() if is_right else other
    locked = tmp_path / "key.pem"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(used.encode()))
    )
    tls = {
        "tls_certificate_path": str(certificate),
        "tls_key_path": str(locked),
        "tls_key_password": str(password),
    }
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"service": {"tls_config": tls}, "a2a_state": {"memory": True}}))

    said = run("check", "--config", str(config))

    assert ("tls_key_password" in said) != is_right
    assert not planted.found_in(said)


@pytest.mark.parametrize(
    "section", ["a2a_state", "database", "conversation_cache", "quota_handlers"]
)
async def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    tmp_path: Path, section: str
) -> None:
    planted = Planted()
    settings: dict[str, Any] = {section: postgres(planted, section, free_port())}
    if section == "conversation_cache":
        settings[section] |= {"type": "postgres"}
    if section == "quota_handlers":
        limiter = {"type": "user_limiter", "name": "n", "initial_quota": 1, "quota_increase": 0}
        settings[section] |= {
            "limiters": [limiter | {"period": "1 day"}],
            "scheduler": {"database_reconnection_count": 1, "database_reconnection_delay": 1},
        }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))

    for command in ("check", "serve"):
        said = await anyio.to_thread.run_sync(run, command, "--config", str(config))
        assert said
        assert not planted.found_in(said), command


@pytest.mark.parametrize(
    "wrong",
    [
        {"openai": {"api_key": "WORD", "nothing": 1}},
        {"authentication": {"module": "api-key-token", "api_key_config": {"api_kee": "WORD"}}},
        {"push": {"hmac_secret": "whsec_WORD!"}},
        {"a2a_state": {"postgres": {"db": "d", "password": "WORD"}}},
        {"azure_entra_id": {"tenant_id": ["WORD"]}},
        {"openai": {"base_url": "http://user:WORD@host:port/"}},
    ],
    ids=["unknown-key", "misspelt-key", "not-base64", "incomplete", "wrong-type", "url"],
)
def test_a_mistake_is_told_without_the_secret_that_stands_beside_it(
    tmp_path: Path, wrong: Any
) -> None:
    planted = Planted()
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(wrong).replace("WORD", planted.word("the secret")))

    said = run("check", "--config", str(config))

    assert said
    assert not planted.found_in(said)


def run(*arguments: str) -> str:
    """Run the command line; return what it says."""
    program = Path(sys.executable).with_name("llamastack-a2a")
    done = subprocess.run(
        [program, *arguments], capture_output=True, check=False, timeout=60, env={**os.environ}
    )
    return (done.stdout + done.stderr).decode()
