"""What the stack has, as the REST routes of LCS tell it; the page at the top; probes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import DRAIN, create_app
from agent.auth.access import ACTIONS, Access
from agent.auth.attempts import Attempts
from agent.auth.gate import Gate
from agent.auth.noop import Noop
from agent.card import own_version
from agent.errors import StackTimeout
from agent.settings import Settings
from agent.settings.access import AccessRule
from tests.fakes.catalogue_stack import SECRET, STORE, Kept, away, having
from tests.fakes.gates import open_gate
from tests.fakes.lightspeed_document import check, published, schema_of
from tests.fakes.llama_stack import FakeLlamaStack
from tests.fakes.mcp_server import McpServer
from tests.fakes.responses import FakeResponses
from tests.fakes.rest import rest_app
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import FastAPI

pytestmark = pytest.mark.anyio

MASK = "**********"
HIDDEN = "********"
SUMS = {"name": "sums", "url": f"http://sums:3000/{SECRET}/mcp", "provider_id": "ours"}
BYOK = {"rag_id": "handbook", "vector_db_id": STORE, "db_path": "/nowhere/handbook.db"}

# Path, the route in LCS's document, and its action.
ROUTES = [
    ("/", "/", "info"),
    ("/v1/info", "/v1/info", "info"),
    ("/v1/models", "/v1/models", "get_models"),
    ("/v1/tools", "/v1/tools", "get_tools"),
    ("/v1/shields", "/v1/shields", "get_shields"),
    ("/v1/providers", "/v1/providers", "list_providers"),
    ("/v1/providers/vllm", "/v1/providers/{provider_id}", "get_provider"),
    ("/v1/rags", "/v1/rags", "list_rags"),
    ("/v1/rags/vs_2", "/v1/rags/{rag_id}", "get_rag"),
    ("/metrics", "/metrics", "get_metrics"),
]
OF_THE_STACK = [route for route in ROUTES if route[0] not in {"/", "/metrics"}]
LISTS = [route for route in OF_THE_STACK if route[0] != "/v1/info"]


@contextmanager
def rest(gate: Gate | None = None, kept: Kept | None = None, **more: Any) -> Iterator[FastAPI]:
    """Yield the REST layer on a stack that has ``kept``."""
    with having(kept or Kept()) as settings:
        given: dict[str, Any] = {"a2a_state": {"memory": True}} | settings | more
        yield rest_app(gate or open_gate(), Settings.model_validate(given))


@asynccontextmanager
async def asking(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Speak to an application without a socket."""
    transport = httpx.ASGITransport(app)
    with anyio.fail_after(20):
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            yield http


async def told(path: str, kept: Kept | None = None, **settings: Any) -> Any:
    """Return what one path answers."""
    with rest(kept=kept, **settings) as app:
        async with asking(app) as http:
            answer = await http.get(path)
            assert answer.status_code == 200
            assert SECRET not in answer.text
            return answer.json()


def gate_for(*actions: str) -> Gate:
    """Return a way in for an anonymous user who may do this and nothing else."""
    rule = AccessRule.model_validate({"role": "*", "actions": actions})
    return Gate(Noop(), Access([rule]), Attempts(Settings().limits))


# Who may ask.


@pytest.mark.parametrize(("path", "_route", "action"), ROUTES, ids=str)
async def test_a_route_needs_its_action_and_no_other(path: str, _route: str, action: str) -> None:
    with rest(gate_for(action)) as app:
        async with asking(app) as http:
            assert (await http.get(path)).status_code == 200
    with rest(gate_for(*(ACTIONS - {action, "admin"}))) as app:
        async with asking(app) as http:
            refused = await http.get(path)
    assert refused.status_code == 403
    assert refused.json()["detail"]["response"] == (
        "User does not have permission to access this endpoint"
    )


async def test_everybody_may_ask_whether_a2a_is_served() -> None:
    with rest(gate_for("query")) as app:
        async with asking(app) as http:
            health = (await http.get("/a2a/health")).json()
    assert re.fullmatch(r"\d+-\d+-\d+T[\d:]+\.\d+\+00:00", health.pop("timestamp"))
    assert re.match(r"\d+\.\d+", health.pop("a2a_sdk_version"))
    assert health == {"status": "healthy", "service": "lightspeed-a2a", "version": own_version()}


# The shape of LCS.


@pytest.mark.parametrize(("path", "route", "_action"), OF_THE_STACK, ids=str)
async def test_answers_fit_the_document_of_lcs(path: str, route: str, _action: str) -> None:
    operation = published()["paths"][route]["get"]
    check(await told(path), schema_of(operation, 200), published())


@pytest.mark.parametrize("path", ["/v1/providers/nope", "/v1/rags/nope"])
async def test_what_is_not_there_fits_the_document_of_lcs(path: str) -> None:
    with rest() as app:
        async with asking(app) as http:
            missing = await http.get(path)
    assert missing.status_code == 404
    check(missing.json(), "NotFoundResponse", published())


