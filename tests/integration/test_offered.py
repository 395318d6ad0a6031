"""What a turn has on a Llama Stack where nobody chooses: all vector stores, and all shields."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.errors import InvalidAgentResponse, StackUnavailable, TurnFailed
from agent.settings import Settings
from agent.stacks import (
    Credentials,
    FilePart,
    Inference,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnEvent,
    TurnOptions,
    TurnRequest,
)
from agent.stacks.agents_api import AgentsApiStack
from agent.stacks.responses_api import ResponsesApiStack
from tests.fakes import responses
from tests.fakes.llama_stack import FakeLlamaStack, Script, answer
from tests.fakes.responses import FakeResponses
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.stacks.catalogue import LlamaStackCatalogue

pytestmark = pytest.mark.anyio

GUARD, OTHER = {"identifier": "guard"}, {"identifier": "other"}
RAG_GROUP = {"identifier": "builtin::rag", "provider_id": "rag-runtime"}
LISTINGS = ("/v1/vector_stores", "/v1/shields")


@asynccontextmanager
async def serving(
    kind: type[LlamaStackCatalogue], fake: FakeLlamaStack | FakeResponses, **sections: Any
) -> AsyncIterator[Any]:
    """Run the fake server and a stack in front of it, with the settings of LCS and these."""
    async with run_server(fake.app) as url:
        inference = {"default_provider": "vllm", "default_model": "small"}
        found = {"llama_stack": {"url": url, "timeout": 5}, "inference": inference, **sections}
        stack = kind(Settings.model_validate(found))
        await stack.open()
        try:
            with anyio.fail_after(20):
                yield stack
        finally:
            await stack.close()


async def turn(stack: Any, conversation: str = "", *parts: Any, **more: Any) -> list[TurnEvent]:
    """Run a turn and return all its events."""
    request = TurnRequest(
        conversation_id=conversation or await stack.start_conversation("o"),
        task_id="t",
        context_id="c",
        message_id="m",
        owner="o",
        tenant="",
        parts=parts or (TextPart("Hello"),),
        **more,
    )
    return [event async for event in stack.turn(request)]


def answering(turns: int = 1, *, objects_to: str | None = "bomb") -> FakeResponses:
    """Return a server with two stores and two shields that answers so many turns."""
    fake = FakeResponses()
    fake.stores, fake.shields, fake.objects_to = ["vs_1", "ocp-docs"], [OTHER, GUARD], objects_to
    fake.scripts = [responses.Script(responses.answer("Hi")) for _ in range(turns)]
    return fake


def with_agents(turns: int = 1) -> FakeLlamaStack:
    """Return a server of the agents API with two stores and a shield, for so many turns."""
    fake = FakeLlamaStack()
    fake.shields, fake.toolgroups = [GUARD], [RAG_GROUP]
    fake.scripts = [Script(answer("Hi")) for _ in range(turns)]
    fake.responses.scripts = [responses.Script(responses.answer("There"))]
    return fake


def paths(fake: FakeLlamaStack | FakeResponses) -> list[str]:
    """Return the paths of all requests."""
    return [each.path for each in fake.seen]


def checked(events: list[TurnEvent]) -> list[str]:
    """Return the shields that have looked at the message, and let it through."""
    return [
        each.name for each in events if isinstance(each, StepEnded) and each.kind == "shield_call"
    ]


def search_in(*stores: str) -> dict[str, Any]:
    return {"name": "builtin::rag/knowledge_search", "args": {"vector_db_ids": list(stores)}}


async def test_all_stores_are_searched_and_all_shields_check_the_message() -> None:
    """Its answer is checked by none, and so is not held back."""
    fake = answering()
    async with serving(ResponsesApiStack, fake) as stack:
        events = await turn(stack)
    assert fake.asked["tools"] == [
        {"type": "file_search", "vector_store_ids": ["ocp-docs", "vs_1"]}
    ]
    assert checked(events) == ["guard", "other"]
    assert "guardrails" not in fake.asked
    assert TextDelta("Hi") in events
    assert events[-1] == TurnCompleted("end_of_turn", "Hi")


async def test_what_a_shield_objects_to_never_reaches_the_model() -> None:
    """Neither in a turn, nor beside a picture, nor in a question outside of a conversation."""
    fake = answering(0)
    picture = FilePart(media_type="image/png", data=b"\x89PNG", name="a.png")
    async with serving(ResponsesApiStack, fake) as stack:
        for parts in ((TextPart("A bomb?"),), (TextPart("A bomb?"), picture)):
            events = await turn(stack, "", *parts)
            assert events[-1] == Rejected("I can't.")
            assert StepStarted("shield_call", "guard") in events
        with pytest.raises(TurnFailed, match=r"I can't\."):
            await stack.infer(Inference(text="A bomb?", instructions="", owner="o"))
        with pytest.raises(TurnFailed, match=r"I can't\."):
            await stack.topic_of("A bomb?", "o")
    assert "/v1/responses" not in paths(fake)


async def test_where_shields_cannot_be_run_alone_they_are_guardrails() -> None:
    """No shield is lost."""
    fake = answering(objects_to=None)
    async with serving(ResponsesApiStack, fake) as stack:
        await turn(stack)
    assert fake.asked["guardrails"] == ["guard", "other"]


async def test_what_the_server_offers_is_asked_once_in_a_while() -> None:
    """Turns at the same time ask together, and later ones believe it; one that failed ends that."""
    fake = answering(4)
    async with serving(ResponsesApiStack, fake) as stack:
        await asyncio.gather(turn(stack), turn(stack))
        await turn(stack)
        assert [paths(fake).count(path) for path in LISTINGS] == [1, 1]
        fake.scripts.insert(0, responses.Script(status=500, error={"error": {"message": "?"}}))
        fake.stores = ["vs_2"]
        with pytest.raises(TurnFailed):
            await turn(stack)
        await turn(stack)
    assert fake.asked["tools"] == [{"type": "file_search", "vector_store_ids": ["vs_2"]}]
    assert [paths(fake).count(path) for path in LISTINGS] == [2, 2]


@pytest.mark.parametrize("path", LISTINGS)
@pytest.mark.parametrize("status", [404, 501])
async def test_a_server_without_an_api_offers_nothing_of_it(path: str, status: int) -> None:
    """Which is not the same as one that fails."""
    fake = answering()
    fake.not_served[path] = status
    async with serving(ResponsesApiStack, fake) as stack:
        events = await turn(stack)
    assert bool(fake.asked["tools"]) == (path == LISTINGS[1])
    assert bool(checked(events)) == (path == LISTINGS[0])


@pytest.mark.parametrize("path", LISTINGS)
@pytest.mark.parametrize("status", [401, 500, 503])
async def test_no_turn_runs_when_the_server_does_not_tell(path: str, status: int) -> None:
    """A turn without its shields would be worse than none; the next one asks again."""
    fake = answering()
    fake.not_served[path] = status
    async with serving(ResponsesApiStack, fake) as stack:
        with pytest.raises(StackUnavailable):
            await turn(stack)
        assert "/v1/responses" not in paths(fake)
        fake.not_served.clear()
        assert (await turn(stack))[-1] == TurnCompleted("end_of_turn", "Hi")


async def test_a_shield_without_a_name_is_no_answer() -> None:
    """It could not be asked."""
    fake = answering()
    fake.shields = [{"provider_resource_id": "x"}]
    async with serving(ResponsesApiStack, fake) as stack:
        with pytest.raises(InvalidAgentResponse):
            await turn(stack)


async def test_what_is_given_is_what_there_is() -> None:
    """Nothing, too: then the server is not asked."""
    fake = answering(2)
    async with serving(
        ResponsesApiStack, fake, agent={"toolgroups": [], "input_shields": []}
    ) as stack:
        events = await turn(stack)
    assert fake.asked["tools"] == []
    assert checked(events) == []
    assert not set(LISTINGS).intersection(paths(fake))


async def test_what_a_message_chooses_is_not_asked_for() -> None:
    """Its stores, its shields, or no tools."""
    fake = answering(3)
    chosen = TurnOptions(vector_store_ids=("vs_9",), shields=("other",))
    async with serving(ResponsesApiStack, fake) as stack:
        events = await turn(stack, options=chosen)
        assert fake.asked["tools"] == [{"type": "file_search", "vector_store_ids": ["vs_9"]}]
        assert checked(events) == ["other"]
        events = await turn(stack, options=TurnOptions(no_tools=True))
        assert fake.asked["tools"] == []
        assert checked(events) == ["guard", "other"]
        await turn(stack, options=TurnOptions(vector_store_ids=()))
        assert fake.asked["tools"] == []
    assert LISTINGS[0] not in paths(fake)


async def test_the_store_of_solr_is_searched_before_the_message_only() -> None:
    """With what a query filters by, which a tool of the model would not know."""
    fake = answering()
    fake.stores.append("portal-rag")
    async with serving(ResponsesApiStack, fake, solr={"enabled": True}) as stack:
        await turn(stack)
    assert fake.asked["tools"][0]["vector_store_ids"] == ["ocp-docs", "vs_1"]


async def test_output_shields_are_guardrails_beside_what_is_offered() -> None:
    """They alone check answers."""
    fake = answering()
    async with serving(ResponsesApiStack, fake, agent={"output_shields": ["out"]}) as stack:
        events = await turn(stack)
    assert fake.asked["guardrails"] == ["out"]
    assert checked(events) == ["out", "guard", "other"]


async def test_an_agent_is_made_with_all_that_is_offered() -> None:
    """Stores are searched by the one tool that searches; answers are checked by nobody."""
    fake = with_agents()
    async with serving(AgentsApiStack, fake) as stack:
        assert (await turn(stack))[-1] == TurnCompleted("end_of_turn", "Hi")
    (agent,) = fake.agents.values()
    assert agent["agent_config"]["toolgroups"] == [search_in("vs_1", "vs_2")]
    assert agent["agent_config"]["input_shields"] == ["guard"]
    assert agent["agent_config"]["output_shields"] == []


async def test_what_is_new_makes_another_agent_for_new_conversations() -> None:
    """A plain turn asks for nothing of that; other processes find the same agent."""
    fake = with_agents(4)
    async with serving(AgentsApiStack, fake) as stack:
        old = await stack.start_conversation("o")
        fake.seen.clear()
        await turn(stack, old)
        await turn(stack)
        assert not {*LISTINGS, "/v1/toolgroups", "/v1alpha/agents"}.intersection(paths(fake))
        fake.shields = [GUARD, OTHER]
        stack.offer.forget()
        new = await stack.start_conversation("o")
        await turn(stack, old)
    first, second = fake.agents
    assert (old.split("/")[0], new.split("/")[0]) == (first, second)
    assert fake.agents[second]["agent_config"]["input_shields"] == ["guard", "other"]
    async with serving(AgentsApiStack, fake) as stack:
        assert (await stack.start_conversation("o")).startswith(second)


async def test_an_agent_of_a_server_without_the_search_has_its_shields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would refuse every turn with a tool group that it does not have; the log says so."""
    fake = with_agents()
    fake.toolgroups = []
    async with serving(AgentsApiStack, fake) as stack:
        await stack.start_conversation("o")
    (agent,) = fake.agents.values()
    assert agent["agent_config"]["toolgroups"] == []
    assert agent["agent_config"]["input_shields"] == ["guard"]
    assert "builtin::rag" in caplog.text


