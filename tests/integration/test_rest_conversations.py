"""``/v1/conversations`` and ``/v2/conversations``: what they take, and what they show."""

from __future__ import annotations

import base64
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.stacks import (
    AuthRequired,
    Failed,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    TurnStarted,
)
from tests.fakes.lightspeed_document import check, published, schema_of
from tests.fakes.scripted_stack import ANSWER, DONE, Script, scripted
from tests.fakes.talk import Talk, database_section, served, talking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.scripted_stack import Turn

pytestmark = pytest.mark.anyio

VERSIONS = ("v1", "v2")
NOWHERE = "123e4567-e89b-12d3-a456-426614174000"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TOPIC = {"topic_summary": "Clusters"}
CACHELESS = {
    "detail": {
        "response": "Conversation cache not configured",
        "cause": "Conversation cache is not configured or unavailable.",
    }
}
OTHERS = ("read_other_conversations", "list_other_conversations", "delete_other_conversations")
OWN = (
    "a2a_jsonrpc",
    "list_conversations",
    "get_conversation",
    "update_conversation",
    "delete_conversation",
)


@pytest.fixture(scope="module")
async def empty() -> AsyncIterator[Talk]:
    """Return a server to which nobody has said anything."""
    script = Script(ANSWER)
    with scripted(script) as name:
        async with served(script, name) as talk:
            yield talk


def allowing(*actions: str) -> dict[str, Any]:
    """Return the settings that allow everybody these actions."""
    return {"authorization": {"access_rules": [{"role": "*", "actions": actions}]}}


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_has_said_nothing_has_no_conversations(empty: Talk, version: str) -> None:
    answer = await empty.rest("GET", f"/{version}/conversations")
    assert answer.json() == {"conversations": []}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "bad",
    [
        "bad",
        "conv_bad",
        "0" * 47,
        "0" * 49,
        "g" * 48,
        "conv_conv_" + "0" * 48,
        NOWHERE.replace("-", ""),
        NOWHERE + "%0A",
        "%00",
        "%F0%9F%9A%80",
    ],
)
async def test_what_is_no_id_is_refused_by_name(
    empty: Talk, version: str, method: str, bad: str
) -> None:
    path = f"/{version}/conversations/{bad}"
    body = {"json": TOPIC} if method == "PUT" else {}
    answer = await empty.rest(method, path, **body)
    assert answer.status_code == 400
    detail = answer.json()["detail"]
    assert detail["response"] == "Invalid conversation ID format"
    assert detail["cause"].startswith("The conversation ID ")
    assert detail["cause"].endswith(" has invalid format.")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("unknown", [NOWHERE, NOWHERE.upper(), "0a" * 24, "conv_" + "0a" * 24])
async def test_what_is_not_there_is_not_found(empty: Talk, version: str, unknown: str) -> None:
    path = f"/{version}/conversations/{unknown}"
    bare = unknown.removeprefix("conv_")
    missing = {
        "detail": {
            "response": "Conversation not found",
            "cause": f"Conversation with ID {bare} does not exist",
        }
    }
    for answer in (await empty.rest("GET", path), await empty.rest("PUT", path, json=TOPIC)):
        assert (answer.status_code, answer.json()) == (404, missing)
    answer = await empty.rest("DELETE", path)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "conversation_id": bare,
            "success": True,
            "response": "Conversation cannot be deleted",
        },
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"topic_summary": ""},
        {"topic_summary": "x" * 1001},
        {"topic_summary": None},
        {"topic_summary": 1},
        {**TOPIC, "more": 1},
        [],
    ],
    ids=str,
)
async def test_a_topic_has_a_thousand_characters_at_most(
    empty: Talk, version: str, body: Any
) -> None:
    answer = await empty.rest("PUT", f"/{version}/conversations/{NOWHERE}", json=body)
    assert answer.status_code == 422
    assert {"loc", "msg", "type"} == answer.json()["detail"][0].keys()