async def test_the_service_tells_its_name_and_its_versions() -> None:
    info = await told("/v1/info")
    assert info.pop("name").startswith("catalogue-")
    assert info == {"service_version": own_version(), "llama_stack_version": "0.9.9"}


async def test_models_are_told_as_llama_stack_tells_them() -> None:
    """``provider_resource_id`` is the provider's word, or the identifier without the provider."""
    first, second, third = (await told("/v1/models"))["models"]
    assert first == {
        "identifier": "vllm/small",
        "metadata": {"a": 1},
        "api_model_type": "llm",
        "provider_id": "vllm",
        "type": "model",
        "provider_resource_id": "small-1",
        "model_type": "llm",
    }
    assert (second["provider_resource_id"], second["api_model_type"]) == ("embed", "embedding")
    assert third["provider_resource_id"] == "other"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["vllm/small", "vllm/embed", "other"]),
        ("?model_type=llm", ["vllm/small", "other"]),
        ("?model_type=embedding", ["vllm/embed"]),
        ("?model_type=", []),
        ("?model_type=%00%F0%9F%A6%8A", []),
    ],
)
async def test_models_can_be_asked_for_by_type(query: str, found: list[str]) -> None:
    models = (await told(f"/v1/models{query}"))["models"]
    assert [model["identifier"] for model in models] == found


async def test_tools_tell_their_parameters_and_where_they_come_from() -> None:
    search, add, far = (await told("/v1/tools", mcp_servers=[SUMS]))["tools"]
    parameters = search.pop("parameters")
    assert search == {
        "identifier": "search",
        "description": "Search documents.",
        "provider_id": "rag-runtime",
        "toolgroup_id": "builtin::rag",
        "server_source": "builtin",
        "type": "tool",
    }
    assert parameters[:2] == [
        {
            "name": "query",
            "description": "What to look for.",
            "parameter_type": "string",
            "required": True,
            "default": None,
        },
        {
            "name": "limit",
            "description": "",
            "parameter_type": "integer",
            "required": False,
            "default": 10,
        },
    ]
    types = {each["name"]: each["parameter_type"] for each in parameters[2:]}
    assert types == {"modes": "array", "anything": "any", "odd": "any"}

    assert (add["identifier"], add["description"], add["parameters"]) == ("add", "", [])
    assert (add["toolgroup_id"], add["provider_id"]) == ("sums", "ours")
    assert add["server_source"] == f"http://sums:3000/{MASK}"

    assert far["server_source"] == f"http://elsewhere:9000/{MASK}?{MASK}"
    assert (far["provider_id"], far["parameters"]) == ("model-context-protocol", [])


async def test_tools_of_older_servers_keep_their_identifier_and_parameters() -> None:
    parameters = [{"name": "x", "parameter_type": "string"}]
    row = {"identifier": "old", "provider_id": "p", "toolgroup_id": "g", "parameters": parameters}
    (tool,) = (await told("/v1/tools", Kept(tools=[row])))["tools"]
    assert (tool["identifier"], tool["provider_id"]) == ("old", "p")
    assert tool["parameters"] == parameters


async def test_shields_are_told_without_what_is_secret_in_them() -> None:
    (shield,) = (await told("/v1/shields"))["shields"]
    assert shield == {
        "identifier": "guard",
        "provider_id": "llama-guard",
        "provider_resource_id": "vllm/guard",
        "type": "shield",
        "params": {"threshold": 2, "api_key": HIDDEN},
    }


async def test_providers_are_listed_by_api() -> None:
    assert await told("/v1/providers") == {
        "providers": {
            "inference": [{"provider_id": "vllm", "provider_type": "remote::vllm"}],
            "vector_io": [{"provider_id": "pg", "provider_type": "remote::pgvector"}],
            "safety": [{"provider_id": "vllm", "provider_type": "inline::guard"}],
        }
    }