async def test_a_conversation_that_crosses_keeps_what_is_offered() -> None:
    """The Responses API of the same server is told of both, and asks no second time."""
    fake = with_agents()
    fake.responses.objects_to = "bomb"
    async with serving(AgentsApiStack, fake) as stack:
        conversation = await stack.start_conversation("o")
        events = await turn(stack, conversation, options=TurnOptions(instructions="Be brief."))
    (asked,) = fake.bodies("POST", "/v1/responses")
    assert asked["tools"] == [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]
    assert checked(events) == ["guard"]
    assert paths(fake).count("/v1/vector_stores") == 2  # pages


async def test_a_turn_with_its_callers_tools_still_searches() -> None:
    """What a turn has of its own takes the place of all that the agent has."""
    fake = with_agents()
    server = {
        "name": "mine",
        "url": "http://mcp:1/mcp",
        "authorization_headers": {"Authorization": "client"},
    }
    async with serving(AgentsApiStack, fake, mcp_servers=[server]) as stack:
        shown = Credentials(mcp_headers={"mine": {"Authorization": "Bearer x"}})
        await turn(stack, credentials=shown)
    (body,) = fake.bodies("POST", "/turn")
    assert body["toolgroups"] == [search_in("vs_1", "vs_2"), "mcp::mine"]


