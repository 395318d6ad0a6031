"""What other servers of this API were seen to do wrong, and this one does not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.contract.cases_queries import events_of
from tests.contract.servers import serving, settings_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from tests.contract.case import Server

pytestmark = pytest.mark.anyio

AT_ONCE = 16
QUESTION = {"query": "What does the fox jump over?", "generate_topic_summary": False}
TOKENS = 100_000


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    limiter = {"type": "user_limiter", "name": "daily", "period": "1 day"}
    limits = limiter | {"initial_quota": TOKENS, "quota_increase": 0}
    with anyio.fail_after(60):
        settings = settings_in(tmp_path, quota_handlers={"limiters": [limits]})
        async with serving(settings, tmp_path) as running:
            yield running


async def asked(server: Server, path: str = "/v1/query", **more: Any) -> httpx.Response:
    """Ask the question."""
    return await server.http.post(path, json=QUESTION | more)


async def test_many_streams_at_once_on_sqlite_are_all_told_to_their_end(server: Server) -> None:
    """Peers answered "database is locked", and cut streams off with status 200."""
    answers = await asyncio.gather(*(asked(server, "/v1/streaming_query") for _ in range(AT_ONCE)))
    for answer in answers:
        assert answer.status_code == 200
        names = [name for name, _ in events_of(answer)]
        assert (names[0], names[-2:]) == ("start", ["turn_complete", "end"])
    listed = (await server.http.get("/v1/conversations")).json()["conversations"]
    assert len(listed) == AT_ONCE


async def test_questions_at_once_in_one_conversation_are_turns_of_that_one(server: Server) -> None:
    """In peers one context became several conversations."""
    known = (await asked(server)).json()["conversation_id"]
    answers = await asyncio.gather(*(asked(server, conversation_id=known) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.json()["conversation_id"] for answer in answers} == {known}
    listed = (await server.http.get("/v1/conversations")).json()["conversations"]
    assert [each["conversation_id"] for each in listed] == [known]
    history = (await server.http.get(f"/v1/conversations/{known}")).json()["chat_history"]
    # Each question is there once, with its answer.
    kinds = [[message["type"] for message in turn["messages"]] for turn in history]
    assert kinds == [["user", "assistant"]] * 5


async def test_turns_of_a2a_are_listed_counted_and_paid_for(server: Server) -> None:
    """In peers they were none of these."""
    before = (await asked(server)).json()["available_quotas"]["daily"]
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": QUESTION["query"]}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    task = (await server.http.post("/a2a", json=call)).json()["result"]["task"]
    spent = sum(task["metadata"]["usage"].values())

    listed = (await server.http.get("/v1/conversations")).json()["conversations"]
    assert task["contextId"] in {each["conversation_id"] for each in listed}
    metrics = (await server.http.get("/metrics")).text
    (calls,) = [line for line in metrics.splitlines() if line.startswith("ls_llm_calls_total{")]
    assert float(calls.rpartition(" ")[2]) == 2
    asked_again = (await asked(server)).json()
    last = asked_again["input_tokens"] + asked_again["output_tokens"]
    assert spent > 0
    assert asked_again["available_quotas"]["daily"] == before - spent - last


async def test_what_is_wrong_with_a_question_is_no_stream(server: Server) -> None:
    """Peers answer with status 200, the type of a stream, and JSON that is no event."""
    answer = await server.http.post("/v1/streaming_query", json={"query": 1})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert json.loads(answer.text)["detail"][0]["loc"] == ["body", "query"]