async def test_the_secrets_of_a_provider_are_masked_and_nothing_else_is() -> None:
    """Also those that the server behind has not masked; of two with one id it is the first."""
    assert await told("/v1/providers/vllm") == {
        "api": "inference",
        "provider_id": "vllm",
        "provider_type": "remote::vllm",
        "config": {
            "url": f"http://{MASK}@models:8000/v1?{MASK}",
            "api_token": HIDDEN,
            "max_tokens": 4096,
            "tls_verify": True,
            "default_headers": {"Authorization": HIDDEN, "X-Api-Key": HIDDEN},
            "tokenizer": "cl100k",
            "aws": [{"aws_secret_access_key": HIDDEN, "region": "eu"}],
            "password": None,
            "refresh_token": "",
        },
        "health": {"status": "OK"},
    }
    assert type((await told("/v1/providers/vllm"))["config"]["max_tokens"]) is int
    assert (await told("/v1/providers/pg"))["config"] == {
        "dsn": HIDDEN,
        "auth": {"client_secret": HIDDEN},
    }


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/providers/nope", ("Provider not found", "Provider with ID nope does not exist")),
        ("/v1/rags/nope", ("Rag not found", "Rag with ID nope does not exist")),
        ("/v1/rags/%3Cb%3E", ("Rag not found", "Rag with ID <b> does not exist")),
    ],
)
async def test_what_is_not_there_is_said_as_lcs_says_it(path: str, detail: Any) -> None:
    with rest() as app:
        async with asking(app) as http:
            missing = await http.get(path)
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/json"
    response, cause = detail
    assert missing.json() == {"detail": {"response": response, "cause": cause}}


async def test_a_store_has_the_name_that_the_configuration_gives_it() -> None:
    assert await told("/v1/rags", byok_rag=[BYOK]) == {"rags": ["handbook", "vs_2"]}
    by_name = await told("/v1/rags/handbook", byok_rag=[BYOK])
    assert by_name == {
        "id": "handbook",
        "name": "docs",
        "created_at": 1763391371,
        "last_active_at": 1763391372,
        "usage_bytes": 5,
        "expires_at": None,
        "object": "vector_store",
        "status": "completed",
    }
    assert await told(f"/v1/rags/{STORE}", byok_rag=[BYOK]) == by_name
    assert await told("/v1/rags") == {"rags": [STORE, "vs_2"]}
    assert (await told(f"/v1/rags/{STORE}"))["id"] == STORE


# A stack that does not do as it should.


@pytest.mark.parametrize(("path", "_route", "_action"), OF_THE_STACK, ids=str)
async def test_a_stack_that_cannot_be_reached_is_a_503(
    path: str, _route: str, _action: str
) -> None:
    with rest(kept=away()) as app:
        async with asking(app) as http:
            answer = await http.get(path)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["detail"] == {
        "response": "Unable to connect to Llama Stack",
        "cause": "The stack behind this agent cannot be reached.",
    }
    check(answer.json(), "ServiceUnavailableResponse", published())


async def test_a_stack_that_takes_too_long_is_a_503() -> None:
    with rest(kept=Kept(models=StackTimeout())) as app:
        async with asking(app) as http:
            answer = await http.get("/v1/models")
    assert answer.status_code == 503
    assert answer.json()["detail"]["cause"] == "The stack behind this agent did not answer in time."


@pytest.mark.parametrize("path", ["/v1/tools", "/v1/providers", "/v1/providers/x", "/v1/rags"])
@pytest.mark.parametrize(
    "rows", [[None], [["canary"]], [{"id": 7, "api": []}], ["canary"]], ids=json.dumps
)
async def test_rows_that_are_none_are_a_fault_that_tells_nothing(path: str, rows: Any) -> None:
    broken = Kept(tools=rows, providers=rows, vector_stores=rows)
    if path == "/v1/tools" and isinstance(rows[0], dict):
        broken.tools = [{"name": 7}]
    with rest(kept=broken) as app:
        async with asking(app) as http:
            answer = await http.get(path)
    assert answer.status_code == 500
    assert answer.headers["x-request-id"]
    assert answer.json()["detail"]["response"] == "Internal server error"
    assert "canary" not in answer.text


@pytest.mark.parametrize(("path", "_route", "_action"), LISTS, ids=str)
async def test_a_stack_that_raises_what_it_likes_is_a_fault_that_tells_nothing(
    path: str, _route: str, _action: str
) -> None:
    oops = ValueError(SECRET)
    with rest(kept=Kept(oops, oops, oops, oops, oops, oops)) as app:
        async with asking(app) as http:
            answer = await http.get(path)
    assert answer.status_code == 500
    assert SECRET not in answer.text