@pytest.mark.parametrize("conversation_cache", [{}, {"type": "noop"}], ids=["none", "noop"])
async def test_without_a_cache_the_second_version_says_so(
    conversation_cache: dict[str, str],
) -> None:
    async with talking(ANSWER, conversation_cache=conversation_cache) as talk:
        context_id = (await talk.say("hi"))["contextId"]
        path = f"/v2/conversations/{context_id}"
        for answer in (
            await talk.rest("GET", "/v2/conversations"),
            await talk.rest("GET", path),
            await talk.rest("PUT", path, json=TOPIC),
            await talk.rest("DELETE", path),
        ):
            assert (answer.status_code, answer.json()) == (500, CACHELESS)
        assert (await talk.rest("GET", "/v2/conversations/bad")).status_code == 400
        assert len(await talk.conversations("v1")) == 1


async def test_a_database_that_is_away_is_said_as_lcs_says_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with talking(ANSWER, a2a_state={"sqlite": {"db_path": str(path)}}) as talk:
        with sqlite3.connect(path) as database:
            database.execute("ALTER TABLE contexts RENAME TO gone")
        one = f"/v1/conversations/{NOWHERE}"
        for answer in (
            await talk.rest("GET", "/v1/conversations"),
            await talk.rest("GET", one),
            await talk.rest("PUT", one, json=TOPIC),
            await talk.rest("DELETE", one),
        ):
            assert answer.status_code == 500
            assert answer.json() == {
                "detail": {
                    "response": "Database query failed",
                    "cause": "Failed to query the database",
                }
            }
        answer = await talk.rest("GET", "/v2/conversations")
        assert (answer.status_code, answer.json()) == (500, CACHELESS)


async def test_lists_tell_how_much_was_said_when_and_by_which_model(database_url: str) -> None:
    first: Turn = [
        TurnStarted("t", "openai/gpt-4o-mini"),
        TextDelta("one"),
        InputRequired("Which?"),
    ]
    second: Turn = [TurnStarted("t", "meta/llama/3"), TextDelta("two"), DONE]
    nameless: Turn = [TextDelta("three"), DONE]
    state = database_section(database_url)
    async with talking(first, second, second, nameless, a2a_state=state) as talk:
        task = await talk.say("a")
        older = task["contextId"]
        newer = (await talk.say("b"))["contextId"]
        await talk.say("c", contextId=older, taskId=task["id"])
        await talk.say("d", contextId=older)

        details = await talk.conversations("v1")
        assert [one["conversation_id"] for one in details] == [older, newer]
        assert all(MOMENT.fullmatch(one["created_at"]) for one in details)
        assert all(one["created_at"] <= one["last_message_at"] for one in details)
        shown = ("message_count", "last_used_provider", "last_used_model", "topic_summary")
        assert [[one[name] for name in shown] for one in details] == [
            [3, "meta", "llama/3", ""],
            [1, "meta", "llama/3", ""],
        ]
        data = await talk.conversations("v2")
        assert [one["conversation_id"] for one in data] == [older, newer]
        assert [one["topic_summary"] for one in data] == [None, None]
        assert data[0]["last_message_timestamp"] > data[1]["last_message_timestamp"] > 1.7e9


async def test_the_model_of_the_latest_task_is_the_last_used(database_url: str) -> None:
    turns: list[Turn] = [
        [TurnStarted("t", model), DONE] for model in ("z/last in the alphabet", "a/first")
    ]
    async with talking(*turns, a2a_state=database_section(database_url)) as talk:
        context_id = (await talk.say("a"))["contextId"]
        await talk.say("b", contextId=context_id)
        (shown,) = await talk.conversations()
        assert (shown["last_used_provider"], shown["last_used_model"]) == ("a", "first")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_topic_is_shown_by_both_versions(version: str) -> None:
    async with talking(ANSWER) as talk:
        context_id = (await talk.say("hi"))["contextId"]
        path = f"/{version}/conversations/{context_id}"
        for text in ("Clusters", "東京 🚀"):
            answer = await talk.rest("PUT", path, json={"topic_summary": text})
            assert answer.json() == {
                "conversation_id": context_id,
                "success": True,
                "message": "Topic summary updated successfully",
            }
            for read in VERSIONS:
                (shown,) = await talk.conversations(read)
                assert shown["topic_summary"] == text


