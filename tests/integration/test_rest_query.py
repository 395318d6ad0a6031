"""``/v1/query`` over sockets: a question is a message of A2A, and its answer LCS's."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
import pytest

from agent.app import STOP, create_app
from agent.errors import (
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    PromptTooLong,
    ResourceNotFound,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
)
from agent.settings import Settings
from agent.stacks import (
    Citation,
    DirectMessage,
    Failed,
    FilePart,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnOptions,
    TurnStarted,
    Usage,
)
from tests.fakes.lightspeed_document import check, published
from tests.fakes.scripted_stack import ANSWER, DONE, scripted
from tests.fakes.stocked_stack import STOCKED, Stock, stocked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from agent.stacks import TurnEvent, TurnRequest

pytestmark = pytest.mark.anyio

HELLO = {"query": "hello", "generate_topic_summary": False}
UUID = "123e4567-e89b-12d3-a456-426614174000"
POD = "kind: Pod\nmetadata:\n  name: private-reg\n"
ANN, BOB = {"user_id": "ann"}, {"user_id": "bob"}


async def asked(http: httpx.AsyncClient, status: int = 200, **fields: Any) -> Any:
    """Return the answer to a query, which must have this status."""
    answer = await http.post("/v1/query", json=HELLO | fields)
    assert answer.status_code == status, answer.text
    return answer.json()


async def refused(http: httpx.AsyncClient, **fields: Any) -> tuple[int, str, str]:
    """Return the status of what is answered instead, and its texts."""
    answer = await http.post("/v1/query", json=HELLO | fields)
    detail = answer.json()["detail"]
    return answer.status_code, detail["response"], detail["cause"]


async def called(http: httpx.AsyncClient, method: str, **params: Any) -> Any:
    """Return the result of a method of A2A 1.0."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = await http.post("/a2a", json=call, headers={"A2A-Version": "1.0"})
    return answer.json()["result"]


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """No test takes long."""
    with anyio.fail_after(20):
        yield


async def test_an_answer_has_the_fields_of_lcs_and_no_others() -> None:
    turn = [TurnStarted("t", "openai/gpt"), TextDelta("The fox"), Usage(10, 20), DONE]
    async with stocked(Stock(turn)) as http:
        body = await asked(http)
    assert len(body["conversation_id"]) == 48
    assert list(body.items())[1:] == [
        ("response", "The fox"),
        ("rag_chunks", []),
        ("referenced_documents", []),
        ("truncated", False),
        ("input_tokens", 10),
        ("output_tokens", 20),
        ("available_quotas", {}),
        ("tool_calls", []),
        ("tool_results", []),
    ]
    check(body, "QueryResponse", published())


async def test_a_query_is_a_task_of_a2a_whose_context_is_the_conversation() -> None:
    stock = Stock(ANSWER)
    async with stocked(stock) as http:
        first = await asked(http, query="one")
        tasks = (await called(http, "ListTasks", includeArtifacts=True))["tasks"]
        said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "two"}]}
        there = await called(http, "SendMessage", message=said)
        context_id = there["task"]["contextId"]
        second = await asked(http, conversation_id=context_id)
        back = await called(
            http, "SendMessage", message=said | {"contextId": first["conversation_id"]}
        )
    assert [task["contextId"] for task in tasks] == [first["conversation_id"]]
    assert tasks[0]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert tasks[0]["history"][0]["parts"] == [{"text": "one"}]
    assert second["conversation_id"] == context_id
    assert back["task"]["contextId"] == first["conversation_id"]
    conversations = [request.conversation_id for request in stock.requests]
    assert conversations == [f"conversation-{number}" for number in (1, 2, 2, 1)]


async def test_a_context_with_another_id_is_a_conversation_too_under_a_name_of_its_own() -> None:
    stock = Stock(ANSWER)
    async with stocked(stock) as http:
        said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
        await called(http, "SendMessage", message=said | {"contextId": "my own words"})
        listed = (await http.get("/v1/conversations")).json()["conversations"]
        conversation_id = listed[0]["conversation_id"]
        body = await asked(http, conversation_id=conversation_id)
        prefixed = await asked(http, conversation_id=f"conv_{conversation_id}")
    assert body["conversation_id"] == prefixed["conversation_id"] == conversation_id
    assert [request.context_id for request in stock.requests] == ["my own words"] * 3


