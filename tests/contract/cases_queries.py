"""Questions, answered at once or as a stream, and the one of the command line assistant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.contract.case import Cases
from tests.contract.model import TOOL, WORDS
from tests.contract.requests import UNKNOWN, asking, conversation, detail_of
from tests.fakes.identities import user

if TYPE_CHECKING:
    import httpx

    from tests.contract.case import Server

QUERY, STREAM, INFER = "POST /v1/query", "POST /v1/streaming_query", "POST /v1/infer"
BOTH = (QUERY, STREAM)
ALL = (QUERY, STREAM, INFER)
TOO_LONG = {
    "response": "Prompt is too long",
    "cause": "The prompt exceeds the maximum allowed length.",
}
FAILED = {
    "response": "Error while processing query",
    "cause": "The model server failed (HTTP 500).",
}
BUSY = FAILED | {"cause": "The model server is busy or its quota is used up; try again later."}
PLAIN = {"no_tools": True, "generate_topic_summary": False}

cases = Cases()


def body_of(operation: str, text: str, **more: Any) -> dict[str, Any]:
    """Return a question for any of them."""
    return {"question": text} if operation == INFER else {"query": text} | PLAIN | more


def events_of(answer: httpx.Response) -> list[tuple[str, Any]]:
    """Return the names and data of a stream's events."""
    frames = answer.text.split("\n\n")
    assert frames.pop() == ""
    read = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    return [(each["event"], each["data"]) for each in read]


@cases.shows(QUERY, 200, on="model")
async def _an_answer_with_what_it_cost(server: Server) -> httpx.Response:
    answer = await asking(server, QUERY, body_of(QUERY, "hello"))
    told = answer.json()
    assert told["response"] == WORDS
    assert (told["input_tokens"], told["output_tokens"]) == (12, 7)
    assert (told["tool_calls"], told["available_quotas"], told["truncated"]) == ([], {}, False)
    return answer


@cases.shows(QUERY, 200, on="model")
async def _an_answer_that_took_a_tool(server: Server) -> httpx.Response:
    body = {"query": "please [tool]", "generate_topic_summary": False}
    answer = await asking(server, QUERY, body)
    told = answer.json()
    assert [each["type"] for each in told["tool_calls"]] == ["mcp_list_tools", "mcp_call"]
    assert told["tool_calls"][1]["name"] == TOOL
    assert told["tool_results"][1]["content"] == "fact about fox: foxes jump"
    return answer


@cases.shows(QUERY, 200)
async def _an_answer_from_the_documents(server: Server) -> httpx.Response:
    answer = await asking(server, QUERY, {"query": "What does the fox jump over?"})
    assert "lazy dog" in answer.json()["response"]
    assert answer.json()["referenced_documents"]
    return answer


@cases.shows(STREAM, 200, on="model")
async def _a_stream_of_events(server: Server) -> httpx.Response:
    answer = await asking(server, STREAM, body_of(STREAM, "hello"))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(answer)
    names = [name for name, _ in events]
    assert (names[0], names[-2:]) == ("start", ["turn_complete", "end"])
    assert set(names[1:-2]) == {"token"}
    assert "".join(data["token"] for name, data in events if name == "token") == WORDS
    return answer


@cases.shows(STREAM, 200, on="model")
async def _a_stream_of_text(server: Server) -> httpx.Response:
    body = body_of(STREAM, "hello", media_type="text/plain")
    answer = await asking(server, STREAM, body)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert WORDS in answer.text
    return answer


@cases.shows(INFER, 200, on="model")
async def _one_answer(server: Server) -> httpx.Response:
    answer = await asking(server, INFER)
    assert answer.json()["data"]["text"] == WORDS
    assert answer.json()["data"]["request_id"]
    return answer


def _too_long(operation: str) -> None:
    @cases.shows(operation, 413, on="model")
    async def _a_prompt_that_is_too_long(server: Server) -> httpx.Response:
        answer = await asking(server, operation, body_of(operation, "x [long]"))
        assert detail_of(answer) == TOO_LONG
        return answer


def _of_all(operation: str) -> None:
    @cases.shows(operation, 422)
    async def _nothing_is_asked(server: Server) -> httpx.Response:
        answer = await asking(server, operation, {})
        field = "question" if operation == INFER else "query"
        (said,) = answer.json()["detail"]
        assert (said["type"], said["loc"]) == ("missing", ["body", field])
        return answer

    @cases.shows(operation, 422)
    async def _only_spaces_are_asked(server: Server) -> httpx.Response:
        answer = await asking(server, operation, body_of(operation, "  "))
        assert "cannot be empty" in answer.json()["detail"][0]["msg"]
        return answer

    @cases.shows(operation, 422)
    async def _a_body_that_is_no_json(server: Server) -> httpx.Response:
        path = operation.partition(" ")[2]
        headers = {"content-type": "application/json"}
        answer = await server.http.post(path, content=b"{", headers=headers)
        assert answer.json()["detail"][0]["type"] == "json_invalid"
        return answer

    @cases.shows(operation, 429, on="no quota")
    async def _no_tokens_are_left(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer)["response"] == "The quota has been exceeded"
        assert detail_of(answer)["cause"].startswith("User ")
        return answer

    @cases.shows(operation, 500, on="faulty stack")
    async def _a_fault(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer)["response"]
        assert "canary" not in answer.text
        return answer

    @cases.shows(operation, 503, on="no stack")
    async def _the_stack_is_away(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer)["response"] == "Unable to connect to Llama Stack"
        assert int(answer.headers["retry-after"]) > 0
        return answer


