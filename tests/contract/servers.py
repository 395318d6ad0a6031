"""The servers of the contract: each is set up for the statuses that cannot be had otherwise."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import httpx

from agent.app import DRAIN, create_app
from agent.settings import Settings
from tests.contract.case import Server
from tests.contract.model import fox_settings
from tests.contract.stacks import FAULTY
from tests.fakes.api_key import KEYED, SHOWN
from tests.fakes.identities import TOLD, user
from tests.fakes.kubernetes import service_account
from tests.fakes.ports import free_port
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    type Json = dict[str, Any]
    type Opened = AbstractAsyncContextManager[Server]

BODY_BYTES = 20_000


def entitled(*entitlements: str) -> dict[str, str]:
    """Return the header of a user who is entitled."""
    identity = {"type": "User", "user": {"user_id": "ann", "username": "Ann"}}
    told = {
        "identity": identity,
        "entitlements": {name: {"is_entitled": True} for name in entitlements},
    }
    return {"x-rh-identity": base64.b64encode(json.dumps(told).encode()).decode()}


def settings_in(folder: Path, **more: Any) -> Settings:
    """Return the settings of a server that keeps all it has in a folder."""
    given: Json = {
        "a2a_state": {"sqlite": {"db_path": str(folder / "state.db")}},
        "knowledge": str(documents(folder)),
        "user_data_collection": {
            "feedback_enabled": True,
            "feedback_storage": str(folder / "feedback"),
        },
        "conversation_cache": {"type": "state"},
        "limits": {"body_bytes": BODY_BYTES},
    }
    return Settings.model_validate(given | more)


def documents(folder: Path) -> Path:
    """Write what is known about foxes."""
    known = folder / "documents"
    known.mkdir(exist_ok=True)
    (known / "foxes.md").write_text("# Foxes\n\nThe quick brown fox jumps over the lazy dog.\n")
    return known


@asynccontextmanager
async def serving(
    settings: Settings, folder: Path, known: dict[str, str] | None = None
) -> AsyncIterator[Server]:
    """Serve on a real socket."""
    async with (
        run_server(create_app(settings)) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        yield Server(http, folder, known or {})


def _simply(known: dict[str, str] | None = None, **more: Any) -> Callable[[Path], Opened]:
    def opened(folder: Path) -> Opened:
        return serving(settings_in(folder, **more), folder, known)

    return opened


@asynccontextmanager
async def _with_model(folder: Path) -> AsyncIterator[Server]:
    async with fox_settings() as fox, serving(settings_in(folder, **fox), folder) as server:
        yield server


@asynccontextmanager
async def _tried_too_often(folder: Path) -> AsyncIterator[Server]:
    limits = {"auth_failures_per_minute": 1}
    settings = settings_in(folder, authentication=KEYED, limits=limits)
    async with serving(settings, folder, SHOWN) as server:
        wrong = {"authorization": "Bearer wrong"}
        assert (await server.http.get("/liveness", headers=wrong)).status_code == 401
        yield server


def _who_is_away(folder: Path) -> Opened:
    account = service_account(folder)
    kubernetes = {
        "module": "k8s",
        "k8s_cluster_api": f"http://127.0.0.1:{free_port()}",
        "k8s_service_account": str(account),
    }
    settings = settings_in(folder, authentication=kubernetes)
    return serving(settings, folder, {"authorization": "Bearer somebody"})


def _without_stack(folder: Path) -> Opened:
    stack = {"url": f"http://127.0.0.1:{free_port()}", "timeout": 2}
    return serving(settings_in(folder, llama_stack=stack), folder)


@asynccontextmanager
async def _draining(folder: Path) -> AsyncIterator[Server]:
    app = create_app(settings_in(folder))
    state: Json = {}

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            state["lifespan"] = scope["state"]
        await app(scope, receive, send)

    async with run_server(watched) as url, httpx.AsyncClient(base_url=url) as http:
        await state["lifespan"][DRAIN](0)
        yield Server(http, folder, {})


@asynccontextmanager
async def _broken_state(folder: Path) -> AsyncIterator[Server]:
    async with serving(settings_in(folder), folder) as server:
        with closing(sqlite3.connect(folder / "state.db")) as database:
            for table in ("contexts", "tasks"):
                database.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")
            database.commit()
        yield server


def _no_room(folder: Path) -> Opened:
    (folder / "full").write_text("a file, where a folder should be")
    stored = {"feedback_enabled": True, "feedback_storage": str(folder / "full")}
    return serving(settings_in(folder, user_data_collection=stored), folder)


_NOTHING = [{"role": "*", "actions": ["model_override"]}]
_QUERIES = [{"role": "*", "actions": ["query", "streaming_query"]}]
_LIMITER = {"type": "user_limiter", "name": "daily", "initial_quota": 0, "quota_increase": 0}
_ENTITLED = {
    "module": "rh-identity",
    "rh_identity_config": {"required_entitlements": ["rhel"]},
}

SERVERS: dict[str, Callable[[Path], Opened]] = {
    "plain": _simply(),
    "model": _with_model,
    "guarded": _simply(SHOWN, authentication=KEYED, authorization={"access_rules": _NOTHING}),
    "entitled": _simply(entitled("rhel"), authentication=_ENTITLED),
    "tried too often": _tried_too_often,
    "identities away": _who_is_away,
    "no quota": _simply(
        quota_handlers={"limiters": [_LIMITER | {"period": "1 day"}], "scheduler": {"period": 1}}
    ),
    "no stack": _without_stack,
    "faulty stack": _simply(stack=FAULTY),
    "no collection": _simply(user_data_collection={}, conversation_cache={}),
    "draining": _draining,
    "queries only": _simply(authorization={"access_rules": _QUERIES}),
    "users": _simply(user("ann"), authentication=TOLD),
    "broken state": _broken_state,
    "no room": _no_room,
}


class Servers:
    """Starts each server when it is first needed; they are there for all cases of a module."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exits = AsyncExitStack()
        self._running: dict[str, Server] = {}

    async def named(self, name: str) -> Server:
        """Return a server of the table."""
        if name not in self._running:
            folder = self._folder / name.replace(" ", "-")
            folder.mkdir()
            self._running[name] = await self._exits.enter_async_context(SERVERS[name](folder))
        return self._running[name]

    async def close(self) -> None:
        """Stop them all."""
        await self._exits.aclose()
