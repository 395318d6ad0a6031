"""Agents that callers have made, and what a message chooses, through the Responses API.

Embeddings and a reranker of the server, too: it is the same server.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, override

import anyio
import pytest
from starlette.responses import JSONResponse

from agent.errors import (
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    TurnFailed,
    UnsupportedOperation,
)
from agent.settings import Settings
from agent.stacks import (
    AgentOptions,
    Answer,
    AuthRequired,
    ClientTool,
    Inference,
    InputRequired,
    Rejected,
    Resume,
    Sampling,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    ToolGroup,
    TurnCompleted,
    TurnEvent,
    TurnOptions,
    TurnRequest,
)
from agent.stacks.agents_api import AgentsApiStack
from agent.stacks.responses_api import ResponsesApiStack
from tests.fakes import llama_stack
from tests.fakes.responses import (
    RESPONSE,
    FakeResponses,
    Script,
    added,
    answer,
    approval,
    call,
    created,
    delta,
    done,
    final,
    message,
    model,
)
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from tests.fakes.responses import Endpoint

pytestmark = pytest.mark.anyio

CONVERSATION = "conv_" + "0" * 48
SCHEMA = {"type": "object", "properties": {"sum": {"type": "number"}}}
WEATHER = ClientTool("weather", "Weather", {"type": "object"})
SETTINGS: dict[str, Any] = {
    "agent": {
        "instructions": "Be polite.",
        "temperature": 0.5,
        "client_tools": [{"name": "clock", "description": "", "input_schema": {}}],
        "output_shields": ["guard"],
    },
    "mcp_servers": [
        {"name": "sums", "url": "http://sums/mcp", "require_approval": ["add"]},
    ],
}
FILE_SEARCH = {"type": "file_search", "vector_store_ids": ["vs_1"]}
SUMS = {
    "type": "mcp",
    "server_label": "sums",
    "server_url": "http://sums/mcp",
    "require_approval": {"always": ["add"]},
}
FAR = SUMS | {
    "server_label": "far",
    "server_url": "http://far/mcp",
    "require_approval": "never",
}


class Server(FakeResponses):
    """Has tool groups of its own, embeds texts and ranks them."""

    def __init__(self) -> None:
        super().__init__()
        self.models += [model("vllm/rank", "rerank")]
        self.scores: Any = [1.5, -2]
        self.objects_to = "bad"
        self.skipped = 0

    @property
    @override
    def endpoints(self) -> list[tuple[str, str, Endpoint]]:
        return [
            *super().endpoints,
            ("GET", "/v1/toolgroups", self._toolgroups),
            ("POST", "/v1/embeddings", self._embed),
            ("POST", "/v1alpha/inference/rerank", self._rank),
            ("POST", "/mcp", self._refuse),
        ]

    async def _toolgroups(self, _: Request) -> Response:
        far = {"identifier": "mcp::far", "mcp_endpoint": {"uri": "http://far/mcp"}}
        code = {"identifier": "builtin::code", "mcp_endpoint": None}
        return JSONResponse({"data": [far, code]})

    async def _embed(self, request: Request) -> Response:
        rows = [
            {"index": index, "embedding": [float(len(text))]}
            for index, text in enumerate(request.state.body["input"])
        ]
        return JSONResponse({"data": rows[self.skipped :][::-1], "model": "m"})

    async def _refuse(self, _: Request) -> Response:
        return JSONResponse({}, 401)

    async def _rank(self, _: Request) -> Response:
        rows = [{"index": i, "relevance_score": score} for i, score in enumerate(self.scores)]
        return JSONResponse({"data": rows[::-1]})


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[tuple[Server, ResponsesApiStack]]:
    """Return a server and a stack in front of it, for all tests."""
    fake = Server()
    async with run_server(fake.app) as url:
        mine = {"name": "mine", "url": f"{url}/mcp", "authorization_headers": {"X-Key": "oauth"}}
        servers = [*SETTINGS["mcp_servers"], mine]
        settings = SETTINGS | {"llama_stack": {"url": url, "timeout": 5}, "mcp_servers": servers}
        stack = ResponsesApiStack(Settings.model_validate(settings))
        await stack.open()
        yield fake, stack
        await stack.close()


@pytest.fixture
def server(shared: tuple[Server, ResponsesApiStack]) -> Server:
    """Return the server, which has seen nothing."""
    fake, _ = shared
    fake.seen.clear()
    fake.scripts = [Script(answer("Hi"))]
    fake.not_served = {}
    return fake


@pytest.fixture
def stack(shared: tuple[Server, ResponsesApiStack]) -> ResponsesApiStack:
    """Return the stack."""
    return shared[1]


def agent(*groups: ToolGroup, **fields: Any) -> AgentOptions:
    """Return an agent that a caller has made."""
    return AgentOptions(agent_id="a", toolgroups=groups, **fields)


async def run(stack: Any, made: AgentOptions | None, text: str = "Hello", **more: Any) -> Any:
    """Run a turn to its end."""
    fields = {"conversation_id": CONVERSATION, **more}
    request = TurnRequest(
        task_id="t",
        context_id="c",
        message_id="m",
        owner="o",
        tenant="",
        parts=(TextPart(text),),
        agent=made,
        **fields,
    )
    with anyio.fail_after(10):
        events: list[TurnEvent] = [event async for event in stack.turn(request)]
    return events


async def test_all_of_an_agent_takes_the_place_of_that_of_the_settings(
    server: Server, stack: ResponsesApiStack
) -> None:
    """But what the Responses API has no field for: top_k, stop and repetition_penalty."""
    sampling = Sampling("top_p", temperature=0.2, top_p=0.9, top_k=4, max_tokens=70, stop=("x",))
    made = agent(
        instructions="Be brief.",
        client_tools=(WEATHER,),
        max_infer_iters=3,
        sampling=sampling,
        input_shields=("guard",),
        response_format={"type": "json_schema", "json_schema": SCHEMA},
    )

    events = await run(stack, made, model="other")

    assert [event for event in events if isinstance(event, StepEnded)] == [
        StepEnded("shield_call", "guard", {"violation": None})
    ]
    assert events[-1] == TurnCompleted("end_of_turn", "Hi")
    function = {"type": "function", "name": "weather", "description": "Weather"}
    assert server.asked == {
        "model": "vllm/other",
        "conversation": CONVERSATION,
        "instructions": "Be brief.",
        "input": "Hello",
        "tools": [function | {"parameters": {"type": "object"}}],
        "max_infer_iters": 3,
        "max_output_tokens": 70,
        "temperature": 0.2,
        "top_p": 0.9,
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}},
        "stream": True,
    }


@pytest.mark.parametrize(
    ("groups", "tools"),
    [
        ([], []),
        ([ToolGroup("mcp::sums")], [SUMS]),
        (
            [ToolGroup("mcp::sums/add"), ToolGroup("mcp::sums/sub")],
            [SUMS | {"allowed_tools": ["add", "sub"]}],
        ),
        ([ToolGroup("mcp::far/look")], [FAR | {"allowed_tools": ["look"]}]),
        ([ToolGroup("mcp::far/look"), ToolGroup("mcp::far")], [FAR]),
        ([ToolGroup("builtin::rag")], [FILE_SEARCH]),
        ([ToolGroup("builtin::rag/knowledge_search")], [FILE_SEARCH]),
        (
            [
                ToolGroup("builtin::rag", {"vector_db_ids": ["vs_2"]}),
                ToolGroup("builtin::file_search", {"vector_store_ids": ["vs_3"]}),
                ToolGroup("builtin::websearch"),
            ],
            [FILE_SEARCH | {"vector_store_ids": ["vs_2", "vs_3"]}, {"type": "web_search"}],
        ),
    ],
)
@pytest.mark.parametrize("chosen_by", ["agent", "message"])
async def test_tool_groups_become_tools(
    server: Server, stack: ResponsesApiStack, chosen_by: str, groups: Any, tools: Any
) -> None:
    """Those of a message take the place of those of the agent, whose client tools stay."""
    if chosen_by == "agent":
        await run(stack, agent(*groups))
        assert server.asked["tools"] == tools
        return
    made = agent(ToolGroup("nobody::knows"), client_tools=(WEATHER,))
    await run(stack, made, options=TurnOptions(toolgroups=tuple(groups)))
    assert [tool for tool in server.asked["tools"] if tool["type"] != "function"] == tools
    assert [tool.get("name") for tool in server.asked["tools"]].count("weather") == 1


async def test_the_agent_of_the_settings_has_the_tool_groups_of_a_message(
    server: Server, stack: ResponsesApiStack
) -> None:
    """None of all the stores and servers that it has else; its client tools stay."""
    await run(stack, None, options=TurnOptions(toolgroups=(ToolGroup("mcp::sums"),)))

    assert [tool["type"] for tool in server.asked["tools"]] == ["function", "mcp"]
    assert server.asked["guardrails"] == ["guard"]


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        (ToolGroup("mcp::nobody"), "mcp::nobody does not exist"),
        (ToolGroup("builtin::code"), "builtin::code cannot be used"),
        (ToolGroup("mcp::sums", {"a": 1}), "takes no argument a "),
        (ToolGroup("builtin::rag", {"chunk_size": 1}), "takes no argument chunk_size"),
        (ToolGroup("builtin::rag", {"vector_db_ids": "vs_1"}), "must be a list"),
        (ToolGroup("builtin::rag/insert"), "has no tool insert"),
    ],
)
async def test_a_tool_group_that_cannot_be_had_is_refused(
    server: Server, stack: ResponsesApiStack, group: ToolGroup, problem: str
) -> None:
    """Nothing of what an agent has is left out in silence."""
    with pytest.raises(InvalidParams, match=f"parameter toolgroups: .*{problem}"):
        await run(stack, agent(group))

    assert len(server.scripts) == 1


async def test_a_store_of_the_message_is_the_only_one(
    server: Server, stack: ResponsesApiStack
) -> None:
    options = TurnOptions(vector_store_ids=("vs_9",))

    await run(stack, agent(ToolGroup("builtin::rag")), options=options)

    assert server.asked["tools"] == [FILE_SEARCH | {"vector_store_ids": ["vs_9"]}]


async def test_a_server_that_an_agent_has_wants_credentials_of_its_caller(
    server: Server, stack: ResponsesApiStack
) -> None:
    """One that the agent does not have is not asked for them."""
    [asked] = await run(stack, agent(ToolGroup("mcp::mine")))
    assert isinstance(asked, AuthRequired)
    assert asked.data["server"] == "mine"

    await run(stack, agent(ToolGroup("mcp::sums")))
    assert server.scripts == []


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("required", "required"),
        ("weather", {"type": "function", "name": "weather"}),
        ("add", {"type": "function", "name": "add"}),
        ("knowledge_search", {"type": "file_search"}),
    ],
)
async def test_a_tool_may_be_chosen(
    server: Server, stack: ResponsesApiStack, choice: str, sent: Any
) -> None:
    """For the first call: that of a message, or that of the agent."""
    groups = (ToolGroup("mcp::sums"), ToolGroup("builtin::rag"))

    await run(stack, agent(*groups, client_tools=(WEATHER,), tool_choice=choice))
    assert server.asked.get("tool_choice") == sent

    server.scripts = [Script(answer("Hi"))]
    made = agent(*groups, client_tools=(WEATHER,), tool_choice="none")
    await run(stack, made, options=TurnOptions(tool_choice=choice))
    assert server.asked.get("tool_choice") == sent


async def test_where_no_tool_is_chosen_there_are_none(
    server: Server, stack: ResponsesApiStack
) -> None:
    """Not every server knows the choice; a tool that there cannot be is refused."""
    await run(stack, agent(ToolGroup("mcp::sums"), client_tools=(WEATHER,), tool_choice="none"))

    assert (server.asked["tools"], "tool_choice" in server.asked) == ([], False)
    with pytest.raises(InvalidParams, match="tool_choice: there is no tool clock"):
        await run(stack, agent(client_tools=(WEATHER,), tool_choice="clock"))


async def test_a_client_tool_of_an_agent_is_the_callers_to_run(
    server: Server, stack: ResponsesApiStack
) -> None:
    """Its result goes on with the turn, in which no tool is required any more."""
    asking = call("weather", '{"city": "Oslo"}')
    server.scripts = [
        Script([created(), final("completed", asking)]),
        Script(answer("Rain")),
    ]
    made = agent(client_tools=(WEATHER,), tool_choice="required")

    waiting = (await run(stack, made))[-1]
    assert isinstance(waiting, InputRequired)
    assert waiting.data["tool_calls"] == [
        {"call_id": "call_1", "tool_name": "weather", "arguments": {"city": "Oslo"}}
    ]
    resume = Resume(RESPONSE, (Answer("call_1", "rain"),))
    events = await run(stack, made, resume=resume)

    assert events[-1] == TurnCompleted("end_of_turn", "Rain")
    assert "tool_choice" not in server.asked
    assert [tool["name"] for tool in server.asked["tools"]] == ["weather"]


async def test_what_needs_no_approval_goes_on_within_the_limit_of_the_agent(
    server: Server, stack: ResponsesApiStack
) -> None:
    """The choice of a tool is over then."""
    asking = final("completed", approval("sub", "{}"))
    server.scripts = [Script([created(), asking]), Script(answer("Hi"))]
    made = agent(ToolGroup("mcp::sums"), tool_choice="required", max_infer_iters=2)

    events = await run(stack, made)

    assert events[-1] == TurnCompleted("end_of_turn", "Hi")
    assert "tool_choice" not in server.asked
    assert server.asked["max_infer_iters"] == 2


async def test_steps_come_in_their_order_with_arguments_and_results(
    server: Server, stack: ResponsesApiStack
) -> None:
    """Of tools on MCP servers and of searches, by the ids of their calls."""
    search = {"type": "file_search_call", "id": "fs_1", "queries": ["pods"], "status": "completed"}
    results = [{"file_id": "f", "filename": "pods.md", "text": "Pods restart.", "score": 1}]
    adding = {"type": "mcp_call", "id": "mcp_1", "name": "add", "server_label": "sums"}
    adding |= {"arguments": '{"a": 2}'}
    text = message("It is 2.")
    events = [
        created(),
        added(search | {"queries": []}),
        done(search | {"results": results}),
        added(adding),
        done(adding | {"output": "2"}),
        delta("It is 2."),
        final("completed", search | {"results": results}, adding | {"output": "2"}, text),
    ]
    server.scripts = [Script(events)]

    told = await run(stack, agent(ToolGroup("mcp::sums"), ToolGroup("builtin::rag")))

    steps = [each for each in told if isinstance(each, StepStarted | StepEnded | TextDelta)]
    assert steps[0] == StepStarted(
        "memory_retrieval",
        "file_search",
        {"call_id": "fs_1", "type": "file_search_call", "arguments": {"queries": ["pods"]}},
    )
    assert isinstance(steps[1], StepEnded)
    assert steps[1].detail["call_id"] == "fs_1"
    assert "Pods restart." in steps[1].detail["result"]
    detail = {"call_id": "mcp_1", "type": "mcp_call", "arguments": {"a": 2}}
    assert steps[2:] == [
        StepStarted("tool_execution", "add", detail | {"server_label": "sums"}),
        StepEnded("tool_execution", "add", {"call_id": "mcp_1", "result": "2"}),
        TextDelta("It is 2."),
    ]


async def test_the_shields_of_an_agent_are_the_only_ones(
    server: Server, stack: ResponsesApiStack
) -> None:
    """Those for messages check nothing else; those for answers are guardrails. Without any there are none."""
    events = await run(stack, agent(input_shields=("guard",)), "bad")
    assert events[-1] == Rejected("I can't.")

    await run(stack, agent(), "bad")
    assert "guardrails" not in server.asked

    server.scripts = [Script(answer("Hi"))]
    await run(stack, agent(output_shields=("guard",)))
    assert server.asked["guardrails"] == ["guard"]


async def test_shields_that_callers_may_not_choose_check_beside_those_of_an_agent(
    server: Server, stack: ResponsesApiStack
) -> None:
    rules = stack.settings.customization.model_copy(update={"disable_shield_ids_override": True})
    strict = ResponsesApiStack(stack.settings.model_copy(update={"customization": rules}))
    await strict.open()
    try:
        assert (await run(strict, agent(), "bad"))[-1] == Rejected("I can't.")
    finally:
        await strict.close()
    assert server.scripts


async def test_a_question_that_says_how_to_sample_keeps_the_shields_of_the_settings(
    server: Server, stack: ResponsesApiStack
) -> None:
    asked = Inference(text="Why?", instructions="", owner="o", sampling=Sampling(max_tokens=30))

    inferred = await stack.infer(asked)

    assert inferred.text == "Hi"
    assert (server.asked["max_output_tokens"], server.asked["tools"]) == (30, [])
    assert "temperature" not in server.asked
    assert server.asked["guardrails"] == ["guard"]


async def test_a_response_format_that_is_none_is_refused(
    server: Server, stack: ResponsesApiStack
) -> None:
    with pytest.raises(InvalidParams, match="parameter response_format:"):
        await run(stack, agent(response_format={"type": "grammar", "bnf": {}}))
    assert server.scripts


async def test_texts_are_embedded_in_their_order(server: Server, stack: ResponsesApiStack) -> None:
    """In batches, by the model that is named, or else by the first one."""
    texts = ["x" * (number % 7) for number in range(300)]

    found = await stack.embed(texts, "embed")

    assert found == [[float(len(text))] for text in texts]
    bodies = [each.body for each in server.seen if each.path == "/v1/embeddings"]
    assert [len(body["input"]) for body in bodies] == [128, 128, 44]
    assert {body["model"] for body in bodies} == {"vllm/embed"}
    assert await stack.embed(["abc"], None) == [[3.0]]
    with pytest.raises(ModelNotFound):
        await stack.embed(["a"], "vllm/small")
    with pytest.raises(InvalidParams):
        await stack.embed(["a"] * 2049, None)
    server.skipped = 1
    with pytest.raises(InvalidAgentResponse):
        await stack.embed(["a", "b"], None)
    server.skipped = 0


async def test_a_reranker_of_the_server_is_asked(server: Server, stack: ResponsesApiStack) -> None:
    """None of a server that has none, or does not rerank with the model."""
    assert await stack.rerank("rank", "q", ["a", "b"]) == [1.5, -2]
    body = {"model": "vllm/rank", "query": "q", "items": ["a", "b"]}
    assert server.seen[-1].body == body
    assert await stack.rerank("vllm/small", "q", ["a", "b"]) is None
    for status in (404, 405, 501):
        server.not_served = {"/v1alpha/inference/rerank": status}
        assert await stack.rerank("rank", "q", ["a", "b"]) is None
    server.not_served = {}
    with pytest.raises(InvalidAgentResponse):
        await stack.rerank("rank", "q", ["a", "b", "c"])


@asynccontextmanager
async def agents_api(fake: llama_stack.FakeLlamaStack) -> AsyncIterator[AgentsApiStack]:
    """Run a Llama Stack with the agents API, and a stack in front of it."""
    sections: dict[str, Any] = {
        "agent": {"toolgroups": [], "input_shields": []},
        "mcp_servers": [
            {"name": "sums", "url": "http://sums/mcp"},
            {"name": "mine", "url": "http://x/mcp", "authorization_headers": {"X-Key": "client"}},
        ],
    }
    async with run_server(fake.app) as url:
        settings = sections | {"llama_stack": {"url": url, "timeout": 5}}
        stack = AgentsApiStack(Settings.model_validate(settings))
        await stack.open()
        yield stack
        await stack.close()


async def test_the_agents_api_takes_the_tool_groups_of_a_message() -> None:
    """In a turn of the agent, whatever the Responses API could make of them."""
    fake = llama_stack.FakeLlamaStack()
    fake.scripts = [llama_stack.Script(llama_stack.answer("Hi")) for _ in range(2)]
    groups = (ToolGroup("builtin::rag", {"vector_db_ids": ["vs_1"]}), ToolGroup("mcp::sums/add"))
    async with agents_api(fake) as stack:
        conversation = await stack.start_conversation("o")
        options = TurnOptions(toolgroups=groups, tool_choice="auto")
        await run(stack, None, conversation_id=conversation, options=options)
        await run(stack, None, conversation_id=conversation)
        mine = TurnOptions(toolgroups=(ToolGroup("mcp::mine"),))
        with pytest.raises(TurnFailed, match="want credentials of yours"):
            await run(stack, None, conversation_id=conversation, options=mine)

    chosen, usual = fake.bodies("POST", "/turn")
    rag = {"name": "builtin::rag", "args": {"vector_db_ids": ["vs_1"]}}
    assert chosen["toolgroups"] == [rag, "mcp::sums/add"]
    assert "toolgroups" not in usual


async def test_an_agent_of_a_caller_answers_by_the_responses_api_of_the_same_server() -> None:
    """Which takes no choice of a tool there but for none of them: that is not left out in silence."""
    fake = llama_stack.FakeLlamaStack()
    fake.responses.scripts = [Script(answer("Hi")) for _ in range(3)]
    async with agents_api(fake) as stack:
        conversation = await stack.start_conversation("o")
        with pytest.raises(UnsupportedOperation, match="required"):
            await run(stack, agent(tool_choice="required"), conversation_id=conversation)
        required = TurnOptions(tool_choice="required")
        with pytest.raises(UnsupportedOperation, match="required"):
            await run(stack, None, conversation_id=conversation, options=required)
        made = agent(ToolGroup("mcp::sums"), instructions="Be brief.")
        events = await run(stack, made, conversation_id=conversation)
        none = TurnOptions(tool_choice="none")
        await run(stack, None, conversation_id=conversation, options=none)
        other = await stack.start_conversation("o")
        await run(stack, None, conversation_id=other, options=TurnOptions(toolgroups=()))

    assert events[-1] == TurnCompleted("end_of_turn", "Hi")
    asked, *without = fake.bodies("POST", "/v1/responses")
    assert [body["tools"] for body in without] == [[], []]
    assert asked["instructions"] == "Be brief."
    assert asked["tools"] == [SUMS | {"require_approval": "never"}]


async def test_sampling_that_the_server_does_not_take_is_named(
    server: Server, stack: ResponsesApiStack
) -> None:
    """0.7.3 wants 16 tokens at least."""
    said = "{'errors': [{'loc': ['body', 'max_output_tokens'], 'msg': 'Input should be ...'}]}"
    server.scripts = [Script(status=400, error={"error": {"message": said}})]

    with pytest.raises(TurnFailed, match="max_tokens of this agent"):
        await run(stack, agent(sampling=Sampling(max_tokens=5)))
