"""Messages that want what their agent does not have, against a fake server on a real socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import (
    InvalidParams,
    ModelNotFound,
    PromptTooLong,
    TurnFailed,
    UnsupportedOperation,
)
from agent.settings import Settings
from agent.stacks import (
    Answer,
    Citation,
    ClientTool,
    Inference,
    Inferred,
    InputRequired,
    Resume,
    TextPart,
    TurnCompleted,
    TurnEvent,
    TurnOptions,
    TurnRequest,
    TurnStarted,
    Usage,
)
from agent.stacks.agents_api import AgentsApiStack
from agent.stacks.remote import RemoteStack
from tests.fakes import responses
from tests.fakes.llama_stack import FakeLlamaStack, Script, answer, call, question, said
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

TOOL = {"name": "get_weather", "description": "Weather", "input_schema": {"type": "object"}}
UNSHIELDED: dict[str, Any] = {"toolgroups": [], "input_shields": []}
GUARD = {"identifier": "guard", "provider_resource_id": "vllm/guard"}
CHUNK = {
    "content": "Pods restart.",
    "metadata": {"doc_id": "d1", "parent_id": "/docs/pods", "title": "Pods"},
    "chunk_metadata": {"reference_url": "https://docs.example/pods"},
}


@asynccontextmanager
async def serving(fake: FakeLlamaStack, **sections: Any) -> AsyncIterator[AgentsApiStack]:
    """Run the fake server and a stack in front of it."""
    agent = {"client_tools": [TOOL], "instructions": "Be polite.", **UNSHIELDED}
    agent |= sections.pop("agent", {})
    async with run_server(fake.app) as url:
        settings = {"llama_stack": {"url": url, "timeout": 5}, "agent": agent, **sections}
        stack = AgentsApiStack(Settings.model_validate(settings))
        await stack.open()
        try:
            with anyio.fail_after(20):
                yield stack
        finally:
            await stack.close()


def request(conversation_id: str, text: str = "Hello", **more: Any) -> TurnRequest:
    """Return a message for a conversation."""
    return TurnRequest(
        conversation_id=conversation_id,
        task_id="t",
        context_id="c",
        message_id="m",
        owner="o",
        tenant="",
        parts=(TextPart(text),),
        **more,
    )


async def turn(
    stack: AgentsApiStack, conversation_id: str, text: str = "Hello", **more: Any
) -> list[TurnEvent]:
    """Run a turn and return all its events."""
    return [event async for event in stack.turn(request(conversation_id, text, **more))]


def fake_with(*agents_turns: Any, others: int = 0) -> FakeLlamaStack:
    """Return a server with these turns of the agent, and so many responses."""
    fake = FakeLlamaStack()
    fake.shields = [GUARD]
    fake.scripts = [Script(each) for each in agents_turns]
    fake.responses.scripts = [
        responses.Script(responses.answer(f"Other {number}")) for number in range(others)
    ]
    return fake


def asked(fake: FakeLlamaStack) -> list[Any]:
    """Return the responses that were asked for."""
    return fake.bodies("POST", "/v1/responses")


OTHER = {
    "instructions": {"options": TurnOptions(instructions="Be brief.")},
    "no tools": {"options": TurnOptions(no_tools=True)},
    "stores": {"options": TurnOptions(vector_store_ids=("vs_1",))},
    "shields": {"options": TurnOptions(shields=("guard",))},
    "model": {"model": "vllm/other"},
    "bare model": {"model": "other"},
    "form": {"metadata": {"response_format": {"type": "json_schema", "json_schema": {}}}},
    "tool": {"tools": (ClientTool("other", "", {}),)},
    "changed tool": {"tools": (ClientTool("get_weather", "", {}),)},
}
SAME = {
    "nothing": {},
    "model": {"model": "vllm/small"},
    "bare model": {"model": "small"},
    "instructions": {"options": TurnOptions(instructions="Be polite.")},
    "no shields": {"options": TurnOptions(shields=())},
    "tool": {"tools": (ClientTool("get_weather", "Weather", {"type": "object"}),)},
    "solr": {"options": TurnOptions(solr={"fq": ["product:x"]})},
}


@pytest.mark.parametrize("more", SAME.values(), ids=SAME.keys())
async def test_what_the_agent_has_anyway_is_a_turn_of_it(more: Any) -> None:
    """Legacy clients name the model with each message."""
    fake = fake_with(answer("Hi"))
    async with serving(fake) as stack:
        events = await turn(stack, await stack.start_conversation("alice"), **more)

    assert events[-1] == TurnCompleted("end_of_turn", "Hi")
    assert [each.model for each in events if isinstance(each, TurnStarted)] == ["vllm/small"]
    assert asked(fake) == []


@pytest.mark.parametrize("more", OTHER.values(), ids=OTHER.keys())
async def test_what_the_agent_does_not_have_comes_from_the_responses_api(more: Any) -> None:
    """With all that was said before, and the conversation goes on there."""
    fake = fake_with(answer("Hi"), others=2)
    fake.scripts[0].chunks[-1]["event"]["payload"]["turn"]["input_messages"] = [
        {"role": "user", "content": "First"}
    ]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        await turn(stack, conversation_id, "First")
        events = await turn(stack, conversation_id, "Second", **more)
        assert events[-1] == TurnCompleted("end_of_turn", "Other 0")
        (other,) = asked(fake)
        assert (await turn(stack, conversation_id, "Third"))[-1].text == "Other 1"  # type: ignore[union-attr]
        third = asked(fake)[1]

    assert [(each["role"], each["content"]) for each in other["input"]] == [
        ("user", "First"),
        ("assistant", "Hi"),
        ("user", "Second"),
    ]
    assert third["input"] == "Third"
    assert third["model"] == "vllm/small"
    assert third["instructions"] == "Be polite."
    assert third["conversation"] == other["conversation"] == conversation_id.split("/")[2]
    assert len(fake.bodies("POST", "/turn")) == 1


async def test_options_are_what_the_response_is_asked_for() -> None:
    """In place of what the settings say."""
    fake = fake_with(others=2)
    options = TurnOptions(instructions="Be brief.", vector_store_ids=("vs_9",), shields=("guard",))
    async with serving(fake, agent={"input_shields": ["guard", "usual"]}) as stack:
        conversation_id = await stack.start_conversation("alice")
        events = await turn(stack, conversation_id, options=options, model="vllm/other")
        await turn(stack, conversation_id, options=TurnOptions(no_tools=True))

    wanted, bare = asked(fake)
    assert wanted["model"] == "vllm/other"
    assert wanted["instructions"] == "Be brief."
    assert wanted["guardrails"] == ["guard"]
    assert [tool["type"] for tool in wanted["tools"]] == ["file_search", "function"]
    assert wanted["tools"][0]["vector_store_ids"] == ["vs_9"]
    assert bare["tools"] == []
    assert bare["guardrails"] == ["guard", "usual"]
    assert events[0] == TurnStarted(responses.RESPONSE, "vllm/other")
    assert Usage(7, 3) in events


async def test_a_plain_turn_costs_no_more_requests_than_it_must() -> None:
    """The first is one; later ones ask where the conversation is, until that is known for good."""
    fake = fake_with(answer("Hi"), answer("Hi"), others=2)
    sent = []
    async with serving(fake, agent={"input_shields": [], "toolgroups": []}) as stack:
        await stack.start_conversation("alice")  # which looks for the agent and the models
        fake.seen.clear()
        conversation_id = await stack.start_conversation("alice")
        _, session, conversation = conversation_id.split("/")
        for none in (None, None, True, None):
            await turn(stack, conversation_id, options=TurnOptions(no_tools=bool(none)))
            sent.append([f"{each.method} {each.path.split('/')[-1]}" for each in fake.seen])
            fake.seen.clear()
    first, second, crossing, after = sent
    assert sorted(first) == ["POST conversations", "POST session", "POST turn"]
    assert second == ["GET items", "POST turn"]
    assert crossing[:2] == ["GET items", f"GET {session}"]
    assert crossing[-1] == "POST responses"
    assert after == ["GET items", "POST responses"]
    assert conversation.startswith("conv_")


async def test_where_a_conversation_went_is_asked_once() -> None:
    """It never comes back; one that is deleted is forgotten."""
    fake = fake_with(others=3)
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        for _ in range(3):
            await turn(stack, conversation_id, options=TurnOptions(no_tools=True))
        assert len(fake.bodies("GET", "/items")) == 1
        await stack.delete_conversation(conversation_id)
        with pytest.raises(TurnFailed):
            await turn(stack, conversation_id)
        assert len(fake.bodies("GET", "/items")) == 2


async def test_another_process_knows_where_the_conversation_went() -> None:
    """The server does."""
    fake = fake_with(others=2)
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        events = await turn(stack, conversation_id, options=TurnOptions(no_tools=True))
    async with serving(fake) as other:
        assert (await turn(other, conversation_id))[-1] == TurnCompleted("end_of_turn", "Other 1")
        (begun,) = [each for each in events if isinstance(each, TurnStarted)]
        outcome = await other.outcome(conversation_id, begun.turn_id)
    assert outcome is not None
    assert outcome.text == "Other 1"  # the fake's responses all have one id


async def test_a_response_that_failed_leaves_the_conversation_where_it_was() -> None:
    """The next message is the agent's again."""
    fake = fake_with(answer("Hi"))
    said_no = {"error": {"message": "Context window exceeded", "code": "400"}}
    fake.responses.scripts = [responses.Script([responses.created(), said_no])]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(PromptTooLong):
            await turn(stack, conversation_id, options=TurnOptions(no_tools=True))
        assert (await turn(stack, conversation_id))[-1] == TurnCompleted("end_of_turn", "Hi")