async def test_the_conversation_of_another_is_none() -> None:
    async with stocked(Stock(ANSWER)) as http:
        answer = await http.post("/v1/query", json=HELLO, params=ANN)
        conversation_id = answer.json()["conversation_id"]
        gone = await http.post(
            "/v1/query", json=HELLO | {"conversation_id": conversation_id}, params=BOB
        )
        unknown = await refused(http, conversation_id=UUID)
    said = f"Conversation with ID {conversation_id} does not exist"
    assert gone.status_code == 404
    assert gone.json()["detail"] == {"response": "Conversation not found", "cause": said}
    assert unknown[0] == 404


async def test_who_may_asks_in_the_conversations_of_others() -> None:
    rules = {"access_rules": [{"role": "*", "actions": ["query", "query_other_conversations"]}]}
    stock = Stock(ANSWER)
    async with stocked(stock, authorization=rules) as http:
        answer = await http.post("/v1/query", json=HELLO, params=ANN)
        conversation_id = answer.json()["conversation_id"]
        again = await http.post(
            "/v1/query", json=HELLO | {"conversation_id": conversation_id}, params=BOB
        )
    assert again.json()["conversation_id"] == conversation_id
    assert [request.owner for request in stock.requests] == ["ann", "ann"]


async def test_a_model_is_chosen_with_its_provider() -> None:
    stock = Stock(ANSWER)
    async with stocked(stock) as http:
        await asked(http, model="gpt", provider="openai")
        await asked(http, model="openai/gpt", provider="openai")
        await asked(http)
        wrong = [
            await refused(http, model="gpt", provider="nobody"),
            await refused(http, model="nope", provider="openai"),
            await refused(http, model="embed", provider="openai"),
            await refused(http, model="gpt", provider="idle"),
        ]
    assert [request.model for request in stock.requests] == ["openai/gpt", "openai/gpt", None]
    assert wrong == [
        (404, "Provider not found", "Provider with ID nobody does not exist"),
        (404, "Model not found", "Model with ID nope does not exist"),
        (404, "Model not found", "Model with ID embed does not exist"),
        (404, "Model not found", "Model with ID gpt does not exist"),
    ]


async def test_who_may_not_choose_the_model_is_told_so_first() -> None:
    rules = {"access_rules": [{"role": "*", "actions": ["query"]}]}
    async with stocked(Stock(ANSWER), authorization=rules) as http:
        await asked(http)
        told = await refused(http, model="gpt", provider="nobody", conversation_id=UUID)
        streamed = await http.post("/v1/streaming_query", json=HELLO)
    needed = "User lacks model_override permission required to override model/provider."
    assert told[::2] == (403, needed)
    assert "(missing permission: MODEL_OVERRIDE)" in told[1]
    assert streamed.status_code == 403


async def test_what_a_query_wants_otherwise_reaches_the_turn() -> None:
    stock = Stock(ANSWER)
    rags = [{"rag_id": "docs", "vector_db_id": "vs_9", "db_path": "x.db"}]
    prompt = {"system_prompt": "Be brief."}
    async with stocked(stock, byok_rag=rags, customization=prompt) as http:
        await asked(
            http,
            system_prompt="Be long.",
            no_tools=True,
            vector_store_ids=["docs", "vs_2"],
            shield_ids=["guard"],
            solr={"fq": ["a:b"]},
        )
        await asked(http, system_prompt="Be brief.", no_tools=None)
    assert stock.requests[0].options == TurnOptions(
        instructions="Be long.",
        no_tools=True,
        vector_store_ids=("vs_9", "vs_2"),
        shields=("guard",),
        solr={"fq": ["a:b"]},
    )
    assert stock.requests[1].options == TurnOptions()


