"""Transcripts: every turn of every surface is a file in the end, and no turn waits for it."""

from __future__ import annotations

import base64
import json
import stat
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from msgspec.structs import replace

from a2a_state.histories import ConversationSearch
from agent.app import create_app
from agent.caller import Caller
from agent.errors import StackUnavailable, TurnFailed
from agent.model import Artifact, Message, Part, Role, Task, TaskState, TaskStatus
from agent.settings import Settings
from agent.stacks import (
    Citation,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    TurnStarted,
)
from agent.transcript import transcript
from agent.transcripts import Transcripts, make_transcripts
from tests.fakes.scripted_stack import ANSWER, DONE, STACK, Script, scripted
from tests.fakes.server import run_server
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

HEX = "0123456789abcdef" * 3
AT = "2026-01-31T12:00:00.000Z"


@asynccontextmanager
async def serving(
    script: Script, folder: Path, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve all there is, on a script; everything is written when the block is left."""
    with scripted(script) as name, anyio.fail_after(20):
        section = {"transcripts_enabled": True, "transcripts_storage": folder}
        given = {"name": name, "stack": STACK, "a2a_state": {"memory": True}}
        given |= {"user_data_collection": section} | settings
        app = create_app(Settings.model_validate(given))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            yield http


async def send(http: httpx.AsyncClient, text: str = "Hi", **more: Any) -> dict[str, Any]:
    """Send a message by A2A; returns the task."""
    headers = {"A2A-Version": "1.0"} | more.pop("headers", {})
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]} | more
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": said}}
    task: dict[str, Any] = (await http.post("/a2a", json=call, headers=headers)).json()["result"][
        "task"
    ]
    return task


def written(folder: Path) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Return all that is written, with the folders that it stands in."""
    found = [
        (file.relative_to(folder).parts[:-1], json.loads(file.read_text()))
        for file in folder.rglob("*.json")
    ]
    return sorted(found, key=lambda each: each[1]["metadata"]["timestamp"])


def modes(folder: Path) -> set[tuple[bool, int]]:
    """Return who may do what with everything that is in a folder."""
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")}


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return [path.name for path in folder.iterdir()]


def identity(user: str) -> dict[str, str]:
    """Return the header of an identity."""
    said = {"type": "User", "user": {"user_id": user, "username": user}}
    header = base64.b64encode(json.dumps({"identity": said}).encode()).decode()
    return {"x-rh-identity": header}


async def test_a_turn_is_a_file_below_its_user_and_conversation(tmp_path: Path) -> None:
    call = {"call_id": "c-1", "arguments": {"query": "fox"}, "type": "mcp_call"}
    turn = [
        TurnStarted("t-1", "openai/gpt"),
        StepStarted("inference"),
        StepStarted("tool_execution", "lookup", call),
        StepEnded("tool_execution", "lookup", {"call_id": "c-1", "result": "found"}),
        Citation("Foxes", "https://fox.test/", "Foxes jump.", "doc-1", 0.5),
        TextDelta("They "),
        TextDelta("jump."),
        DONE,
    ]
    async with serving(
        Script(turn), tmp_path / "t", authentication={"module": "rh-identity"}
    ) as http:
        task = await send(http, "What do foxes do?", headers=identity("ann"))

    ((where, told),) = written(tmp_path / "t")
    assert where == ("ann", task["contextId"])
    assert modes(tmp_path / "t") == {(True, 0o700), (False, 0o600)}
    assert told == {
        "metadata": {
            "provider": "openai",
            "model": "gpt",
            "query_provider": None,
            "query_model": None,
            "user_id": "ann",
            "conversation_id": task["contextId"],
            "timestamp": task["status"]["timestamp"],
        },
        "redacted_query": "What do foxes do?",
        "query_is_valid": True,
        "llm_response": "They jump.",
        "rag_chunks": [
            {
                "content": "Foxes jump.",
                "source": None,
                "score": 0.5,
                "attributes": {
                    "title": "Foxes",
                    "url": "https://fox.test/",
                    "document_id": "doc-1",
                },
            }
        ],
        "truncated": False,
        "attachments": [],
        "tool_calls": [
            {"id": "c-1", "name": "lookup", "args": {"query": "fox"}, "type": "mcp_call"}
        ],
        "tool_results": [
            {"id": "c-1", "status": "success", "content": "found", "type": "mcp_call", "round": 1}
        ],
    }


async def test_a_query_of_rest_is_a_file_with_what_was_attached_and_asked_for(
    tmp_path: Path,
) -> None:
    body = {
        "query": "What is wrong?",
        "attachments": [{"attachment_type": "log", "content_type": "text/plain", "content": "ü"}],
    }
    async with serving(Script(ANSWER), tmp_path) as http:
        answer = await http.post("/v1/query", json=body)
        assert answer.status_code == 200

    ((where, told),) = written(tmp_path)
    assert where[1] == answer.json()["conversation_id"]
    assert told["redacted_query"] == "What is wrong?"
    assert told["llm_response"] == "yes"
    assert told["attachments"] == body["attachments"]


async def test_each_turn_of_a_task_tells_what_it_made_and_no_more(tmp_path: Path) -> None:
    script = Script([TextDelta("First."), InputRequired("Which?")], [TextDelta("Second."), DONE])
    async with serving(script, tmp_path) as http:
        task = await send(http, "one")
        await send(http, "two", taskId=task["id"])

    first, second = (told for _, told in written(tmp_path))
    assert (first["redacted_query"], first["llm_response"]) == ("one", "First.")
    assert (second["redacted_query"], second["llm_response"]) == ("two", "Second.")


@pytest.mark.parametrize(
    ("turn", "response", "is_valid"),
    [
        ([InputRequired("Which?")], "Which?", True),
        ([Rejected("Not that.")], "Not that.", False),
        ([TextDelta("So f"), TurnCompleted("out_of_tokens")], "So f", True),
    ],
    ids=["asks", "refuses", "is cut off"],
)
async def test_however_a_turn_is_answered_it_is_written(
    turn: Any, response: str, is_valid: bool, tmp_path: Path
) -> None:
    async with serving(Script(turn), tmp_path) as http:
        await send(http)

    ((_, told),) = written(tmp_path)
    assert (told["llm_response"], told["query_is_valid"]) == (response, is_valid)


@pytest.mark.parametrize(
    "turn",
    [[TextDelta("So f"), TurnFailed("canary")], [StackUnavailable()]],
    ids=["breaks off", "fails"],
)
async def test_what_is_not_answered_is_not_written(turn: Any, tmp_path: Path) -> None:
    async with serving(Script(turn, ANSWER), tmp_path) as http:
        await send(http)
        await send(http)

    ((_, told),) = written(tmp_path)
    assert told["llm_response"] == "yes"


HOSTILE = ["..", "a b", "../../etc", "/etc/passwd", ".hidden", "a/b", "x" * 255, "ü", "a\\b"]


async def test_nobody_writes_elsewhere_whatever_they_are_called(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    rh_identity = {"authentication": {"module": "rh-identity"}}
    async with serving(Script(ANSWER), folder, **rh_identity) as http:
        for user in HOSTILE:
            task = await send(http, contextId=user, headers=identity(user))
            assert task["contextId"] == user

    told = written(folder)
    assert {each["metadata"]["user_id"] for _, each in told} == set(HOSTILE)
    for where, each in told:
        known = each["metadata"]
        hashed = "sha256-" + sha256(known["user_id"].encode()).hexdigest()
        assert where == (hashed, known["conversation_id"])
        # Those that REST takes for no conversation have another id there.
        assert len(known["conversation_id"]) == 48
    assert names(tmp_path) == ["deep"]


def settled(**more: Any) -> Task:
    """Return a task that has been completed."""
    asked = Message("m", Role.USER, [Part(text="Hi")])
    status = TaskStatus(TaskState.COMPLETED, timestamp=AT)
    return replace(Task("task", HEX, status, history=[asked]), **more)


@asynccontextmanager
async def writing(folder: Path) -> AsyncIterator[Transcripts]:
    """Run what writes transcripts."""
    async with open_database("sqlite://") as database:
        transcripts = Transcripts(folder, ConversationSearch(database))
        await transcripts.open()
        try:
            yield transcripts
        finally:
            await transcripts.close()


async def test_nobody_takes_the_folder_of_another(tmp_path: Path) -> None:
    name = "sha256-" + sha256(b"..").hexdigest()
    async with writing(tmp_path) as transcripts:
        for user in ("..", name):
            transcripts.turn_ended(Caller(user), settled())

    assert len({where[0] for where, _ in written(tmp_path)}) == 2


async def test_a_context_that_is_gone_is_written_all_the_same(tmp_path: Path) -> None:
    async with writing(tmp_path) as transcripts:
        transcripts.turn_ended(Caller("ann"), settled(context_id="my context"))

    ((where, told),) = written(tmp_path)
    assert told["metadata"]["conversation_id"] == "my context"
    assert where == ("ann", "sha256-" + sha256(b"my context").hexdigest())


async def test_a_disk_that_fails_harms_no_turn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (blocked := tmp_path / "file").write_text("")
    async with serving(Script(ANSWER), blocked) as http:
        assert (await send(http))["status"]["state"] == "TASK_STATE_COMPLETED"

    assert "Lost transcripts: 1" in caplog.text


@pytest.mark.parametrize("section", [{}, {"transcripts_storage": "somewhere"}])
def test_nothing_is_written_unless_it_is_asked_for(section: Any) -> None:
    settings = Settings.model_validate({"user_data_collection": section})
    assert make_transcripts(settings, None) is None  # type: ignore[arg-type]


# What a task tells.


def made(*artifacts: Artifact, **more: Any) -> dict[str, Any]:
    """Return the transcript of a task with these artifacts."""
    return transcript(settled(artifacts=list(artifacts), **more), (), "ann", HEX)


def test_an_answer_as_data_is_told_as_text() -> None:
    words = Artifact("answer", [Part(data={"text": "yes"})])
    form = Artifact("answer", [Part(data={"size": 1})])
    assert made(words)["llm_response"] == "yes"
    assert made(form)["llm_response"] == '{"size": 1}'


def test_files_and_data_are_attachments() -> None:
    parts = [
        Part(text="one"),
        Part(raw=base64.b64encode(b"\xff\0").decode(), filename="a.bin", media_type="image/png"),
        Part(raw=base64.b64encode(b"text").decode()),
        Part(url="https://files.test/a", media_type="text/plain"),
        Part(data={"a": 1}),
        Part(text="two"),
    ]
    told = made(history=[Message("m", Role.USER, parts, metadata={"model": "openai/gpt/4"})])

    assert told["redacted_query"] == "one\ntwo"
    assert [tuple(each.values()) for each in told["attachments"]] == [
        ("a.bin", "image/png", "/wA="),
        ("file", "application/octet-stream", "text"),
        ("file", "text/plain", "https://files.test/a"),
        ("file", "application/json", '{"a": 1}'),
    ]
    metadata = told["metadata"]
    assert (metadata["query_provider"], metadata["query_model"]) == ("openai", "gpt/4")


def test_a_tool_that_says_something_odd_is_told_as_it_is() -> None:
    tools: list[Any] = [
        {"tool_name": "a", "arguments": '{"b": 1}', "result": {"call_id": "1", "failed": True}},
        {"tool_name": "b", "arguments": "{", "result": ["c"], "round": 2},
        "nothing",
    ]
    told = made(Artifact("tool_results-2", [Part(data={"tool_results": tools})]))

    assert [(each["name"], each["args"]) for each in told["tool_calls"]] == [
        ("a", {"b": 1}),
        ("b", {"args": "{"}),
    ]
    assert [tuple(each.values()) for each in told["tool_results"]] == [
        ("1", "failure", "", "tool_result", 1),
        ("", "success", '["c"]', "tool_result", 2),
    ]


def test_artifacts_that_are_called_alike_are_no_answer() -> None:
    told = made(
        Artifact("answer-sheet", [Part(text="no")]), Artifact("answer-3", [Part(text="yes")])
    )
    assert told["llm_response"] == "yes"


def test_a_task_without_a_question_tells_none() -> None:
    told = made(history=[], metadata={"model": "gpt"})
    assert (told["redacted_query"], told["attachments"]) == ("", [])
    assert (told["metadata"]["provider"], told["metadata"]["model"]) == (None, "gpt")
