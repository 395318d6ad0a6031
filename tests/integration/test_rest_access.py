"""The REST routes of LCS over sockets: who may call which, and what is answered."""

from __future__ import annotations

import base64
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.auth.access import ACTIONS, Access
from agent.auth.attempts import Attempts
from agent.auth.gate import Gate
from agent.auth.noop import ANONYMOUS, Noop
from agent.errors import StateUnavailable
from agent.settings import Settings
from agent.stacks import BaseStack, Health
from rest_compat.lightspeed.health import SHARED_SECONDS, Providers
from rest_compat.lightspeed.openapi import OUTSIDE
from tests.fakes.gates import open_gate
from tests.fakes.lightspeed_document import check, published, schema_of
from tests.fakes.rest import rest_app
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

# Method, path and LCS's action; None is for whoever is known.
ROUTES = [
    ("GET", "/liveness", "info"),
    ("GET", "/readiness", "info"),
    ("POST", "/authorized", None),
    ("GET", "/v1/config", "get_config"),
    ("GET", "/v1/mcp-auth/client-options", "get_tools"),
]
PROBES = ["/liveness", "/readiness"]
RH_IDENTITY = {"module": "rh-identity"}


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve all there is."""
    with anyio.fail_after(20):
        app = create_app(Settings(**{"a2a_state": {"memory": True}} | settings))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            yield http


def shown(user: str) -> dict[str, str]:
    """Return the header of an identity."""
    said = {"type": "User", "user": {"user_id": user, "username": f"{user} by name"}}
    header = base64.b64encode(json.dumps({"identity": said}).encode()).decode()
    return {"x-rh-identity": header}


def allowing(actions: Any) -> dict[str, Any]:
    """Return the settings that allow everybody these actions."""
    return {"authorization": {"access_rules": [{"role": "*", "actions": sorted(actions)}]}}


def test_the_routes_in_the_table_of_these_tests_are_there() -> None:
    app = rest_app(open_gate())
    routes = {
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        if path not in OUTSIDE
        for method in operations
    }
    assert routes >= {(method, path) for method, path, _ in ROUTES}


@pytest.mark.parametrize(
    ("method", "path", "action"), [route for route in ROUTES if route[2]], ids=str
)
async def test_a_route_needs_its_action_and_no_other(method: str, path: str, action: str) -> None:
    async with serving(**allowing({action})) as http:
        assert (await http.request(method, path)).status_code == 200
    async with serving(**allowing(ACTIONS - {action, "admin"})) as http:
        refused = await http.request(method, path)
        assert refused.status_code == 403
        assert refused.json() == {
            "detail": {
                "response": "User does not have permission to access this endpoint",
                "cause": f"User {ANONYMOUS} is not authorized to access this endpoint.",
            }
        }


async def test_whoever_is_known_may_ask_who_they_are() -> None:
    async with serving(authentication=RH_IDENTITY, **allowing({"query"})) as http:
        answer = await http.post("/authorized", headers=shown("ann"))
        assert answer.status_code == 200
        assert answer.json() == {
            "user_id": "ann",
            "username": "ann by name",
            "skip_userid_check": False,
        }
        assert (await http.post("/authorized")).status_code == 401


async def test_the_anonymous_user_is_told_that_their_id_is_not_checked() -> None:
    async with serving() as http:
        assert (await http.post("/authorized")).json() == {
            "user_id": ANONYMOUS,
            "username": "lightspeed-user",
            "skip_userid_check": True,
        }


@pytest.mark.parametrize(("method", "path", "_action"), ROUTES, ids=str)
async def test_who_shows_nothing_is_challenged(method: str, path: str, _action: str) -> None:
    async with serving(authentication=RH_IDENTITY) as http:
        refused = await http.request(method, path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"]
        assert refused.json() == {
            "detail": {
                "response": "Missing or invalid credentials provided by client",
                "cause": "Missing x-rh-identity header",
            }
        }
        broken = await http.request(method, path, headers={"x-rh-identity": "!"})
        assert broken.status_code == 400
        assert broken.json()["detail"].keys() == {"response", "cause"}


@pytest.mark.parametrize(("method", "path", "_action"), ROUTES, ids=str)
async def test_probes_may_go_without_credentials_and_nothing_else(
    method: str, path: str, _action: str
) -> None:
    authentication = RH_IDENTITY | {"skip_for_health_probes": True}
    async with serving(authentication=authentication, **allowing({"query"})) as http:
        answer = await http.request(method, path)
        assert answer.status_code == (200 if path in PROBES else 401)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/nope", "/v1/nope", "/liveness//", "/v2", "/v1beta/eval/x"])
async def test_where_nothing_is_that_is_said_as_lcs_says_it(method: str, path: str) -> None:
    async with serving(authentication=RH_IDENTITY) as http:
        answer = await http.request(method, path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("root", ["", "/agent"])
async def test_a_method_that_a_path_has_not_is_refused_with_those_it_has(root: str) -> None:
    paths = {
        "/authorized": "POST",
        "/v1/feedback/status": "GET, PUT",
        "/v1/conversations": "GET",
        f"/v2/conversations/{'0' * 48}": "DELETE, GET, PUT",
    }
    async with serving(service={"root_path": root}) as http:
        for path, allowed in paths.items():
            answer = await http.patch(f"{root}{path}")
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert answer.json() == {"detail": "Method Not Allowed"}


async def test_json_rpc_and_the_card_do_not_pass_through_the_rest_layer() -> None:
    app = create_app(Settings.model_validate({"a2a_state": {"memory": True}}))

    async def never(*_: Any) -> None:
        raise AssertionError

    app.router.default = never
    with anyio.fail_after(20):
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/.well-known/agent-card.json")).status_code == 200
            call = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
            assert (await http.post("/a2a", json=call)).json()["result"]["tasks"] == []


# What is asked whether it is well.


class Database:
    """Answers, or does what a test wants."""

    def __init__(self, read: Callable[[], Any] | None = None) -> None:
        self._read = read

    async def read(self, _work: Any) -> None:
        """Do it."""
        if self._read is not None:
            await self._read()


class Asked(BaseStack):
    """Says how it is."""

    def __init__(self, health: Callable[[], Any]) -> None:
        super().__init__(Settings())
        self._health = health

    async def health(self) -> Health:
        """Say it."""
        health: Health = await self._health()
        return health


@asynccontextmanager
async def probed(
    health: Callable[[], Any], read: Callable[[], Any] | None = None, patience: float = 5.0
) -> AsyncIterator[httpx.AsyncClient]:
    providers = Providers(Asked(health), Database(read), patience)  # type: ignore[arg-type]
    app = rest_app(open_gate(), providers=providers)
    with anyio.fail_after(20):
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            yield http


async def _well() -> Health:
    return Health(ok=True)


async def _unwell() -> Health:
    return Health(ok=False, detail="Llama Stack says that it is not well.")


async def _raises() -> Any:
    raise ValueError("canary")


async def _cannot_be_read() -> None:
    raise StateUnavailable


UNHEALTHY = [
    (_unwell, None, 5.0, {"stack": "Llama Stack says that it is not well."}),
    (_raises, None, 5.0, {"stack": "The check failed"}),
    (_well, _cannot_be_read, 5.0, {"a2a_state": "The state database cannot be reached."}),
    (anyio.sleep_forever, None, 0.01, {"stack": "No answer within 0.01 seconds"}),
    (
        _unwell,
        anyio.sleep_forever,
        0.01,
        {
            "stack": "Llama Stack says that it is not well.",
            "a2a_state": "No answer within 0.01 seconds",
        },
    ),
]


async def test_the_server_is_ready_when_what_it_needs_is_well() -> None:
    async with probed(_well) as http:
        answer = await http.get("/readiness")
        assert answer.status_code == 200
        assert answer.json() == {
            "ready": True,
            "reason": "All providers are healthy",
            "providers": [],
        }


@pytest.mark.parametrize(
    ("health", "read", "patience", "problems"),
    UNHEALTHY,
    ids=["unwell", "raises", "database", "silent", "both"],
)
async def test_a_server_that_is_not_ready_says_why(
    health: Any, read: Any, patience: float, problems: dict[str, str]
) -> None:
    async with probed(health, read, patience) as http:
        answer = await http.get("/readiness")
        assert answer.status_code == 503
        body = answer.json()
        reason = f"Providers not healthy: {', '.join(problems)}"
        assert body["ready"] is False
        assert body["reason"] == body["detail"]["response"] == reason
        told = {each["provider_id"]: each["message"] for each in body["providers"]}
        assert told == problems
        assert {each["status"] for each in body["providers"]} == {"unhealthy"}
        assert "canary" not in answer.text
        assert (await http.get("/liveness")).json() == {"alive": True}


async def test_probes_at_the_same_time_share_one_look_and_its_answer_for_a_second() -> None:
    """However many ask, the stack and the database are asked no more often."""
    now = [100.0]
    asked: list[str] = []
    answering = anyio.Event()

    async def health() -> Health:
        asked.append("stack")
        await answering.wait()
        return Health(ok=True)

    async def read() -> None:
        asked.append("a2a_state")

    providers = Providers(Asked(health), Database(read), clock=lambda: now[0])  # type: ignore[arg-type]
    found: list[Any] = []

    async def probe() -> None:
        found.append(await providers.unhealthy())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(probe)
            await anyio.wait_all_tasks_blocked()
            # A look that takes longer than a second is shared until it ends.
            now[0] += 3
            with anyio.CancelScope() as goes_away:
                goes_away.cancel()
                await probe()
            tasks.start_soon(probe)
            await anyio.wait_all_tasks_blocked()
            answering.set()
        assert sorted(asked) == ["a2a_state", "stack"]
        assert found == [[]] * 21

        # The next is made now, and told until its second is over.
        for later, looks in ((0.0, 2), (SHARED_SECONDS - 0.25, 2), (0.25, 3)):
            now[0] += later
            await probe()
            assert len(asked) == 2 * looks


async def test_what_is_not_ready_fits_both_what_lcs_publishes_and_what_it_sends() -> None:
    document = published()
    async with probed(_unwell) as http:
        body = (await http.get("/readiness")).json()
    check(body, "ServiceUnavailableResponse", document)
    check(body, "ReadinessResponse", document)


# A fault of ours.


async def test_a_fault_is_told_in_the_form_of_lcs_and_by_an_id() -> None:
    class Broken(Noop):
        async def identify(self, presented: Any) -> Any:  # noqa: ARG002 - as its class has it
            raise ValueError("canary")

    gate = Gate(Broken(), Access(()), Attempts(Settings().limits))
    app = rest_app(gate)
    async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
        answer = await http.get("/v1/config")
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert answer.json() == {
        "detail": {
            "response": "Internal server error",
            "cause": "An unexpected error occurred while processing the request.",
        }
    }
    assert answer.headers["x-request-id"]


# What is published.


@pytest.mark.parametrize(("method", "path", "_action"), ROUTES, ids=str)
async def test_answers_and_errors_fit_the_document_of_lcs(
    method: str, path: str, _action: str
) -> None:
    operation = published()["paths"][path][method.lower()]
    async with serving(authentication=RH_IDENTITY) as http:
        good = await http.request(method, path, headers=shown("ann"))
        unknown = await http.request(method, path)
    async with serving(**allowing({"query"})) as http:
        forbidden = await http.request(method, path)
    for answer in (good, unknown, forbidden):
        check(answer.json(), schema_of(operation, answer.status_code), published())
    assert (good.status_code, unknown.status_code) == (200, 401)


def policy_of(page: httpx.Response) -> dict[str, list[str]]:
    """Return the sources that a page may load from, by directive."""
    directives = page.headers["content-security-policy"].split(";")
    words = [directive.split() for directive in directives]
    return {name: sources for name, *sources in words}


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_document_can_be_read_in_a_browser(path: str) -> None:
    async with serving(authentication=RH_IDENTITY) as http:
        page = await http.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert '"/openapi.json"' in page.text.replace("'", '"')
        document = await http.get("/openapi.json")
        assert document.json()["paths"].keys() >= {path for _, path, _ in ROUTES}


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc"])
async def test_a_name_is_text_on_every_page(path: str) -> None:
    name = "Ann's </title><img src=x onerror=alert(2)>"
    async with serving(name=name) as http:
        page = await http.get(path)
    assert page.status_code == 200
    assert "<img" not in page.text
    assert "Ann&#x27;s &lt;/title&gt;" in page.text


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_policy_of_a_page_lets_it_load_what_it_names(path: str) -> None:
    async with serving() as http:
        page = await http.get(path)
    policy = policy_of(page)
    loaded = {
        "script-src": re.findall(r'<script[^>]* src="([^"]+)"', page.text),
        "style-src": re.findall(r'rel="stylesheet"[^>]* href="([^"]+)"', page.text),
        "img-src": re.findall(r'rel="shortcut icon" href="([^"]+)"', page.text),
    }
    assert loaded["script-src"]
    for directive, urls in loaded.items():
        for url in urls:
            assert any(url.startswith(f"{source}/") for source in policy[directive]), url
    assert "'self'" in policy["connect-src"]
    assert policy["frame-ancestors"] == ["'none'"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_behind_a_prefix_the_pages_find_the_document(path: str) -> None:
    app = create_app(Settings.model_validate({"a2a_state": {"memory": True}}))

    async def proxied(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"root_path": "/agents/one"}, receive, send)

    async with run_server(proxied) as url, httpx.AsyncClient(base_url=url) as http:
        page = await http.get(f"/agents/one{path}")
        assert "/agents/one/openapi.json" in page.text
        assert (await http.get("/agents/one/openapi.json")).status_code == 200