async def test_a_question_of_the_agent_cannot_be_answered_elsewhere() -> None:
    """Nor with other options than it was asked with; one of a response can."""
    fake = fake_with(question(call("c1", "get_weather")), others=1)
    waits = responses.call("get_weather", "{}")
    fake.responses.scripts += [
        responses.Script([responses.created(), responses.final("completed", waits)]),
        responses.Script(responses.answer("Rain")),
    ]
    none = TurnOptions(no_tools=True)
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        events = await turn(stack, conversation_id)
        (begun,) = [each for each in events if isinstance(each, TurnStarted)]
        resume = Resume(begun.turn_id, (Answer("c1", "Rain"),))
        with pytest.raises(TurnFailed, match="has gone on"):
            await turn(stack, conversation_id, resume=resume, options=none)
        await turn(stack, conversation_id, options=none)
        with pytest.raises(TurnFailed, match="has gone on"):
            await turn(stack, conversation_id, resume=resume)
        events = await turn(stack, conversation_id)
        assert isinstance(events[-1], InputRequired)
        resume = Resume(responses.RESPONSE, (Answer("call_1", "Rain"),))
        events = await turn(stack, conversation_id, resume=resume)
    assert events[-1] == TurnCompleted("end_of_turn", "Rain")


@pytest.mark.parametrize(
    ("more", "error", "told"),
    [
        ({"model": "vllm/nothing"}, ModelNotFound, "does not know the model"),
        ({"model": "vllm/embed"}, ModelNotFound, "does not know the model"),
        ({"options": TurnOptions(shields=("guard", "other"))}, InvalidParams, "no shield other"),
        (
            {"options": TurnOptions(instructions="Be brief.")},
            UnsupportedOperation,
            "builtin::rag, mcp::elsewhere",
        ),
        (
            {"options": TurnOptions(vector_store_ids=("vs_1",))},
            UnsupportedOperation,
            ": mcp::elsewhere. Send it without tools",
        ),
    ],
)
async def test_what_cannot_be_had_is_told(more: Any, error: type[Exception], told: str) -> None:
    """Before anything is asked of the model."""
    fake = fake_with()
    groups = ["builtin::rag", "mcp::elsewhere"]
    async with serving(fake, agent={"toolgroups": groups}) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(error, match=told):
            await turn(stack, conversation_id, **more)
    assert asked(fake) == fake.bodies("POST", "/turn") == []