async def test_credentials_for_mcp_servers_are_those_of_the_query() -> None:
    stock = Stock(ANSWER)
    shown = {"sums": {"Authorization": "Bearer mine"}}
    servers = [
        {
            "name": "sums",
            "url": "https://sums.test/mcp",
            "authorization_headers": {"Authorization": "client"},
        }
    ]
    async with stocked(stock, mcp_servers=servers) as http:
        await http.post("/v1/query", json=HELLO, headers={"MCP-HEADERS": json.dumps(shown)})
    assert stock.requests[0].credentials.mcp_headers == shown


async def test_a_server_may_keep_its_prompt_and_its_shields_to_itself() -> None:
    fixed = {"disable_query_system_prompt": True, "disable_shield_ids_override": True}
    async with stocked(Stock(ANSWER), customization=fixed) as http:
        prompt = await refused(http, system_prompt="x")
        shields = await refused(http, shield_ids=["guard"])
        await asked(http, system_prompt="")
    assert prompt[:2] == (422, "System prompt customization is disabled")
    assert "(disable_query_system_prompt is set)" in prompt[2]
    assert shields[:2] == (422, "Shield IDs customization is disabled")
    assert "(disable_shield_ids_override is set)" in shields[2]


async def test_shields_are_named_or_left_out() -> None:
    async with stocked(Stock(ANSWER)) as http:
        empty = await refused(http, shield_ids=[])
        unknown = await refused(http, shield_ids=["guard", "b", "a"])
    assert empty[:2] == unknown[:2] == (422, "Invalid shield configuration")
    assert unknown[2] == "Requested shield_ids not found: ['a', 'b']"


async def test_attachments_are_files_of_the_message() -> None:
    stock = Stock(ANSWER)
    pod = {
        "attachment_type": "configuration",
        "content_type": "application/yaml",
        "content": POD,
    }
    log = {"attachment_type": "log", "content_type": "text/plain", "content": "it broke"}
    async with stocked(stock) as http:
        await asked(http, query="why?", attachments=[pod, log])
        tasks = (await called(http, "ListTasks"))["tasks"]
        wrong = await refused(http, attachments=[log | {"attachment_type": "picture"}])
        many = await refused(http, attachments=[log] * 100)
    assert stock.requests[0].parts == (
        TextPart("why?"),
        FilePart("Pod/private-reg", "application/yaml", POD.encode()),
        FilePart("log", "text/plain", b"it broke"),
    )
    sent = tasks[0]["history"][0]["parts"][2]
    assert base64.b64decode(sent["raw"]) == b"it broke"
    assert sent["metadata"] == {"attachment_type": "log", "content_type": "text/plain"}
    assert wrong[:2] == (422, "Invalid attribute value")
    assert many[0] == 422


async def test_tools_and_documents_are_told_with_the_answer() -> None:
    call = {"call_id": "1", "arguments": {"for": "fox"}, "type": "mcp_call"}
    turn = [
        StepStarted("inference"),
        StepStarted("tool_execution", "look", call),
        StepEnded("tool_execution", "look", {"call_id": "1", "result": "foxes jump"}),
        Citation("Foxes", "https://foxes.test/a", "A fox.", "a", 0.5),
        Citation("Foxes", "https://foxes.test/a", "Two foxes.", "a", 0.25),
        Citation("Notes", "notes.md#foxes"),
        TextDelta("The fox"),
        DONE,
    ]
    rags = [{"rag_id": "docs", "vector_db_id": "vs_1", "db_path": "x.db"}]
    async with stocked(Stock(turn), byok_rag=rags) as http:
        body = await asked(http)
    assert body["tool_calls"] == [
        {"id": "1", "name": "look", "args": {"for": "fox"}, "type": "mcp_call"}
    ]
    assert body["tool_results"] == [
        {"id": "1", "status": "success", "content": "foxes jump", "type": "mcp_call", "round": 1}
    ]
    assert body["referenced_documents"] == [
        {"doc_url": "https://foxes.test/a", "doc_title": "Foxes", "source": "docs"},
        {"doc_url": None, "doc_title": "Notes", "source": "docs"},
    ]
    about = {"title": "Foxes", "url": "https://foxes.test/a", "document_id": "a"}
    assert body["rag_chunks"] == [
        {"content": "A fox.", "source": "docs", "score": 0.5, "attributes": about},
        {"content": "Two foxes.", "source": "docs", "score": 0.25, "attributes": about},
    ]
    check(body, "QueryResponse", published())


