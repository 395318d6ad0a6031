"""Pages, probes, what is configured, and A2A beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.case import Cases
from tests.contract.requests import asking
from tests.contract.servers import entitled

if TYPE_CHECKING:
    import httpx

    from tests.contract.case import Server

ANONYMOUS = "00000000-0000-0000-0000-000"
CARDS = (
    "GET /.well-known/agent-card.json",
    "GET /.well-known/agent.json",
    "GET /a2a",
)

cases = Cases()


@cases.shows("GET /", 200)
async def _links_to_the_documentation(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /")
    assert 'href="/docs"' in answer.text
    assert 'href="/redoc"' in answer.text
    return answer


@cases.shows("GET /liveness", 200)
async def _the_process_answers(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /liveness")
    assert answer.json() == {"alive": True}
    return answer


@cases.shows("GET /readiness", 200)
async def _turns_can_run(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /readiness")
    assert answer.json() == {"ready": True, "reason": "All providers are healthy", "providers": []}
    return answer


@cases.shows("GET /readiness", 503, on="no stack")
async def _the_stack_is_away(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /readiness")
    assert [each["provider_id"] for each in answer.json()["providers"]] == ["stack"]
    return answer


@cases.shows("GET /readiness", 503, on="draining")
async def _the_server_is_stopping(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /readiness")
    assert answer.json()["ready"] is False
    return answer


@cases.shows("POST /authorized", 200)
async def _nobody_has_to_say_who_they_are(server: Server) -> httpx.Response:
    answer = await asking(server, "POST /authorized")
    assert answer.json() == {
        "user_id": ANONYMOUS,
        "username": "lightspeed-user",
        "skip_userid_check": True,
    }
    return answer


@cases.shows("POST /authorized", 200, on="entitled")
async def _somebody_is_told_who_they_are(server: Server) -> httpx.Response:
    answer = await asking(server, "POST /authorized", headers=entitled("rhel"))
    assert answer.json() == {"user_id": "ann", "username": "Ann", "skip_userid_check": False}
    return answer


@cases.shows("GET /v1/config", 200)
async def _the_sections_of_lcs(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/config")
    shown = answer.json()["configuration"]
    assert shown["user_data_collection"]["feedback_enabled"] is True
    assert shown["authentication"]["module"] == "noop"
    return answer


@cases.shows("GET /v1/config", 200, on="model")
async def _without_secrets(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/config")
    servers = answer.json()["configuration"]["mcp_servers"]
    assert [each["name"] for each in servers] == ["mock-mcp"]
    assert servers[0]["url"].endswith("/**********")
    return answer


@cases.shows("GET /v1/mcp-auth/client-options", 200)
async def _no_server_takes_credentials(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/mcp-auth/client-options")
    assert answer.json() == {"servers": []}
    return answer


@cases.shows("GET /metrics", 200)
async def _the_calls_are_counted(server: Server) -> httpx.Response:
    await asking(server, "GET /liveness")
    answer = await asking(server, "GET /metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'ls_rest_api_calls_total{path="/liveness",status_code="200"}' in answer.text
    return answer


def _card(operation: str) -> None:
    @cases.shows(operation, 200)
    async def _the_card(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert answer.json()["url"].endswith("/a2a")
        return answer

    @cases.shows(operation, 200, on="guarded")
    async def _the_card_for_whoever_asks(server: Server) -> httpx.Response:
        answer = await asking(server, operation, headers={})
        assert answer.headers["etag"]
        return answer


for card in CARDS:
    _card(card)


@cases.shows("POST /a2a", 200)
async def _a_call(server: Server) -> httpx.Response:
    answer = await asking(server, "POST /a2a")
    assert answer.json()["id"] == 1
    assert "tasks" in answer.json()["result"]
    return answer


@cases.shows("POST /a2a", 200)
async def _a_call_of_what_there_is_not(server: Server) -> httpx.Response:
    answer = await asking(server, "POST /a2a", {"jsonrpc": "2.0", "id": "a", "method": "nope"})
    assert answer.json()["error"]["code"] == -32601
    return answer


@cases.shows("GET /a2a/health", 200)
async def _versions_are_told(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /a2a/health")
    told = answer.json()
    assert (told["status"], told["service"]) == ("healthy", "lightspeed-a2a")
    assert told["a2a_sdk_version"][0].isdigit()
    return answer
