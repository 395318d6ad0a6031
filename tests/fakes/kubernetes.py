"""A Kubernetes API on a real socket, as far as it knows tokens, users and what they may do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    type Answer = tuple[int, bytes]

AUTHENTICATION = "/apis/authentication.k8s.io/v1/tokenreviews"
AUTHORIZATION = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
CLUSTER_VERSION = "/apis/config.openshift.io/v1/clusterversions/version"
CLUSTER_ID = "6a1b3c5d-0000-4000-8000-00000000c1d5"
SERVER_TOKEN = "token-of-the-server"
NEITHER: dict[str, Any] = {"error": "[invalid bearer token, Token has expired]"}

HANG, HALF = "hang", "half"
"""What to say in order to say nothing, or to begin and never end."""


class Asked(msgspec.Struct, frozen=True):
    """A request: ``body`` is None for GET."""

    path: str
    authorization: str
    body: Any
    client: tuple[str, int]


def user(name: str, *groups: str, uid: str | None = None) -> dict[str, Any]:
    """Return a user as the API describes one."""
    described: dict[str, Any] = {
        "username": name,
        "groups": [*groups, "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": [f"JTI={name}"]},
    }
    return described | ({"uid": f"uid-of-{name}"} if uid is None else {"uid": uid} if uid else {})


class Kubernetes:
    """An ASGI application. ``users`` are by token; ``allowed`` are names and groups that may ``get`` paths.

    ``said`` is answered instead, by path: a status and a body, ``HANG`` or ``HALF``. ``hold`` keeps the
    reviews of tokens back until it is set.
    """

    def __init__(self) -> None:
        """Nobody is known."""
        self.users: dict[str, dict[str, Any]] = {}
        self.allowed: set[tuple[str, str]] = set()
        self.audience_aware = True
        self.server_token = SERVER_TOKEN
        self.said: dict[str, Answer | str] = {}
        self.headers: list[tuple[bytes, bytes]] = []
        self.asked: list[Asked] = []
        self.hold: asyncio.Event | None = None
        self.url = ""
        self._more = asyncio.Event()

    def add(self, token: str, described: dict[str, Any], *paths: str) -> None:
        """Make a user known, who may ``get`` the paths."""
        self.users[token] = described
        self.allowed |= {(described["username"], path) for path in paths or ("/ls-access",)}

    async def hears(self, count: int = 1) -> None:
        """Wait until so much was asked."""
        with anyio.fail_after(10):
            while len(self.asked) < count:
                self._more.clear()
                await self._more.wait()

    def bodies(self, path: str) -> list[Any]:
        """Return what was asked at a path."""
        return [asked.body for asked in self.asked if asked.path == path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        asked = await _read(scope, receive)
        self.asked.append(asked)
        self._more.set()
        if self.hold is not None and asked.path == AUTHENTICATION:
            await self.hold.wait()
        answer = self.said.get(asked.path) or self._answer(asked)
        if isinstance(answer, str):
            if answer == HALF:
                await send({"type": "http.response.start", "status": 201, "headers": []})
                await send({"type": "http.response.body", "body": b"{", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        status, body = answer
        headers = [(b"content-type", b"application/json"), *self.headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, asked: Asked) -> Answer:
        if asked.authorization != f"Bearer {self.server_token}":
            return status_answer(401, "Unauthorized")
        if asked.path == CLUSTER_VERSION and asked.body is None:
            found = {"kind": "ClusterVersion", "spec": {"clusterID": CLUSTER_ID}}
            return 200, msgspec.json.encode({"apiVersion": "config.openshift.io/v1"} | found)
        kinds: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
            AUTHENTICATION: ("authentication.k8s.io/v1", "TokenReview", self._of_token),
            AUTHORIZATION: ("authorization.k8s.io/v1", "SubjectAccessReview", self._of_access),
        }
        if asked.path not in kinds:
            return status_answer(404, "NotFound")
        version, kind, decide = kinds[asked.path]
        if asked.body["apiVersion"] != version or asked.body["kind"] != kind:
            return status_answer(400, "BadRequest")
        status = decide(asked.body["spec"])
        return 201, msgspec.json.encode(asked.body | {"metadata": {}, "status": status})

    def _of_token(self, spec: Any) -> Any:
        known = self.users.get(spec["token"])
        if known is None:
            return NEITHER
        audiences = known.get("audiences", ["kubernetes"])
        asked = spec.get("audiences") or ["kubernetes"]
        shared = [name for name in asked if name in audiences]
        if self.audience_aware and not shared:
            return NEITHER
        described = {name: value for name, value in known.items() if name != "audiences"}
        status = {"authenticated": True, "user": described}
        return status | ({"audiences": shared} if self.audience_aware else {})

    def _of_access(self, spec: Any) -> Any:
        path = spec["nonResourceAttributes"]["path"]
        names = [spec["user"], *spec.get("groups", [])]
        if spec["nonResourceAttributes"]["verb"] == "get" and any(
            (name, path) in self.allowed for name in names
        ):
            return {"allowed": True, "reason": "RBAC: allowed by ClusterRoleBinding"}
        return {"allowed": False}


def status_answer(code: int, reason: str) -> Answer:
    """Return what the API says when it does not do what it was asked."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return code, msgspec.json.encode(status | {"reason": reason, "message": reason, "code": code})


@asynccontextmanager
async def serve(certificate: Path | None = None) -> AsyncIterator[Kubernetes]:
    """Serve the API on a loopback port; its ``url`` says where."""
    kubernetes = Kubernetes()
    async with run_server(kubernetes, certificate=certificate) as url:
        kubernetes.url = url
        yield kubernetes


def service_account(folder: Path, token: str = SERVER_TOKEN) -> Path:
    """Write the files that a pod finds; returns their folder."""
    account = folder / "serviceaccount"
    account.mkdir(exist_ok=True)
    (account / "token").write_text(f"{token}\n")
    return account


async def _read(scope: Scope, receive: Receive) -> Asked:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    said = msgspec.json.decode(body) if body else None
    return Asked(scope["path"], headers.get("authorization", ""), said, scope["client"])


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
