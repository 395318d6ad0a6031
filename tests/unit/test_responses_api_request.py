"""What a turn asks the Responses API for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import ContentTypeNotSupported, InvalidParams, TurnFailed
from agent.settings import Settings
from agent.stacks import NO_CREDENTIALS
from agent.stacks.responses_api_options import groups_of
from agent.stacks.responses_api_request import (
    answers_of,
    body_of,
    input_of,
)
from agent.stacks.responses_api_tools import mcp_tools, unusable_toolgroups
from agent.stacks.responses_api_wire import Response, decode
from agent.stacks.turn import Answer, ClientTool, DataPart, FilePart, Resume, TextPart, TurnRequest
from tests.fakes.responses import approval, call, response

if TYPE_CHECKING:
    from pathlib import Path

    from agent.stacks.turn import Part

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG"
SCHEMA = {"type": "object", "properties": {"sum": {"type": "number"}}}


def settings(**sections: Any) -> Settings:
    """Return settings with these sections."""
    return Settings.model_validate(sections)


def request(**fields: Any) -> TurnRequest:
    """Return a request with these fields."""
    return TurnRequest(
        **{
            "conversation_id": "conv_1",
            "task_id": "t",
            "context_id": "c",
            "message_id": "m",
            "owner": "o",
            "tenant": "",
            "parts": (),
            **fields,
        }
    )


def body(wanted: TurnRequest | None = None, **sections: Any) -> dict[str, Any]:
    """Return the body for these settings."""
    return body_of(settings(**sections), wanted or request(), "vllm/small")


async def tools_of(configured: Settings) -> list[dict[str, Any]]:
    """Return the tools of all MCP servers."""
    return await mcp_tools(groups_of(configured), configured.mcp_servers, NO_CREDENTIALS)


def test_what_is_not_configured_is_left_to_the_server() -> None:
    """A null would be another value than none on some servers."""
    assert body(agent={"instructions": "Be brief."}) == {
        "model": "vllm/small",
        "conversation": "conv_1",
        "instructions": "Be brief.",
        "tools": [],
        "max_infer_iters": 10,
    }


def test_sampling_and_limits_are_passed_on() -> None:
    """Under the names of the Responses API."""
    asked = body(agent={"max_infer_iters": 3, "max_tokens": 500, "temperature": 0.0})

    assert asked["max_infer_iters"] == 3
    assert asked["max_output_tokens"] == 500
    assert asked["temperature"] == 0.0


def test_shields_become_guardrails_once_each() -> None:
    """A guardrail looks at both what goes in and what comes out."""
    asked = body(agent={"input_shields": ["guard", "in"], "output_shields": ["guard", "out"]})

    assert asked["guardrails"] == ["guard", "in", "out"]


def test_the_tools_of_the_message_come_after_those_of_the_agent_and_win() -> None:
    """Every function has a description and an object for its parameters, as 0.3.5 demands."""
    tool = {"name": "clock", "description": "Tells the time", "input_schema": SCHEMA}
    given = (ClientTool("clock", "Tells the hour", {}), ClientTool("weather", "", SCHEMA))

    asked = body(request(tools=given), agent={"client_tools": [tool]})

    assert asked["tools"] == [
        {
            "type": "function",
            "name": "clock",
            "description": "Tells the hour",
            "parameters": {"type": "object", "properties": {}},
        },
        {"type": "function", "name": "weather", "description": "weather", "parameters": SCHEMA},
    ]


@pytest.mark.parametrize(
    "name", ["builtin::rag", "builtin::rag/knowledge_search", "builtin::file_search"]
)
@pytest.mark.parametrize("key", ["vector_db_ids", "vector_store_ids"])
def test_the_rag_tool_group_becomes_a_file_search(name: str, key: str) -> None:
    """In the stores that its arguments name."""
    group = {"name": name, "args": {key: ["vs_1", "vs_2"]}}

    assert body(agent={"toolgroups": [group, "builtin::websearch"]})["tools"] == [
        {"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]},
        {"type": "web_search"},
    ]


def test_tool_groups_without_a_tool_are_told() -> None:
    """A tool group is not lost in silence."""
    groups = ["builtin::rag", "builtin::websearch", "mcp::sums/add", "mcp::other", "own::tools"]
    server = {"name": "sums", "url": "http://sums.example/mcp"}

    unusable = unusable_toolgroups(settings(agent={"toolgroups": groups}, mcp_servers=[server]))

    assert unusable == ["builtin::rag", "mcp::other", "own::tools"]


async def test_mcp_servers_become_tools_with_their_secrets(tmp_path: Path) -> None:
    """The Authorization header has a field of its own, without its Bearer."""
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text("Bearer s3cret\n")
    key.write_text("k3y\n")
    headers = {"Authorization": str(token), "X-Api-Key": str(key)}
    server = {"name": "sums", "url": "http://sums.example/mcp"}
    other = server | {"name": "locked", "authorization_headers": headers}

    assert await tools_of(settings(mcp_servers=[server, other])) == [
        {
            "type": "mcp",
            "server_label": "sums",
            "server_url": "http://sums.example/mcp",
            "require_approval": "never",
        },
        {
            "type": "mcp",
            "server_label": "locked",
            "server_url": "http://sums.example/mcp",
            "require_approval": "never",
            "authorization": "s3cret",
            "headers": {"X-Api-Key": "k3y"},
        },
    ]


@pytest.mark.parametrize(
    ("groups", "allowed"),
    [
        (["mcp::sums/add", "mcp::sums/subtract", "mcp::other/x"], ["add", "subtract"]),
        (["mcp::sums/add", "mcp::sums"], None),
        ([], None),
    ],
)
async def test_a_tool_group_may_select_tools_of_a_server(groups: list[str], allowed: Any) -> None:
    """Without a selection all of them are allowed."""
    server = {"name": "sums", "url": "http://sums.example/mcp"}

    [tool] = await tools_of(settings(agent={"toolgroups": groups}, mcp_servers=[server]))

    assert tool.get("allowed_tools") == allowed


async def test_a_secret_that_cannot_be_read_fails_the_turn(tmp_path: Path) -> None:
    """The path stays out of the message."""
    path = str(tmp_path / "missing")
    server = {"name": "sums", "url": "http://x.example", "authorization_headers": {"X-Key": path}}

    with pytest.raises(TurnFailed, match="tool server sums cannot be read") as caught:
        await tools_of(settings(mcp_servers=[server]))

    assert path not in caught.value.message


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("never", "never"), ("always", "always"), (["add"], {"always": ["add"]})],
)
async def test_approval_is_asked_for_by_the_server(asked: Any, sent: Any) -> None:
    server = {"name": "sums", "url": "http://sums/mcp", "require_approval": asked}

    [tool] = await tools_of(settings(mcp_servers=[server]))

    assert tool["require_approval"] == sent


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ({"type": "json_schema", "json_schema": SCHEMA}, "answer"),
        ({"type": "json_schema", "json_schema": {"name": "total", "schema": SCHEMA}}, "total"),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, "answer"),
        ({"type": "json_schema", "name": "total", "schema": SCHEMA}, "total"),
    ],
)
def test_a_schema_for_the_answer_is_passed_on(wanted: Any, name: str) -> None:
    """In the shape of the agents API, of OpenAI's chat API or of the Responses API."""
    asked = body(request(metadata={"response_format": wanted}))

    assert asked["text"] == {"format": {"type": "json_schema", "name": name, "schema": SCHEMA}}