async def test_a_turn_tells_all_that_was_recorded_of_one() -> None:
    """The members, in the form that a real LCS gives them."""
    async with talking([TurnStarted("t", "openai/mock-model"), TextDelta("Hi!"), DONE]) as talk:
        context_id = (await talk.say("Hello"))["contextId"]
        for version in VERSIONS:
            (turn,) = await talk.turns(context_id, version)
            times = [turn.pop("started_at"), turn.pop("completed_at")]
            assert turn == {
                "messages": [
                    {"content": "Hello", "type": "user"},
                    {"content": "Hi!", "type": "assistant"},
                ],
                "tool_calls": [],
                "tool_results": [],
                "provider": "openai",
                "model": "mock-model",
            }
            assert all(MOMENT.fullmatch(time) for time in times)
            assert times == sorted(times)


async def test_a_turn_tells_what_tools_were_asked_and_said() -> None:
    steps: Turn = [
        StepStarted("inference"),
        StepStarted(
            "tool_execution", "find", {"call_id": "1", "arguments": {"q": "x"}, "type": "mcp_call"}
        ),
        StepEnded("tool_execution", "find", {"call_id": "1", "result": "found"}),
        StepStarted("inference"),
        StepStarted("tool_execution", "count", {"call_id": "2", "arguments": '{"n": 1}'}),
        StepEnded("tool_execution", "count", {"call_id": "2", "result": {"n": 2}, "failed": True}),
        TextDelta("done"),
        DONE,
    ]
    async with talking(steps) as talk:
        context_id = (await talk.say("hi"))["contextId"]
        (turn,) = await talk.turns(context_id)
        assert turn["tool_calls"] == [
            {"id": "1", "name": "find", "args": {"q": "x"}, "type": "mcp_call"},
            {"id": "2", "name": "count", "args": {"n": 1}, "type": "tool_call"},
        ]
        assert turn["tool_results"] == [
            {"id": "1", "status": "success", "content": "found", "type": "mcp_call", "round": 1},
            {
                "id": "2",
                "status": "failure",
                "content": '{"n": 2}',
                "type": "tool_call",
                "round": 2,
            },
        ]


@pytest.mark.parametrize(
    ("turn", "answer"),
    [
        ([TextDelta("a "), TextDelta("b"), DONE], ["a b"]),
        ([TextDelta("so"), TurnCompleted("end_of_turn", "corrected")], ["corrected"]),
        ([Rejected("I must not.")], ["I must not."]),
        ([TextDelta("Well"), Failed("It broke.")], ["Well\n\nIt broke."]),
        ([TextDelta("Hm."), InputRequired("Which?")], ["Hm.\n\nWhich?"]),
        ([AuthRequired("Log in first.")], ["Log in first."]),
        ([DONE], []),
    ],
    ids=["answered", "corrected", "refused", "failed", "asking", "waiting", "silent"],
)
async def test_what_the_user_saw_is_what_the_assistant_said(turn: Turn, answer: list[str]) -> None:
    async with talking(turn) as talk:
        context_id = (await talk.say("hi"))["contextId"]
        assert await talk.said(context_id) == [["hi", *answer]]


async def test_each_message_to_a_task_is_a_turn_of_its_own(database_url: str) -> None:
    turns: list[Turn] = [
        [TextDelta("First."), InputRequired("And?")],
        [InputRequired("Really?")],
        [TextDelta("Last."), DONE],
    ]
    async with talking(*turns, a2a_state=database_section(database_url)) as talk:
        task = await talk.say("a")
        await talk.say("b", taskId=task["id"])
        assert await talk.said(task["contextId"]) == [["a", "First.\n\nAnd?"], ["b", "Really?"]]
        await talk.say("c", taskId=task["id"])
        said = [["a", "First.\n\nAnd?"], ["b", "Really?"], ["c", "Last."]]
        assert await talk.said(task["contextId"], "v1") == said
        assert await talk.said(task["contextId"], "v2") == said