async def test_a_server_without_conversations_has_agents_all_the_same() -> None:
    """Their turns are what they were made for."""
    fake = fake_with(answer("Hi"))
    fake.responses.not_served["/v1/conversations"] = 404
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        assert len(conversation_id.split("/")) == 2
        with pytest.raises(UnsupportedOperation, match="cannot be chosen with a message"):
            await turn(stack, conversation_id, options=TurnOptions(no_tools=True))
        assert (await turn(stack, conversation_id))[-1] == TurnCompleted("end_of_turn", "Hi")


async def test_pictures_go_over_too() -> None:
    """A client tool's unanswered question does not: it said nothing."""
    picture = {"type": "image", "image": {"data": "iVBORw0KGgo="}}
    given = [{"type": "text", "text": "Look"}, picture]
    events = answer("A dot.")
    events[-1]["event"]["payload"]["turn"]["input_messages"] = [{"role": "user", "content": given}]
    fake = fake_with(events, others=1)
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        await turn(stack, conversation_id)
        silent = {"turn_id": "t0", "output_message": said("", calls=[call("c1", "get_weather")])}
        fake.sessions[conversation_id.split("/")[1]].append(silent)
        await turn(stack, conversation_id, options=TurnOptions(no_tools=True))

    first, second, _ = asked(fake)[0]["input"]
    assert first["content"] == [
        {"type": "input_text", "text": "Look"},
        {
            "type": "input_image",
            "detail": "auto",
            "image_url": "data:image/png;base64,iVBORw0KGgo=",
        },
    ]
    assert second == {"type": "message", "role": "assistant", "content": "A dot."}


