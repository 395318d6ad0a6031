"""What the stack has: models, tools, shields, providers and stores of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.case import Cases
from tests.contract.requests import asking, detail_of

if TYPE_CHECKING:
    import httpx

    from tests.contract.case import Server

NO_STACK = "Unable to connect to Llama Stack"
FAULT = {
    "response": "Internal server error",
    "cause": "An unexpected error occurred while processing the request.",
}
LISTS = (
    "GET /v1/models",
    "GET /v1/tools",
    "GET /v1/shields",
    "GET /v1/providers",
    "GET /v1/providers/{provider_id}",
    "GET /v1/rags",
    "GET /v1/rags/{rag_id}",
)

cases = Cases()


def _of_a_stack(operation: str) -> None:
    @cases.shows(operation, 503, on="no stack")
    async def _the_stack_is_away(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer)["response"] == NO_STACK
        assert int(answer.headers["retry-after"]) > 0
        return answer

    if operation == "GET /v1/info":
        return

    @cases.shows(operation, 500, on="faulty stack")
    async def _a_fault(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer) == FAULT
        assert answer.headers["x-request-id"]
        assert "canary" not in answer.text
        return answer


for one in ("GET /v1/info", *LISTS):
    _of_a_stack(one)


@cases.shows("GET /v1/info", 200)
async def _name_and_versions(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/info")
    assert answer.json()["service_version"][0].isdigit()
    assert answer.json()["llama_stack_version"]
    return answer


@cases.shows("GET /v1/models", 200)
async def _the_embedded_model(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/models")
    kinds = {each["model_type"] for each in answer.json()["models"]}
    assert kinds == {"llm"}
    return answer


@cases.shows("GET /v1/models", 200, on="model")
async def _only_those_of_a_type(server: Server) -> httpx.Response:
    answers = [
        await server.http.get("/v1/models", params={"model_type": kind})
        for kind in ("embedding", "llm")
    ]
    assert answers[0].json() == {"models": []}
    names = [each["provider_resource_id"] for each in answers[1].json()["models"]]
    assert names == ["mock-model"]
    return answers[1]


@cases.shows("GET /v1/tools", 200, on="model")
async def _tools_of_a_server(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/tools")
    tools = {each["description"]: each for each in answer.json()["tools"]}
    found = tools["Look up facts about foxes."]
    assert found["toolgroup_id"] == "mock-mcp"
    assert found["server_source"].startswith("http://127.0.0.1:")
    return answer


@cases.shows("GET /v1/tools", 200)
async def _built_in_tools(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/tools")
    sources = {each["server_source"] for each in answer.json()["tools"]}
    assert sources == {"builtin"}
    return answer


@cases.shows("GET /v1/shields", 200)
async def _shields(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/shields")
    assert isinstance(answer.json()["shields"], list)
    return answer


@cases.shows("GET /v1/providers", 200)
async def _providers_by_api(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/providers")
    assert "inference" in answer.json()["providers"]
    return answer


@cases.shows("GET /v1/providers/{provider_id}", 200)
async def _the_provider_of_the_model(server: Server) -> httpx.Response:
    listed = (await asking(server, "GET /v1/providers")).json()["providers"]["inference"]
    provider_id = listed[0]["provider_id"]
    answer = await asking(server, "GET /v1/providers/{provider_id}", provider_id=provider_id)
    assert (answer.json()["api"], answer.json()["provider_id"]) == ("inference", provider_id)
    return answer


@cases.shows("GET /v1/providers/{provider_id}", 404)
async def _no_such_provider(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/providers/{provider_id}")
    assert detail_of(answer) == {
        "response": "Provider not found",
        "cause": "Provider with ID nope does not exist",
    }
    return answer


@cases.shows("GET /v1/rags", 200)
async def _the_documents_folder(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/rags")
    assert len(answer.json()["rags"]) == 1
    return answer


@cases.shows("GET /v1/rags/{rag_id}", 200)
async def _a_store(server: Server) -> httpx.Response:
    (rag_id,) = (await asking(server, "GET /v1/rags")).json()["rags"]
    answer = await asking(server, "GET /v1/rags/{rag_id}", rag_id=rag_id)
    assert (answer.json()["id"], answer.json()["object"]) == (rag_id, "vector_store")
    return answer


@cases.shows("GET /v1/rags/{rag_id}", 404)
async def _no_such_store(server: Server) -> httpx.Response:
    answer = await asking(server, "GET /v1/rags/{rag_id}")
    assert detail_of(answer) == {
        "response": "Rag not found",
        "cause": "Rag with ID nope does not exist",
    }
    return answer
