"""``/v1/streaming_query`` over sockets: the events of LCS, in its order, byte for byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import PromptTooLong, StackUnavailable, TurnFailed
from agent.stacks import (
    Citation,
    DirectMessage,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from tests.fakes.engine import until
from tests.fakes.scripted_stack import ANSWER, DONE
from tests.fakes.stocked_stack import Stock, stocked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import httpx

    from agent.stacks import TurnEvent, TurnRequest

pytestmark = pytest.mark.anyio

PATH = "/v1/streaming_query"
HELLO = {"query": "hello", "generate_topic_summary": False}
TEXT = {"media_type": "text/plain"}
LISTED = {"call_id": "l", "tools": [{"name": "look"}]}
CALL = {"call_id": "1", "arguments": {"for": "fox"}, "type": "mcp_call", "server_label": "mcp"}
TOOLS = [
    StepStarted("tool_listing", "mcp", {"call_id": "l"}),
    StepEnded("tool_listing", "mcp", LISTED),
    StepStarted("inference"),
    StepStarted("tool_execution", "look", CALL),
    StepEnded("tool_execution", "look", {"call_id": "1", "result": "foxes jump"}),
    Citation("Foxes", "https://foxes.test/a", "A fox."),
    StepStarted("inference"),
    TextDelta("The"),
    TextDelta(" füchs"),
    Usage(20, 40),
    DONE,
]


# As it was recorded of LCS, but for what the turn says.
EXPECTED = """\
data: {"event": "start", "data": {"conversation_id": "CONVERSATION"}}
data: {"event": "tool_call", "data": {"id": "l", "name": "mcp_list_tools", "args": \
{"server_label": "mcp"}, "type": "mcp_list_tools"}}
data: {"event": "tool_result", "data": {"id": "l", "status": "success", "content": \
"{\\"server_label\\": \\"mcp\\", \\"tools\\": [{\\"name\\": \\"look\\"}]}", \
"type": "mcp_list_tools", "round": 1}}
data: {"event": "tool_call", "data": {"id": "1", "name": "look", "args": \
{"for": "fox", "server_label": "mcp"}, "type": "mcp_call"}}
data: {"event": "tool_result", "data": {"id": "1", "status": "success", "content": "foxes jump", \
"type": "mcp_call", "round": 1}}
data: {"event": "token", "data": {"id": 0, "token": ""}}
data: {"event": "token", "data": {"id": 1, "token": "The"}}
data: {"event": "token", "data": {"id": 2, "token": " f\\u00fcchs"}}
data: {"event": "turn_complete", "data": {"id": 3, "token": "The f\\u00fcchs"}}
data: {"event": "end", "data": {"referenced_documents": [{"doc_url": "https://foxes.test/a", \
"doc_title": "Foxes", "source": "vs_1"}], "truncated": null, "input_tokens": 20, \
"output_tokens": 40}, "available_quotas": {}}
"""


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """No test takes long."""
    with anyio.fail_after(20):
        yield


async def streamed(http: httpx.AsyncClient, **fields: Any) -> str:
    """Return the whole stream that answers a query."""
    answer = await http.post(PATH, json=HELLO | fields)
    assert answer.status_code == 200, answer.text
    kind = "text/plain" if fields.get("media_type") == "text/plain" else "text/event-stream"
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert "content-length" not in answer.headers
    return answer.text


def read(stream: str) -> list[tuple[str, Any]]:
    """Return the events: name, and data."""
    *events, end = stream.split("\n\n")
    assert not end
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    said = [json.loads(event.removeprefix("data: ")) for event in events]
    return [(event["event"], event["data"]) for event in said]


async def events_of(http: httpx.AsyncClient, **fields: Any) -> list[tuple[str, Any]]:
    """Return the events of the answer to a query, without the first, which names the conversation."""
    (name, data), *others = read(await streamed(http, **fields))
    assert (name, [len(data["conversation_id"])]) == ("start", [48])
    return others


async def test_an_answer_is_written_byte_for_byte_as_lcs_writes_it() -> None:
    async with stocked(Stock(TOOLS)) as http:
        stream = await streamed(http)
    conversation_id = read(stream)[0][1]["conversation_id"]
    expected = EXPECTED.replace("CONVERSATION", conversation_id)
    assert stream == "".join(f"{line}\n\n" for line in expected.splitlines())


async def test_text_is_the_answer_with_marks_for_tools_and_a_list_of_documents() -> None:
    async with stocked(Stock(TOOLS)) as http:
        stream = await streamed(http, **TEXT)
    start, _, rest = stream.partition("\n\n")
    assert json.loads(start.removeprefix("data: "))["event"] == "start"
    assert rest == (
        "[Tool Call: mcp_list_tools]\n[Tool Result]\n[Tool Call: look]\n[Tool Result]\n"
        "The füchs\n\n---\n\nFoxes: https://foxes.test/a"
    )


async def test_json_may_be_asked_for_by_name() -> None:
    async with stocked(Stock(ANSWER)) as http:
        events = await events_of(http, media_type="application/json")
    assert [name for name, _ in events] == ["token", "token", "turn_complete", "end"]


async def test_the_quota_that_is_left_stands_beside_the_data_of_the_end() -> None:
    limiter = {"type": "user_limiter", "name": "mine", "initial_quota": 100}
    limiter |= {"quota_increase": 0, "period": "1 day"}
    turn = [TextDelta("yes"), Usage(30, 20), DONE]
    async with stocked(Stock(turn), quota_handlers={"limiters": [limiter]}) as http:
        stream = await streamed(http)
    assert stream.endswith('"output_tokens": 20}, "available_quotas": {"mine": 50}}\n\n')


async def test_a_refusal_is_one_token_and_no_turn_is_complete() -> None:
    async with stocked(Stock([Rejected("I may not say.")])) as http:
        events = await events_of(http)
        text = await streamed(http, **TEXT)
    assert events[0] == ("token", {"id": 0, "token": "I may not say."})
    assert [name for name, _ in events] == ["token", "end"]
    assert text.endswith("}\n\nI may not say.")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (TurnFailed("It broke."), (500, "Error while processing query", "It broke.")),
        (
            PromptTooLong(),
            (413, "Prompt is too long", "The prompt exceeds the maximum allowed length."),
        ),
        (
            StackUnavailable(),
            (
                503,
                "Unable to connect to Llama Stack",
                "Connection error while trying to reach backend service.",
            ),
        ),
    ],
    ids=["broken", "too long", "unavailable"],
)
async def test_a_turn_that_fails_on_its_way_ends_with_an_error(
    failure: Exception, said: tuple[int, str, str]
) -> None:
    begun: list[Any] = [TurnStarted("t", "openai/gpt")]
    stock = Stock([*begun, failure], [*begun, TextDelta("The"), failure], [*begun, failure])
    status, response, cause = said
    error = {"status_code": status, "response": response, "cause": cause}
    none: dict[str, Any] = {"referenced_documents": [], "truncated": None}
    none |= {"input_tokens": 0, "output_tokens": 0}
    async with stocked(stock) as http:
        assert await events_of(http) == [("error", error), ("end", none)]
        later = await events_of(http)
        text = await streamed(http, **TEXT)
    assert [name for name, _ in later] == ["token", "token", "error", "end"]
    assert text.endswith(f"}}\n\nStatus: {status} - {response} - {cause}")


async def test_what_is_known_before_the_stream_is_an_error_of_http() -> None:
    asked: list[dict[str, Any]] = [
        {},
        {},
        {"conversation_id": "0" * 48},
        {"model": "nope", "provider": "openai"},
        {"shield_ids": []},
        {"media_type": "text/html"},
        {"query": ""},
    ]
    async with stocked(Stock([StackUnavailable()], [PromptTooLong()], ANSWER)) as http:
        answers = [await http.post(PATH, json=HELLO | fields) for fields in asked]
    assert [answer.status_code for answer in answers] == [503, 413, 404, 404, 422, 422, 422]
    assert all(answer.headers["content-type"] == "application/json" for answer in answers)
    assert "Retry-After" in answers[0].headers


async def test_an_answer_that_is_cut_off_is_complete_and_then_an_error() -> None:
    async with stocked(Stock([TextDelta("hal"), TurnCompleted("out_of_tokens")])) as http:
        events = await events_of(http)
    assert [name for name, _ in events] == ["token", "token", "turn_complete", "error", "end"]
    assert "limit of tokens" in events[3][1]["cause"]


async def test_a_question_is_told_as_the_end_of_the_answer() -> None:
    async with stocked(Stock([TextDelta("Well."), InputRequired("Which city?")])) as http:
        events = await events_of(http)
    assert events[2] == ("token", {"id": 2, "token": "\n\nWhich city?"})
    assert events[3] == ("turn_complete", {"id": 3, "token": "Well.\n\nWhich city?"})


async def test_a_message_instead_of_a_task_is_an_answer() -> None:
    async with stocked(Stock([DirectMessage((TextPart("hi"),))])) as http:
        events = await events_of(http)
    assert events[2] == ("turn_complete", {"id": 2, "token": "hi"})


class Held:
    """A turn that says one word, and the rest when it is let go."""

    def __init__(self) -> None:
        self.running, self.release, self.ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def turn(self, _request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """See ``Stock``."""
        try:
            yield TextDelta("The ")
            self.running.set()
            await self.release.wait()
            yield TextDelta("fox")
            yield DONE
        finally:
            self.ended.set()


async def test_tokens_come_as_they_are_said() -> None:
    held = Held()
    async with (
        stocked(Stock(held.turn)) as http,
        http.stream("POST", PATH, json=HELLO) as answer,
    ):
        lines = answer.aiter_lines()
        heard = [await anext(lines) for _ in range(5)]
        assert heard[-1] == 'data: {"event": "token", "data": {"id": 1, "token": "The "}}'
        held.release.set()
        rest = [line async for line in lines if line]
    assert '"token": "The fox"' in rest[-2]


async def test_the_turn_goes_on_without_its_client_whose_place_is_free_again() -> None:
    held, naming = Held(), anyio.Event()
    stock = Stock(held.turn, ANSWER, naming=naming)
    wanted = HELLO | {"generate_topic_summary": True}
    async with stocked(stock, limits={"streams_per_owner": 1}) as http:
        async with http.stream("POST", PATH, json=wanted) as answer:
            start = await anext(answer.aiter_lines())
            refused = await http.post(PATH, json=HELLO)
        conversation_id = read(f"{start}\n\n")[0][1]["conversation_id"]

        async def has_place() -> bool:
            return (await http.post(PATH, json=HELLO)).status_code == 200

        async def is_kept() -> bool:
            naming.set()
            held.release.set()
            listed = (await http.get("/v1/conversations")).json()["conversations"]
            topics = {each["conversation_id"]: each["topic_summary"] for each in listed}
            history = await http.get(f"/v1/conversations/{conversation_id}")
            return topics[conversation_id] == "Foxes" and "The fox" in history.text

        await until(has_place)
        await until(is_kept)
    assert refused.status_code == 429


async def test_a_stream_without_news_for_too_long_ends_and_its_turn_goes_on() -> None:
    held = Held()
    async with stocked(Stock(held.turn), limits={"stream_idle_seconds": 0.2}) as http:
        events = await events_of(http)
        assert not held.ended.is_set()
        held.release.set()
        await held.ended.wait()
    assert [name for name, _ in events] == ["token", "token", "error", "end"]
    assert events[2][1]["status_code"] == 503


async def test_a_message_to_a_turn_that_never_begins_is_not_waited_for_without_end() -> None:
    held = anyio.Event()
    async with stocked(Stock([held, *ANSWER]), limits={"stream_idle_seconds": 0.2}) as http:  # type: ignore[misc]
        answer = await http.post(PATH, json=HELLO)
        held.set()
    assert answer.status_code == 503