# The stacks that there are.


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve all there is."""
    given: dict[str, Any] = {"a2a_state": {"memory": True}} | settings
    with anyio.fail_after(30):
        app = create_app(Settings.model_validate(given))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            yield http


async def test_the_embedded_stack_has_a_model_a_tool_and_the_documents() -> None:
    async with run_server(McpServer()) as sums:
        server = {"name": "sums", "url": f"{sums}/mcp"}
        async with served(mcp_servers=[server]) as http:
            (model,) = (await http.get("/v1/models")).json()["models"]
            tools = (await http.get("/v1/tools")).json()["tools"]
            (rag_id,) = (await http.get("/v1/rags")).json()["rags"]
            store = (await http.get(f"/v1/rags/{rag_id}")).json()
            providers = (await http.get("/v1/providers")).json()["providers"]
            provider = (await http.get(f"/v1/providers/{model['provider_id']}")).json()
    assert model["identifier"] == f"{model['provider_id']}/{model['provider_resource_id']}"
    sources = {tool["identifier"]: tool["server_source"] for tool in tools}
    assert sources["knowledge_search"] == "builtin"
    assert sources["add"] == f"{sums}/{MASK}"
    (add,) = [tool for tool in tools if tool["identifier"] == "add"]
    assert [each["name"] for each in add["parameters"]] == ["a", "b"]
    assert (add["toolgroup_id"], add["provider_id"]) == ("sums", "model-context-protocol")
    assert (store["id"], store["object"], store["status"]) == (rag_id, "vector_store", "completed")
    assert store["usage_bytes"] > 0
    assert model["provider_id"] in {each["provider_id"] for each in providers["inference"]}
    assert provider["api"] == "inference"


async def test_a_llama_stack_0_3_without_shields_has_none() -> None:
    fake = FakeLlamaStack()
    fake.shields = None
    async with (
        run_server(fake.app) as url,
        served(llama_stack={"url": url}) as http,
    ):
        shields = await http.get("/v1/shields")
        models = (await http.get("/v1/models?model_type=llm")).json()["models"]
        rags = (await http.get("/v1/rags")).json()["rags"]
        info = (await http.get("/v1/info")).json()
    assert (shields.status_code, shields.json()) == (200, {"shields": []})
    assert [model["identifier"] for model in models] == ["vllm/small", "vllm/other"]
    assert rags == ["vs_1", "vs_2"]
    assert info["llama_stack_version"] == "0.3.5"


async def test_a_later_llama_stack_has_the_same_shapes() -> None:
    fake = FakeResponses()
    fake.not_served["/v1/vector_stores"] = 404
    async with (
        run_server(fake.app) as url,
        served(llama_stack={"url": url}) as http,
    ):
        models = (await http.get("/v1/models?model_type=embedding")).json()["models"]
        rags = await http.get("/v1/rags")
        missing = await http.get("/v1/rags/vs_1")
        info = (await http.get("/v1/info")).json()
    assert [model["identifier"] for model in models] == ["vllm/embed"]
    assert (rags.status_code, rags.json()) == (200, {"rags": []})
    assert missing.status_code == 404
    assert info["llama_stack_version"] == "0.7.3"


async def test_a_list_that_a_llama_stack_has_and_cannot_give_is_not_empty_but_an_error() -> None:
    fake = FakeResponses()
    fake.not_served["/v1/vector_stores"] = 503
    async with (
        run_server(fake.app) as url,
        served(llama_stack={"url": url}) as http,
    ):
        assert (await http.get("/v1/rags")).status_code == 503


# The page at the top.


@pytest.mark.parametrize("root", ["", "/prefix"])
async def test_the_page_leads_to_the_documentation(root: str) -> None:
    async with served(service={"root_path": root}) as http:
        page = await http.get(f"{root}/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        links = re.findall(r'href="([^"]+)"', page.text)
        assert links == [f"{root}/docs", f"{root}/redoc"]
        for link in links:
            assert "/openapi.json" in (await http.get(link)).text


async def test_json_rpc_is_where_the_page_is() -> None:
    async with served() as http:
        call = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
        assert (await http.post("/", json=call)).json()["result"]["tasks"] == []
        assert (await http.put("/")).status_code == 405


async def test_the_page_runs_nothing_and_has_its_style_by_its_hash() -> None:
    """The name is the operator's, and text all the same."""
    settings = Settings.model_validate(
        {"a2a_state": {"memory": True}, "name": "<script>a</script>"}
    )
    async with asking(rest_app(open_gate(), settings)) as http:
        page = await http.get("/")
    assert "<script" not in page.text
    assert "&lt;script&gt;a" in page.text
    (style,) = re.findall(r"<style>(.*?)</style>", page.text)
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert page.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; frame-ancestors 'none'"
    )


# A server that stops.


async def test_a_server_that_drains_is_alive_and_not_ready() -> None:
    app = create_app(Settings.model_validate({"a2a_state": {"memory": True}}))
    state: dict[str, Any] = {}

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            state["lifespan"] = scope["state"]
        await app(scope, receive, send)

    with anyio.fail_after(20):
        async with run_server(watched) as url, httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/readiness")).status_code == 200
            await state["lifespan"][DRAIN](0)
            unready = await http.get("/readiness")
            assert (await http.get("/liveness")).json() == {"alive": True}
    assert unready.status_code == 503
    assert int(unready.headers["retry-after"]) > 0
    assert unready.json() == {
        "ready": False,
        "reason": "The server is stopping",
        "providers": [],
        "detail": {"response": "The server is stopping", "cause": "It takes no more work."},
    }
    check(unready.json(), "ReadinessResponse", published())
    check(unready.json(), "ServiceUnavailableResponse", published())