async def test_a_source_is_told_where_only_one_can_be_meant() -> None:
    stock = Stock([Citation("Foxes", text="A fox."), TextDelta("x"), DONE])
    sources = []
    async with stocked(stock) as http:
        for stores, named in [
            (("vs_1",), None),
            (("vs_1", "vs_2"), None),
            (("vs_1", "vs_2"), ["vs_2"]),
            ((), None),
        ]:
            stock.stores = stores
            body = await asked(http, vector_store_ids=named)
            sources.append(body["rag_chunks"][0]["source"])
    assert sources == ["vs_1", None, "vs_2", None]


FAILURES: list[tuple[Any, int, str]] = [
    (PromptTooLong(), 413, "Prompt is too long"),
    (StackUnavailable(), 503, "Unable to connect to Llama Stack"),
    (StackTimeout(), 503, "Unable to connect to Llama Stack"),
    (ModelNotFound(), 404, "Model not found"),
    (InvalidParams("message.parts", "are odd"), 422, "Invalid attribute value"),
    (ResourceNotFound("vector store", "vs_9"), 404, "Vector store not found"),
    (TurnFailed("It broke."), 500, "Error while processing query"),
    (InvalidAgentResponse(), 500, "Error while processing query"),
    (RuntimeError("secret internals"), 500, "Error while processing query"),
    (Failed("It broke."), 500, "Error while processing query"),
]


@pytest.mark.parametrize("said", [[], [TextDelta("The ")]], ids=["at once", "later"])
async def test_a_turn_that_fails_is_an_error_of_lcs(said: list[Any]) -> None:
    stock = Stock(*([*said, failure] for failure, _, _ in FAILURES))
    async with stocked(stock) as http:
        answers = [await http.post("/v1/query", json=HELLO) for _ in FAILURES]
    told = [(answer.status_code, answer.json()["detail"]["response"]) for answer in answers]
    assert told == [(status, response) for _, status, response in FAILURES]
    for answer in answers:
        assert "secret" not in answer.text
        assert ("Retry-After" in answer.headers) == (answer.status_code == 503)


async def test_a_refusal_is_an_answer() -> None:
    async with stocked(Stock([TextDelta("half"), Rejected("I may not say.")])) as http:
        body = await asked(http)
    assert body["response"] == "I may not say."


async def test_an_answer_that_is_cut_off_is_given_as_far_as_it_goes() -> None:
    async with stocked(Stock([TextDelta("hal"), TurnCompleted("out_of_tokens")])) as http:
        assert (await asked(http))["response"] == "hal"


async def test_a_message_instead_of_a_task_is_an_answer() -> None:
    async with stocked(Stock([DirectMessage((TextPart("hi"),))])) as http:
        body = await asked(http)
    assert body["response"] == "hi"
    assert len(body["conversation_id"]) == 48


async def test_a_question_is_answered_with_the_next_query_of_its_conversation() -> None:
    calls = [{"call_id": "1", "tool_name": "city", "arguments": {}}]
    question = InputRequired("Which city?", {"type": "tool_calls", "tool_calls": calls})
    stock = Stock([TextDelta("Well."), question], [TextDelta("Sunny."), DONE])
    async with stocked(stock) as http:
        body = await asked(http)
        again = await asked(http, query="Oslo", conversation_id=body["conversation_id"])
        tasks = (await called(http, "ListTasks"))["tasks"]
    assert body["response"] == "Well.\n\nWhich city?"
    assert again["response"] == "Sunny."
    resumed = stock.requests[1].resume
    assert resumed is not None
    assert resumed.answers[0].content == "Oslo"
    assert len(tasks) == 1


async def test_a_new_conversation_gets_a_topic() -> None:
    stock = Stock(ANSWER, topic=" Foxes\nand hens ")
    async with stocked(stock) as http:
        body = await asked(http, query="what of foxes?", generate_topic_summary=True)
        listed = (await http.get("/v1/conversations")).json()["conversations"]
        await asked(http, conversation_id=body["conversation_id"], generate_topic_summary=True)
        await asked(http)
    assert [each["topic_summary"] for each in listed] == ["Foxes and hens"]
    assert stock.topics == ["what of foxes?"]