async def test_an_inference_leaves_nothing_behind() -> None:
    """No session, no conversation; through a URL as well."""
    fake = fake_with(others=2)
    async with serving(fake, agent={"input_shields": ["guard"]}) as stack:
        wanted = Inference(text="Why?", instructions="Be brief.", owner="o", model="other")
        assert await stack.infer(wanted) == Inferred("Other 0", "vllm/other", Usage(7, 3))
        remote = RemoteStack(stack.settings)
        await remote.open()
        topic = await remote.topic_of("Why?", "o")
        await remote.close()

    first, second = asked(fake)
    assert first == {
        "model": "vllm/other",
        "input": "Why?",
        "instructions": "Be brief.",
        "tools": [],
        "guardrails": ["guard"],
        "max_infer_iters": 10,
        "store": False,
        "stream": True,
    }
    assert "topic" in second["instructions"]
    assert topic.text == "Other 1"
    assert fake.sessions == fake.responses.conversations == {}


async def test_a_deleted_conversation_is_gone_on_both_sides() -> None:
    """Twice is no error, and what is of another stack was never there."""
    fake = fake_with()
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        assert fake.sessions
        assert fake.responses.conversations
        for _ in range(2):
            await stack.delete_conversation(conversation_id)
        await stack.delete_conversation("conv_123")
        await stack.delete_conversation("a/b")
    assert fake.sessions == fake.responses.conversations == {}


@pytest.mark.parametrize(
    ("offline", "uri"),
    [(True, "https://mimir.corp.redhat.com/docs/pods"), (False, "https://docs.example/pods")],
)
async def test_solr_is_searched_before_the_agent_is_asked(*, offline: bool, uri: str) -> None:
    """What it finds goes before the message, and is cited."""
    fake = fake_with(answer("Hi"))
    fake.responses.found = {"chunks": [CHUNK], "scores": [0.5]}
    filters = {"fq": ["product:*openshift*"]}
    async with serving(fake, solr={"enabled": True, "offline": offline}) as stack:
        conversation_id = await stack.start_conversation("alice")
        events = await turn(stack, conversation_id, "Why?", options=TurnOptions(solr=filters))

    assert events[0] == Citation("Pods", uri, "Pods restart.", "d1", 0.5)
    (searched,) = fake.bodies("POST", "/v1/vector-io/query")
    assert searched["query"] == "Why?"
    assert searched["vector_db_id"] == searched["vector_store_id"] == "portal-rag"
    assert searched["params"] == {
        "k": 5,
        "score_threshold": 0.0,
        "mode": "hybrid",
        "solr": filters,
    }
    (body,) = fake.bodies("POST", "/turn")
    context, message = body["messages"][0]["content"]
    assert "[1] Pods\nPods restart." in context["text"]
    assert message == {"type": "text", "text": "Why?"}


async def test_a_solr_store_that_is_not_there_is_an_error_only_for_what_needs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a filter the turn goes on without documents, and the log says so."""
    fake = fake_with(answer("Hi"))
    async with serving(fake, solr={"enabled": True}) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(TurnFailed, match="Solr store"):
            await turn(stack, conversation_id, options=TurnOptions(solr={"fq": ["a:b"]}))
        events = await turn(stack, conversation_id)
    assert events[-1] == TurnCompleted("end_of_turn", "Hi")
    assert "without documents of Solr" in caplog.text