async def test_a_file_of_lcs_has_the_documents_and_the_shields_of_its_llama_stack() -> None:
    """On every surface, although it says nothing of either but what a store is called."""
    fake = answering(3)
    file = {
        "name": "lcs",
        "byok_rag": [{"rag_id": "docs", "vector_db_id": "vs_1", "db_path": __file__}],
        "a2a_state": {"memory": True},
    }
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "Hello"}]}
    sent = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    plain, asked = {"generate_topic_summary": False}, []
    async with run_server(fake.app) as stack:
        app = create_app(Settings.model_validate(file | {"llama_stack": {"url": stack}}))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
            said = (await http.post("/v1/query", json=plain | {"query": "Hello"})).json()
            asked.append(fake.asked)
            task = (await http.post("/a2a", json=sent)).json()["result"]["task"]
            asked.append(fake.asked)
            bomb = (await http.post("/v1/query", json=plain | {"query": "A bomb?"})).json()
            named = plain | {
                "query": "Hello",
                "shield_ids": ["guard"],
                "vector_store_ids": ["docs"],
            }
            assert (await http.post("/v1/query", json=named)).status_code == 200
    assert said["response"] == "Hi"
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert bomb["response"] == "I can't."
    search = {"type": "file_search", "vector_store_ids": ["ocp-docs", "vs_1"]}
    assert [each["tools"] for each in asked] == [[search], [search]]
    assert fake.asked["tools"] == [search | {"vector_store_ids": ["vs_1"]}]