async def test_a_turn_that_waits_and_is_canceled_is_told_once() -> None:
    async with talking([TextDelta("Hm."), InputRequired("Which?")]) as talk:
        alone = await talk.say("a")
        await talk.call("CancelTask", id=alone["id"])
        assert await talk.said(alone["contextId"]) == [["a", "Hm.\n\nWhich?"]]

        several = await talk.say("b")
        await talk.say("c", taskId=several["id"])
        await talk.call("CancelTask", id=several["id"])
        said = await talk.said(several["contextId"])
        assert said == [["b", "Hm.\n\nWhich?"], ["c", "Hm.\n\nWhich?"]]


async def test_a_turn_that_runs_is_not_part_of_the_history_yet() -> None:
    gate = anyio.Event()
    async with talking(ANSWER, [TextDelta("a"), gate, DONE]) as talk:
        context_id = (await talk.say("first"))["contextId"]
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "second"}]}
        sent = await talk.call(
            "SendMessage",
            message={**message, "contextId": context_id},
            configuration={"returnImmediately": True},
        )
        assert await talk.said(context_id) == [["first", "yes"]]
        (shown,) = await talk.conversations()
        assert shown["message_count"] == 2

        canceled = await talk.call("CancelTask", id=sent["task"]["id"])

        assert canceled["status"]["state"] == "TASK_STATE_CANCELED"
        assert await talk.said(context_id) == [["first", "yes"], ["second", "a"]]


async def test_what_was_sent_along_is_shown_with_the_question() -> None:
    async with talking(ANSWER) as talk:
        attached = [{"attachment_type": "log", "content_type": "text/plain", "content": "it broke"}]
        asked = await talk.ask("Why?", attachments=attached)
        (said,) = await talk.said(asked["conversation_id"])
        assert said[0] == "Why?\n\n[Attachment: log]\nit broke"

        raw = base64.b64encode(b"\x89PNG\0").decode()
        parts = [
            {"text": "Look:"},
            {"raw": raw, "filename": "a.png", "mediaType": "text/plain"},
            {"url": "https://example.org/b.txt", "mediaType": "text/plain"},
            {"data": {"n": 1}},
        ]
        task = await talk.say(parts)
        (said,) = await talk.said(task["contextId"])
        assert said[0] == (
            "Look:\n\n[Attachment: a.png]\n\n"
            '[Attachment: text/plain]\nhttps://example.org/b.txt\n\n{"n":1}'
        )


async def test_a_long_history_ends_with_what_was_said_last() -> None:
    async with talking(ANSWER, limits={"answer_bytes": 3000}) as talk:
        task = await talk.say("0" * 500)
        context_id = task["contextId"]
        for number in range(1, 8):
            await talk.say(str(number) * 500, contextId=context_id)
        said = await talk.said(context_id)
        assert 1 < len(said) < 8
        assert [turn[0][0] for turn in said] == [str(n) for n in range(8 - len(said), 8)]
        assert await talk.said(context_id, "v2") == said


async def test_conversations_outlive_their_tasks_in_lists() -> None:
    async with talking(ANSWER) as talk:
        task = await talk.say("hi")
        await talk.rest("DELETE", f"/tasks/{task['id']}")
        (shown,) = await talk.conversations()
        assert (shown["conversation_id"], shown["message_count"]) == (task["contextId"], 0)
        assert shown["last_used_model"] is None
        assert await talk.turns(task["contextId"]) == []


@pytest.mark.parametrize("prefix", ["", "conv_"])
async def test_the_prefix_of_llama_stack_may_be_there_and_is_left_out(prefix: str) -> None:
    async with talking(ANSWER) as talk:
        context_id = (await talk.say("hi"))["contextId"]
        answer = await talk.rest("GET", f"/v1/conversations/{prefix}{context_id}")
        assert answer.json()["conversation_id"] == context_id


@pytest.mark.parametrize("context_id", [NOWHERE, NOWHERE.upper(), "AB" * 24])
async def test_a_context_with_an_id_of_the_right_form_is_called_by_it(context_id: str) -> None:
    async with talking(ANSWER) as talk:
        await talk.say("hi", contextId=context_id)
        (shown,) = await talk.conversations()
        assert shown["conversation_id"] == context_id
        assert await talk.said(context_id) == [["hi", "yes"]]