def _of_both(operation: str) -> None:
    @cases.shows(operation, 403, on="queries only")
    async def _a_model_of_ones_own_choice(server: Server) -> httpx.Response:
        answer = await asking(server, operation, body_of(operation, "x", model="m", provider="p"))
        assert "model_override" in detail_of(answer)["cause"]
        return answer

    @cases.shows(operation, 404)
    async def _no_such_conversation(server: Server) -> httpx.Response:
        body = body_of(operation, "x", conversation_id=UNKNOWN)
        answer = await asking(server, operation, body)
        assert detail_of(answer) == {
            "response": "Conversation not found",
            "cause": f"Conversation with ID {UNKNOWN} does not exist",
        }
        return answer

    @cases.shows(operation, 404, on="users")
    async def _the_conversation_of_another(server: Server) -> httpx.Response:
        another = await conversation(server)
        body = body_of(operation, "x", conversation_id=another)
        answer = await asking(server, operation, body, headers=user("bob"))
        assert detail_of(answer) == {
            "response": "Conversation not found",
            "cause": f"Conversation with ID {another} does not exist",
        }
        return answer

    @cases.shows(operation, 404, on="model")
    async def _no_such_model(server: Server) -> httpx.Response:
        listed = (await asking(server, "GET /v1/models")).json()["models"]
        body = body_of(operation, "x", model="nope", provider=listed[0]["provider_id"])
        answer = await asking(server, operation, body)
        assert detail_of(answer) == {
            "response": "Model not found",
            "cause": "Model with ID nope does not exist",
        }
        return answer

    @cases.shows(operation, 404, on="model")
    async def _no_such_provider(server: Server) -> httpx.Response:
        answer = await asking(server, operation, body_of(operation, "x", model="m", provider="p"))
        assert detail_of(answer)["response"] == "Provider not found"
        return answer

    @cases.shows(operation, 503, on="draining")
    async def _the_server_is_stopping(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer)["response"] == "Service unavailable"
        assert int(answer.headers["retry-after"]) > 0
        return answer


def _wrong(operation: str) -> None:
    @cases.shows(operation, 422)
    async def _an_id_that_is_none(server: Server) -> httpx.Response:
        answer = await asking(server, operation, body_of(operation, "x", conversation_id="bad"))
        assert answer.json()["detail"][0]["loc"] == ["body", "conversation_id"]
        return answer

    @cases.shows(operation, 422)
    async def _no_shields_are_chosen(server: Server) -> httpx.Response:
        answer = await asking(server, operation, body_of(operation, "x", shield_ids=[]))
        assert "shield_ids" in detail_of(answer)["cause"]
        return answer


def _without_state(operation: str) -> None:
    @cases.shows(operation, 503, on="broken state")
    async def _the_database_is_broken(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer) == {
            "response": "Service unavailable",
            "cause": "The state database cannot be reached.",
        }
        assert int(answer.headers["retry-after"]) > 0
        return answer


for each in ALL:
    _of_all(each)
for each in (QUERY, INFER):
    _too_long(each)
for each in BOTH:
    _of_both(each)
    _wrong(each)
for each in (*BOTH, "POST /v1/feedback"):
    _without_state(each)


@cases.shows(QUERY, 500, on="model")
async def _the_model_server_fails(server: Server) -> httpx.Response:
    answer = await asking(server, QUERY, body_of(QUERY, "x [error]"))
    assert detail_of(answer) == FAILED
    return answer


@cases.shows(QUERY, 500, on="model")
async def _the_model_server_is_busy(server: Server) -> httpx.Response:
    answer = await asking(server, QUERY, body_of(QUERY, "x [429]"))
    assert detail_of(answer) == BUSY
    return answer


@cases.shows(STREAM, 200, on="model")
async def _the_model_server_fails_within_the_stream(server: Server) -> httpx.Response:
    """LCS says so in the stream, and then ends it."""
    answer = await asking(server, STREAM, body_of(STREAM, "x [error]"))
    events = events_of(answer)
    assert [name for name, _ in events] == ["start", "error", "end"]
    assert events[1][1] == {"status_code": 500} | FAILED
    return answer


@cases.shows(STREAM, 200, on="model")
async def _the_model_server_is_busy_within_the_stream(server: Server) -> httpx.Response:
    answer = await asking(server, STREAM, body_of(STREAM, "x [429]"))
    assert events_of(answer)[1] == ("error", {"status_code": 500} | BUSY)
    return answer


@cases.shows(STREAM, 200, on="model")
async def _a_prompt_that_is_too_long_is_told_in_the_stream(server: Server) -> httpx.Response:
    """It has begun by then."""
    answer = await asking(server, STREAM, body_of(STREAM, "x [long]"))
    events = events_of(answer)
    assert [name for name, _ in events] == ["start", "error", "end"]
    assert events[1][1] == {"status_code": 413} | TOO_LONG
    return answer