@pytest.mark.parametrize(
    "wanted",
    [
        "json",
        {"type": "grammar", "bnf": {}},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": "string"},
        {"type": "json_schema", "json_schema": {"schema": 1}},
    ],
)
def test_another_response_format_is_refused(wanted: Any) -> None:
    """Nothing of what a caller asks for is ignored."""
    with pytest.raises(InvalidParams) as caught:
        body(request(metadata={"response_format": wanted}))

    assert caught.value.field.startswith("metadata.response_format")


def test_texts_documents_and_data_are_one_text() -> None:
    """A server drops a list that repeats the message before, so there is none without need."""
    parts = (
        TextPart("Add up"),
        FilePart("sums.csv", "text/csv; charset=latin-1", "1,é".encode("latin-1")),
        FilePart(None, "application/yaml", b"a: 1"),
        FilePart("x.json", "application/problem+json", b"\xef\xbb\xbf{}"),
        DataPart({"a": [1, "é"]}),
    )

    assert input_of(parts) == (
        "Add up\n\nDocument sums.csv:\n\n1,é\n\nDocument:\n\na: 1\n\n"
        'Document x.json:\n\n{}\n\n{"a":[1,"é"]}'
    )


def test_images_go_with_the_text_in_their_order() -> None:
    """As data URLs."""
    image = FilePart("a.png", "image/png", PNG)

    [message] = input_of((image, TextPart("Compare"), image))

    data = base64.b64encode(PNG).decode()
    assert (message["type"], message["role"]) == ("message", "user")
    assert message["content"] == [
        {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{data}"},
        {"type": "input_text", "text": "Compare"},
        {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{data}"},
    ]


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (FilePart("a.pdf", "application/pdf", b"%PDF"), "application/pdf"),
        (FilePart("a.wav", "AUDIO/wav", b"RIFF"), "audio/wav"),
        (FilePart("a.txt", "text/plain", b"\xff\xfe"), "text/plain"),
        (FilePart("a.txt", "text/plain; charset=klingon", b"x"), "text/plain"),
        (FilePart("a.txt", "text/plain", uri="https://example.org/a.txt"), "by value"),
        (FilePart("a.png", "image/png", uri="https://example.org/a.png"), "by value"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_type(part: Part, names: str) -> None:
    """The message says why."""
    with pytest.raises(ContentTypeNotSupported, match=names):
        input_of((TextPart("See"), part))


def answered(output: list[Any], *answers: Answer) -> list[dict[str, Any]]:
    """Answer what a response with this output waits for."""
    waiting = decode(response("completed", *output), Response)
    return answers_of(Resume("resp_1", answers), waiting)


def test_results_of_tool_calls_go_back_by_their_call_ids() -> None:
    """As text, whatever they are."""
    calls = [call("weather", "{}", "call_1"), call("clock", "{}", "call_2")]

    assert answered(calls, Answer("call_1", "12C"), Answer("call_2", "noon")) == [
        {"type": "function_call_output", "call_id": "call_1", "output": "12C"},
        {"type": "function_call_output", "call_id": "call_2", "output": "noon"},
    ]


@pytest.mark.parametrize("approve", [True, False])
def test_an_approval_goes_back_behind_the_request_it_answers(*, approve: bool) -> None:
    """The server does not look for the request in the conversation."""
    asked = approval("add", '{"a": 2}')

    assert answered([asked], Answer("approval_1", "", approve=approve)) == [
        asked,
        {
            "type": "mcp_approval_response",
            "approval_request_id": "approval_1",
            "approve": approve,
        },
    ]


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ((Answer("call_1", "x"), Answer("call_9", "y")), "nothing waits for an answer to call_9"),
        ((), "an answer to approval_1 is missing"),
        (
            (Answer("call_1", "x"), Answer("approval_1", "yes")),
            "approval_1 wants to be approved or denied",
        ),
    ],
)
def test_answers_that_do_not_fit_are_refused(answers: tuple[Answer, ...], problem: str) -> None:
    """Before the server makes a failed turn of them."""
    with pytest.raises(InvalidParams) as caught:
        answered([call("weather", "{}"), approval("add", "{}")], *answers)

    assert caught.value.problem == problem