async def test_a_topic_is_named_as_the_profile_says(tmp_path: Any) -> None:
    profile = tmp_path / "profile.py"
    profile.write_text("")
    prompts = {"topic_summary": "Say what it is about."}
    custom = {"custom_profile": {"path": str(profile), "prompts": prompts}}
    stock = Stock(ANSWER)
    async with stocked(stock, customization=custom) as http:
        await asked(http, generate_topic_summary=None)
    assert [each.instructions for each in stock.inferences] == ["Say what it is about."]
    assert stock.topics == []


@pytest.mark.parametrize("wrong", [TurnFailed(), RuntimeError("broken")], ids=["known", "not"])
async def test_an_answer_does_not_depend_on_its_topic(wrong: Exception) -> None:
    stock = Stock(ANSWER, topic=wrong)
    async with stocked(stock) as http:
        body = await asked(http, generate_topic_summary=True)
        listed = (await http.get("/v1/conversations")).json()["conversations"]
    assert body["response"] == "yes"
    assert len(stock.topics) == 1
    assert not listed[0]["topic_summary"]


@pytest.mark.parametrize("path", ["/v1/query", "/v1/streaming_query"])
async def test_what_fails_before_it_begins_has_no_topic(path: str) -> None:
    stock = Stock([StackUnavailable()])
    async with stocked(stock) as http:
        answer = await http.post(path, json={"query": "what of foxes?"})
        # Another is named meanwhile.
        stock.turns = (ANSWER,)
        await asked(http, query="hens?", generate_topic_summary=True)
    assert answer.status_code == 503
    assert stock.topics == ["hens?"]


async def test_a_server_that_stops_tells_where_the_answer_will_be(tmp_path: Path) -> None:
    begun, never = anyio.Event(), anyio.Event()

    async def slowly(_request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        yield TextDelta("a")
        begun.set()
        await never.wait()

    stock, said = Stock(slowly), []
    with scripted(stock) as name:
        state_file = {"sqlite": {"db_path": str(tmp_path / "state.db")}}
        given = {"name": name, "stack": STOCKED, "a2a_state": state_file}
        app = create_app(Settings.model_validate(given))
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app) as state:
            http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

            async def ask() -> None:
                said.append(await refused(http))

            async with http, anyio.create_task_group() as asking:
                asking.start_soon(ask)
                await begun.wait()
                await cast("Any", state)[STOP]()
    cause = "The server is stopping. The answer will be in the conversation."
    assert said == [(503, "Service unavailable", cause)]


def limited(quota: int) -> dict[str, Any]:
    """Return settings with a quota of so many tokens."""
    limiter = {"type": "user_limiter", "name": "mine", "initial_quota": quota}
    return {"limiters": [limiter | {"quota_increase": 0, "period": "1 day"}]}


async def test_tokens_of_the_answer_and_of_its_topic_are_taken_from_the_quota() -> None:
    turn = [TextDelta("yes"), Usage(30, 20), DONE]
    async with stocked(Stock(turn), quota_handlers=limited(100)) as http:
        first = await asked(http)
        second = await asked(http, generate_topic_summary=True)
        third = await refused(http)
    assert first["available_quotas"] == {"mine": 50}
    assert second["available_quotas"] == {"mine": 0}
    assert third[:2] == (429, "The quota has been exceeded")


async def test_a_body_that_is_too_large_is_413() -> None:
    async with stocked(Stock(ANSWER), limits={"body_bytes": 1000}) as http:
        answer = await http.post("/v1/query", json=HELLO | {"query": "x" * 1000})
    assert answer.status_code == 413


async def test_one_question_too_many_is_429() -> None:
    running, release = anyio.Event(), anyio.Event()

    async def turn(_request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        running.set()
        await release.wait()
        yield DONE

    limits = {"running_tasks_per_owner": 1, "queue_seconds": 0.1}
    async with stocked(Stock(turn), limits=limits) as http, anyio.create_task_group() as tasks:
        tasks.start_soon(asked, http)
        await running.wait()
        answer = await http.post("/v1/query", json=HELLO)
        release.set()
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