async def test_without_the_actions_the_conversations_of_others_are_not_there() -> None:
    async with talking(ANSWER, **allowing(*OWN)) as talk:
        context_id = (await talk.by("ann").say("hi"))["contextId"]
        bob = talk.by("bob")
        for version in VERSIONS:
            assert await bob.conversations(version) == []
            path = f"/{version}/conversations/{context_id}"
            assert (await bob.rest("GET", path)).status_code == 404
        assert len(await talk.by("ann").conversations()) == 1


async def test_who_may_reads_lists_and_deletes_the_conversations_of_others() -> None:
    async with talking(ANSWER, **allowing(*OWN, *OTHERS)) as talk:
        context_id = (await talk.by("ann").say("hi", contextId="a foreign id"))["contextId"]
        eve = talk.by("eve")

        (shown,) = await eve.conversations("v1")
        conversation_id = shown["conversation_id"]
        assert (await talk.by("ann").conversations("v1")) == [shown]
        assert await eve.said(conversation_id) == [["hi", "yes"]]
        path = f"/v1/conversations/{conversation_id}"
        assert (await eve.rest("PUT", path, json=TOPIC)).status_code == 404
        # What a cache has is by user.
        assert await eve.conversations("v2") == []
        assert (await eve.rest("GET", f"/v2/conversations/{conversation_id}")).status_code == 404

        answer = await eve.rest("DELETE", path)

        assert answer.json()["response"] == "Conversation deleted successfully"
        assert await talk.by("ann").tasks(context_id) == []


async def test_ones_own_conversation_comes_before_anothers_of_the_same_name() -> None:
    async with talking(ANSWER, **allowing(*OWN, *OTHERS)) as talk:
        await talk.by("ann").say("hers", contextId=NOWHERE)
        await talk.by("bob").say("his", contextId=NOWHERE)
        assert await talk.by("bob").said(NOWHERE) == [["his", "yes"]]
        # Who was there first is meant, for somebody who has none.
        assert await talk.by("eve").said(NOWHERE) == [["hers", "yes"]]


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        (method, f"/{version}/conversations{one}", action)
        for version in VERSIONS
        for method, one, action in (
            ("GET", "", "list_conversations"),
            ("GET", f"/{NOWHERE}", "get_conversation"),
            ("DELETE", f"/{NOWHERE}", "delete_conversation"),
            ("PUT", f"/{NOWHERE}", "update_conversation"),
        )
    ],
)
async def test_a_route_needs_its_action(method: str, path: str, action: str) -> None:
    others = {"info", *OWN} - {action}
    body = {"json": TOPIC} if method == "PUT" else {}
    async with talking(ANSWER, **allowing(*others)) as talk:
        assert (await talk.rest(method, path, **body)).status_code == 403
    async with talking(ANSWER, **allowing(action)) as talk:
        assert (await talk.rest(method, path, **body)).status_code in {200, 404}


async def test_answers_are_what_the_published_document_says() -> None:
    document = published()
    async with talking([TurnStarted("t", "a/b"), TextDelta("one"), DONE]) as talk:
        context_id = (await talk.say("hi"))["contextId"]
        for version in VERSIONS:
            whole, one = f"/{version}/conversations", f"/{version}/conversations/{context_id}"
            of_one = f"/{version}/conversations/{{conversation_id}}"
            operations: list[tuple[str, str, str, dict[str, Any]]] = [
                ("GET", whole, whole, {}),
                ("GET", one, of_one, {}),
                ("PUT", one, of_one, {"json": TOPIC}),
                ("GET", f"{whole}/bad", of_one, {}),
                ("GET", f"{whole}/{NOWHERE}", of_one, {}),
                ("PUT", one, of_one, {"json": {}}),
                ("DELETE", one, of_one, {}),
            ]
            for method, path, documented, body in operations:
                answer = await talk.rest(method, path, **body)
                operation = document["paths"][documented][method.lower()]
                check(answer.json(), schema_of(operation, answer.status_code), document)
            await talk.say("again", contextId=context_id)
