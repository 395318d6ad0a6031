"""The embedded stack on real databases, with a real model server and a real MCP server beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, override

import anyio
import pytest
from sqlalchemy import func, make_url, select
from starlette.responses import JSONResponse

from a2a_state.database import connect
from a2a_state.passages import documents, passages
from a2a_state.sessions import Sessions, turns
from agent.errors import (
    ContentTypeNotSupported,
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    PromptTooLong,
    SettingsError,
    StackError,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
    UnsupportedOperation,
)
from agent.settings import Settings
from agent.stacks import (
    Answer,
    AuthRequired,
    Citation,
    ClientTool,
    Failed,
    FilePart,
    Health,
    InputRequired,
    Model,
    Rejected,
    Resume,
    StepEnded,
    StepRecorded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from agent.stacks.embedded import EmbeddedStack
from tests.fakes.embedded import (
    FOLDER,
    plain,
    request,
    results_of,
    run,
    stack_on,
    stack_with,
    steps_of,
    text_of,
)
from tests.fakes.mcp_server import McpServer
from tests.fakes.openai_server import OpenAIServer, Reply, calls, fails, says
from tests.fakes.server import run_server
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

WEATHER = ClientTool("get_weather", "The weather.", {"type": "object"})
ASK_WEATHER = TextPart('use get_weather {"city": "Oslo"}')


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with its tables, of each kind."""
    async with open_database(database_url) as database:
        yield database


@pytest.fixture
async def memory() -> AsyncIterator[Database]:
    """Return a database in memory, for what does not depend on its kind."""
    async with open_database("sqlite://") as database:
        yield database


class Flaky:
    """A database that counts its writes, and fails them while it is ``away``."""

    def __init__(self, database: Database, *, away: bool = False) -> None:
        self._database = database
        self.away = away
        self.failed = anyio.Event()
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, work: Any) -> Any:
        """Write, or do not."""
        self.writes += 1
        if self.away:
            self.failed.set()
            raise StackUnavailable
        return await self._database.write(work)


def pending(events: list[Any]) -> str:
    """Return the id of the one tool call that is waited for."""
    assert isinstance(events[-1], InputRequired)
    (call,) = events[-1].data["tool_calls"]
    call_id: str = call["call_id"]
    return call_id


# --- the extractive model, on every database


async def test_a_turn_answers_from_the_documents(database: Database) -> None:
    """Turn id, inference, citation, words, usage, end: in this order, with the same text twice."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, "Does it support MySQL?")
        kinds = [TurnStarted, StepStarted, Citation, *[TextDelta] * 4]
        kinds += [Usage, StepEnded, StepRecorded, TurnCompleted]
        assert [type(event) for event in events] == kinds
        assert text_of(events) == events[-1].text == "MySQL is not supported."
        assert await stack.outcome(conversation_id, events[0].turn_id) == events[-1]


@pytest.mark.parametrize(
    ("question", "uri"),
    [
        ("How do I stream an answer?", "streaming.md#stream-an-answer"),
        ("Which databases are supported?", "storage.rst#databases"),
        ("How do I set the port?", "configuration.md#host-and-port"),
        ("Can I use postgres?", "storage.rst#databases"),
        ("What is the capital of France?", None),
        ("'\" OR * NEAR(a b) {x}: -^ & | ! <-> 😀", None),
    ],
)
async def test_every_database_finds_the_same(
    database: Database, question: str, uri: str | None
) -> None:
    """FTS5 and tsvector lead to the same passage, and nothing is query syntax."""
    async with stack_on(database) as stack:
        events = await run(stack, await stack.start_conversation("me"), question)
        assert [e.uri for e in events if isinstance(e, Citation)] == ([uri] if uri else [])


async def test_a_second_turn_sees_the_first_also_after_a_restart(database: Database) -> None:
    """What was said is in the database."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        await run(stack, conversation_id, "Which databases are supported?")
    async with stack_on(database) as stack:
        events = await run(stack, conversation_id, "tell me more")
        assert [e.uri for e in events if isinstance(e, Citation)] == ["storage.rst#storage"]


async def test_a_conversation_is_its_owners_alone(database: Database) -> None:
    """Another owner, or another tenant, is told that there is no such conversation."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        await run(stack, conversation_id, "How?")
        for other in ({"owner": "you"}, {"tenant": "acme"}):
            with pytest.raises(TurnFailed, match="no such conversation"):
                await run(stack, conversation_id, "How?", **other)


async def test_a_turn_waits_for_a_client_tool_and_goes_on_after_a_restart(
    database: Database,
) -> None:
    """The call and its place in the turn are stored; the result is the answer."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, ASK_WEATHER, tools=(WEATHER,))
        turn_id, call_id = events[0].turn_id, pending(events)
        assert await stack.outcome(conversation_id, turn_id) is None
        told = steps_of(events)
        assert await stack.steps(conversation_id, [turn_id, "other"]) == {turn_id: told}
        assert await stack.steps("other", [turn_id]) == {}
    async with stack_on(database) as stack:
        resume = Resume(turn_id, (Answer(call_id, "Rainy."),))
        events = await run(stack, conversation_id, "Rainy.", resume=resume)
        told += steps_of(events)
        assert await stack.steps(conversation_id, [turn_id]) == {turn_id: told}
        assert plain(events)[:3] == [
            TurnStarted(turn_id, "embedded/extractive"),
            StepStarted(
                "tool_execution",
                "get_weather",
                {"call_id": call_id, "arguments": {"city": "Oslo"}, "type": "function_call"},
            ),
            StepEnded("tool_execution", "get_weather", {"call_id": call_id, "result": "Rainy."}),
        ]
        assert events[-1] == TurnCompleted("end_of_turn", "Rainy.")
        assert await stack.outcome(conversation_id, turn_id) == events[-1]
        with pytest.raises(TurnFailed, match="does not wait"):
            await run(stack, conversation_id, resume=resume)


async def test_a_wrong_result_leaves_the_turn_waiting(database: Database) -> None:
    """Unknown and missing calls are named; the right one is still taken."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, ASK_WEATHER, tools=(WEATHER,))
        turn_id, call_id = events[0].turn_id, pending(events)
        for answers, problem in (
            ((Answer("nope", "x"),), "no tool call nope"),
            ((), f"the tool call {call_id} has no result"),
        ):
            with pytest.raises(InvalidParams, match=problem):
                await run(stack, conversation_id, resume=Resume(turn_id, answers))
        with pytest.raises(TurnFailed, match="not known"):
            await run(stack, conversation_id, resume=Resume("nope", ()))
        with pytest.raises(TurnFailed, match="not known"):
            await run(stack, conversation_id, resume=Resume(turn_id, ()), owner="you")
        answer = Resume(turn_id, (Answer(call_id, "Rainy."),))
        events = await run(stack, conversation_id, resume=answer)
        assert isinstance(events[-1], TurnCompleted)


async def test_a_resumed_turn_that_broke_off_can_be_run_again(memory: Database) -> None:
    """The results were stored when it was resumed: a rerun goes on from there."""
    async with stack_on(memory) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, ASK_WEATHER, tools=(WEATHER,))
        turn_id = events[0].turn_id
        resume = Resume(turn_id, (Answer(pending(events), "Rainy."),))
        broken = stack.turn(request(conversation_id, resume=resume))
        await anext(aiter(broken))  # the process ends here
        events = await run(stack, conversation_id, resume=resume)
        assert events[-1] == TurnCompleted("end_of_turn", "Rainy.")
        await broken.aclose()
        assert await stack.outcome(conversation_id, turn_id) == events[-1]


async def test_a_turn_that_is_closed_is_stored_as_canceled(database: Database) -> None:
    """The conversation goes on without it."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        async with aclosing(
            stack.turn(request(conversation_id, TextPart("How do I set the port?")))
        ) as events:
            first = await anext(events)
            assert isinstance(first, TurnStarted)
            turn_id = first.turn_id
            await anext(events)
        turn = await Sessions(database).find(conversation_id, turn_id)
        assert turn is not None
        assert turn.state == "canceled"
        assert await stack.outcome(conversation_id, turn_id) is None
        after = await run(stack, conversation_id, "Does it support MySQL?")
        assert isinstance(after[-1], TurnCompleted)


async def test_a_waiting_turn_can_be_canceled(database: Database) -> None:
    """Nobody goes on with it; a turn that has ended stays as it is."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        done = await run(stack, conversation_id, "nginx")
        events = await run(stack, conversation_id, ASK_WEATHER, tools=(WEATHER,))
        await stack.cancel(conversation_id, events[0].turn_id)
        await stack.cancel(conversation_id, done[0].turn_id)
        resume = Resume(events[0].turn_id, (Answer(pending(events), "Rainy."),))
        with pytest.raises(TurnFailed, match="does not wait"):
            await run(stack, conversation_id, resume=resume)
        assert await stack.outcome(conversation_id, done[0].turn_id) == done[-1]


async def test_parallel_first_turns_share_one_session(database: Database) -> None:
    """Whoever comes second finds the session of the first."""
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        ended: list[Any] = []

        async def ask() -> None:
            ended.append((await run(stack, conversation_id, "nginx"))[-1])

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(ask)
        assert [type(event) for event in ended] == [TurnCompleted] * 4


async def test_a_turn_costs_two_transactions_of_its_own(memory: Database) -> None:
    """One at its start, one at its end, however long the answer is."""
    database = Flaky(memory)
    async with stack_on(database) as stack:
        conversation_id = await stack.start_conversation("me")
        await run(stack, conversation_id, "nginx")
        before = database.writes
        await run(stack, conversation_id, "How do I stream an answer?")
    assert database.writes - before == 2


async def test_the_catalogue_names_what_is_there(database: Database) -> None:
    """One model, one tool, one vector store, the package's version."""
    async with stack_on(database) as stack:
        assert list(await stack.models()) == [Model("embedded/extractive", "embedded")]
        assert [tool["name"] for tool in await stack.tools()] == ["knowledge_search"]
        (store,) = await stack.vector_stores()
        assert store["id"].startswith("vs_")
        assert (store["name"], store["file_counts"]["total"]) == ("knowledge", 4)
        assert store["usage_bytes"] == sum(file.stat().st_size for file in FOLDER.iterdir())
        assert {provider["api"] for provider in await stack.providers()} >= {"inference", "agents"}
        assert list(await stack.shields()) == []
        assert (await stack.version())[0].isdigit()
        assert await stack.health() == Health(ok=True)


# --- the index


async def indexed(database: Database) -> dict[str, int]:
    """Return the number of passages of every document."""
    query = (
        select(documents.c.path, func.count(passages.c.passage_id))
        .join(passages, passages.c.path == documents.c.path, isouter=True)
        .group_by(documents.c.path)
    )
    rows = await database.read(lambda c: c.execute(query).all())
    return {row[0]: row[1] for row in rows}


async def test_the_index_follows_the_folder(database: Database, tmp_path: Path) -> None:
    """Unchanged files are left alone, changed ones replaced, removed ones forgotten."""
    folder = tmp_path / "docs"
    shutil.copytree(FOLDER, folder)
    async with stack_on(database, folder) as stack:
        await stack.vector_stores()
    before = await database.read(lambda c: c.execute(select(documents)).all())
    (folder / "storage.rst").unlink()
    (folder / "streaming.md").write_text("# Rivers\n\nA river is a stream of water.")
    (folder / "deep").mkdir()
    (folder / "deep" / "new.md").write_text("# Volcanoes\n\nLava is hot.")
    async with stack_on(database, folder) as stack:
        events = await run(stack, await stack.start_conversation("me"), "How hot is lava?")
        assert [e.uri for e in events if isinstance(e, Citation)] == ["deep/new.md#volcanoes"]
        events = await run(stack, await stack.start_conversation("me"), "How do I cancel?")
        assert not [e for e in events if isinstance(e, Citation)]
    assert (await indexed(database)).keys() == {
        "configuration.md",
        "getting-started.md",
        "streaming.md",
        "deep/new.md",
    }
    after = await database.read(lambda c: c.execute(select(documents)).all())
    unchanged = {row for row in before if row.path in ("configuration.md", "getting-started.md")}
    assert unchanged <= set(after)


async def test_two_processes_that_index_at_once_do_not_duplicate(database_url: str) -> None:
    """Each has its own connections; every passage is there once."""
    async with open_database(database_url) as one:
        if database_url == "sqlite://":
            others = [one]
        else:
            others = [connect(make_url(database_url)) for _ in range(2)]
            for other in others:
                await other.open()
        async with anyio.create_task_group() as group:

            async def index(database: Database) -> None:
                async with stack_on(database) as stack:
                    await stack.vector_stores()

            for database in (one, *others):
                group.start_soon(index, database)
        assert await indexed(one) == {
            "configuration.md": 5,
            "getting-started.md": 5,
            "storage.rst": 5,
            "streaming.md": 5,
        }
        for other in others:
            await other.close()


async def test_what_is_no_document_is_left_out(memory: Database, tmp_path: Path) -> None:
    """Hidden, binary, huge and unknown files are not read, nor are pipes; a link is followed."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.md").write_text("x")
    (tmp_path / ".hidden.md").write_text("x")
    (tmp_path / "binary.md").write_bytes(b"a\0b")
    (tmp_path / "huge.txt").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    (tmp_path / "image.png").write_bytes(b"x")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked.md").symlink_to(FOLDER / "streaming.md")
    (tmp_path / "empty.md").write_text("")
    os.mkfifo(tmp_path / "pipe.md")
    async with stack_on(memory, tmp_path) as stack:
        await stack.vector_stores()
    assert (await indexed(memory)).keys() == {"linked.md", "empty.md"}


async def test_a_missing_folder_is_told_at_start(memory: Database, tmp_path: Path) -> None:
    """The path of the setting is named."""
    with pytest.raises(SettingsError, match="knowledge"):
        await EmbeddedStack(Settings(), memory, tmp_path / "nowhere").open()


async def test_an_index_that_failed_is_made_when_it_is_needed(memory: Database) -> None:
    """The database was away at start; the first question after that is answered."""
    database = Flaky(memory, away=True)
    async with stack_on(database) as stack:
        await database.failed.wait()
        database.away = False
        events = await run(stack, await stack.start_conversation("me"), "nginx")
        assert isinstance(events[-1], TurnCompleted)


# --- a language model


async def test_a_model_streams_and_is_told_what_was_said_before(database: Database) -> None:
    """Instructions, history and sampling reach the server, also after a restart."""
    server = OpenAIServer(says("Hello ", "you."), says("Yes."))
    agent = {"instructions": "Be kind.", "temperature": 0.5, "max_tokens": 9}
    async with stack_with(database, server, agent=agent) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, "Hi")
        assert [event.text for event in events if isinstance(event, TextDelta)] == [
            "Hello ",
            "you.",
        ]
        assert Usage(12, 7) in events
        assert events[-1] == TurnCompleted("end_of_turn", "Hello you.")
    async with stack_with(database, server, agent=agent) as stack:
        await run(stack, conversation_id, "Again?")
    sent = server.requests[1]
    assert sent["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello you."},
        {"role": "user", "content": "Again?"},
    ]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("tiny", 0.5, 9)
    assert sent["stream_options"] == {"include_usage": True}
    assert server.headers[0]["authorization"] == "Bearer k"


async def test_sessions_go_on_with_the_settings_of_the_day(memory: Database) -> None:
    """New instructions hold for conversations that are under way."""
    server = OpenAIServer()
    async with stack_with(memory, server, agent={"instructions": "Old."}) as stack:
        conversation_id = await stack.start_conversation("me")
        await run(stack, conversation_id, "Hi")
    async with stack_with(memory, server, agent={"instructions": "New."}) as stack:
        await run(stack, conversation_id, "Hi")
    assert server.requests[1]["messages"][0]["content"] == "New."


async def test_history_is_bounded_by_whole_turns(memory: Database) -> None:
    """The latest turns are kept, the message of the turn always."""
    server = OpenAIServer()
    async with stack_with(memory, server) as stack:
        conversation_id = await stack.start_conversation("me")
        for name in ("first", "second", "third"):
            await run(stack, conversation_id, name + " " + "x" * 20_000)
        await run(stack, conversation_id, "last")
    said = [
        m["content"][:6].strip() for m in server.requests[-1]["messages"] if m["role"] == "user"
    ]
    assert said == ["second", "third", "last"]


async def test_the_documents_are_a_tool(memory: Database) -> None:
    """The model searches; the caller gets citations, the model the passages."""
    server = OpenAIServer(calls(("c", "knowledge_search", '{"query": "set port"}')), says("8080."))
    async with stack_with(memory, server) as stack:
        events = await run(stack, await stack.start_conversation("me"), "Port?")
    cited = [event.uri for event in events if isinstance(event, Citation)]
    assert cited[0] == "configuration.md#host-and-port"
    told = server.requests[1]["messages"][-1]
    assert told["role"] == "tool"
    assert "[1] Configuration > Host and port (configuration.md#host-and-port)" in told["content"]
    assert server.requests[0]["tools"][0]["function"]["name"] == "knowledge_search"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("c", "knowledge_search", "{broken"), "The arguments are not a valid JSON object."),
        (("c", "knowledge_search", '{"query": 1}'), "The argument query must be a text."),
        (("c", "knowledge_search", '{"query": "quetzal"}'), "The documents hold nothing on this."),
        (("c", "unknown", "{}"), "There is no tool unknown."),
        (("c", "get_weather", "{broken"), "The arguments are not a valid JSON object."),
    ],
)
async def test_a_bad_call_is_told_to_the_model(
    memory: Database, call: tuple[str, str, str], told: str
) -> None:
    """The model may try again; the turn does not fail, and the caller is not asked."""
    server = OpenAIServer(calls(call), says("Sorry."))
    async with stack_with(memory, server) as stack:
        events = await run(stack, await stack.start_conversation("me"), "Hi", tools=(WEATHER,))
    assert events[-1] == TurnCompleted("end_of_turn", "Sorry.")
    assert server.requests[1]["messages"][-1]["content"] == told


async def test_a_model_waits_for_client_tools_and_goes_on_after_a_restart(
    memory: Database,
) -> None:
    """The tools given with the message are known again, the results are tool messages."""
    asked = calls(
        ("a", "get_weather", '{"city": "Oslo"}'), ("b", "knowledge_search", '{"query": "port"}')
    )
    server = OpenAIServer(asked, says("Rain."))
    async with stack_with(memory, server) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, "Weather?", tools=(WEATHER,))
        call_id = pending(events)
    async with stack_with(memory, server) as stack:
        resume = Resume(events[0].turn_id, (Answer(call_id, "Rainy."),))
        events = await run(stack, conversation_id, "Rainy.", resume=resume)
        assert events[-1] == TurnCompleted("end_of_turn", "Rain.")
        assert await stack.outcome(conversation_id, events[0].turn_id) == events[-1]
    messages = server.requests[1]["messages"]
    assert [message["role"] for message in messages[1:]] == ["user", "assistant", "tool", "tool"]
    assert messages[-1] == {"role": "tool", "tool_call_id": "a", "content": "Rainy."}
    assert [tool["function"]["name"] for tool in server.requests[1]["tools"]] == [
        "knowledge_search",
        "get_weather",
    ]


async def test_a_new_message_instead_of_a_result_is_answered(memory: Database) -> None:
    """The call without a result is left out of what the model is told."""
    server = OpenAIServer(calls(("a", "get_weather", "{}"), text="I ask."), says("Fine."))
    async with stack_with(memory, server) as stack:
        conversation_id = await stack.start_conversation("me")
        await run(stack, conversation_id, "Weather?", tools=(WEATHER,))
        await run(stack, conversation_id, "Never mind.")
    assert server.requests[1]["messages"][1:] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "I ask."},
        {"role": "user", "content": "Never mind."},
    ]


async def test_images_and_files_reach_the_model(memory: Database) -> None:
    """An image is a data URL, a text file text with its name."""
    server = OpenAIServer()
    parts = (
        TextPart("Look"),
        FilePart("a.png", "image/png", b"png"),
        FilePart("notes.txt", "text/plain", b"Be brief."),
    )
    async with stack_with(memory, server) as stack:
        await run(stack, await stack.start_conversation("me"), *parts)
    assert server.requests[0]["messages"][-1]["content"] == [
        {"type": "text", "text": "Look\n\nnotes.txt:\n\nBe brief."},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
    ]


async def test_what_no_model_reads_is_refused_before_a_turn_begins(memory: Database) -> None:
    """PDF for every model, an image for the extractive one; nothing is heard of a turn."""
    async with stack_on(memory) as stack:
        conversation_id = await stack.start_conversation("me")
        for part in (
            FilePart("a.pdf", "application/pdf", b"%PDF"),
            FilePart("a.png", "image/png", b"png"),
        ):
            heard: list[Any] = []
            with pytest.raises(ContentTypeNotSupported, match=part.media_type):
                heard.extend([e async for e in stack.turn(request(conversation_id, part))])
            assert heard == []


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (fails(401), StackUnavailable, "refused the credentials"),
        (fails(403), StackUnavailable, "refused the credentials"),
        (fails(404), ModelNotFound, "does not know the model tiny"),
        (fails(429), TurnFailed, "busy"),
        (fails(400), TurnFailed, "HTTP 400"),
        (fails(400, "context_length_exceeded"), PromptTooLong, "too long"),
        (fails(400, "This model's maximum context length is 9."), PromptTooLong, "too long"),
        (fails(400, "the request exceeds the available context size"), PromptTooLong, "too long"),
        (fails(413), PromptTooLong, "larger"),
        (fails(400, "model_not_found"), ModelNotFound, "does not know the model tiny"),
        (fails(500), TurnFailed, "HTTP 500"),
        (fails(503), TurnFailed, "HTTP 503"),
        (fails(504), StackTimeout, "in time"),
        (Reply(body="<html>", status=200), InvalidAgentResponse, "broke off"),
        (says("a", ending="cut"), InvalidAgentResponse, "broke off"),
        (says("a", ending="error"), TurnFailed, "error"),
        (says("a", ending="noise"), InvalidAgentResponse, "not understood"),
        (says("a", ending="hang"), StackTimeout, "in time"),
        (says("a", finish="content_filter"), TurnFailed, "content filter"),
    ],
)
async def test_a_failing_model_server_is_told_in_our_words(
    memory: Database, reply: Reply, error: type[StackError], text: str
) -> None:
    """Each failure has its class; nothing that the server said is passed on, nothing is retried."""
    server = OpenAIServer(reply)
    openai = {"model": "tiny"}
    async with stack_with(memory, server, openai=openai, llama_stack={"timeout": 1}) as stack:
        conversation_id = await stack.start_conversation("me")
        with pytest.raises(error, match=text) as caught:
            await run(stack, conversation_id, "Hi")
        assert "secret" not in caught.value.message
        (state,) = await memory.read(lambda c: c.execute(select(turns.c.state)).scalars().all())
        assert state == "failed"
    assert len(server.requests) == 1


async def test_a_model_server_that_is_down_is_unavailable(memory: Database) -> None:
    """The turn fails, the health says so, and the settings are not to blame."""
    async with stack_on(
        memory, openai={"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    ) as stack:
        assert await stack.health() == Health(
            ok=False, detail="The model server cannot be reached."
        )
        with pytest.raises(StackUnavailable, match="cannot be reached"):
            await run(stack, await stack.start_conversation("me"), "Hi")


class Listless(OpenAIServer):
    """Answers, but fails when it is asked for its models."""

    @override
    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"error": {"message": "secret internals"}}, 500)


async def test_a_model_server_that_fails_to_name_its_models_is_not_well(memory: Database) -> None:
    """There is no turn that could fail: the server is away, in words that are ours."""
    said = "The model server failed (HTTP 500)."
    async with stack_with(memory, Listless()) as stack:
        assert await stack.health() == Health(ok=False, detail=said)
        with pytest.raises(StackUnavailable) as caught:
            await stack.models()
        assert caught.value.message == said


async def test_closing_a_turn_hangs_up_on_the_model(memory: Database) -> None:
    """The model server sees its client go, and the turn is stored as canceled."""
    server = OpenAIServer(says("a", ending="hang"))
    async with stack_with(memory, server) as stack:
        conversation_id = await stack.start_conversation("me")
        async with aclosing(stack.turn(request(conversation_id, TextPart("Hi")))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        await server.gone.wait()
    (state,) = await memory.read(lambda c: c.execute(select(turns.c.state)).scalars().all())
    assert state == "canceled"


async def test_a_task_that_is_canceled_stores_its_turn(memory: Database) -> None:
    """Cancellation from outside ends as closing does."""
    server = OpenAIServer(says("a", ending="hang"))
    async with stack_with(memory, server) as stack:
        conversation_id = await stack.start_conversation("me")
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                await run(stack, conversation_id, "Hi")

            group.start_soon(ask)
            await server.hung.wait()
            group.cancel_scope.cancel()
        await server.gone.wait()
    (state,) = await memory.read(lambda c: c.execute(select(turns.c.state)).scalars().all())
    assert state == "canceled"


async def test_an_answer_that_ran_out_of_tokens_is_complete_as_far_as_it_goes(
    memory: Database,
) -> None:
    """``length`` is out_of_tokens; a call that was cut off is not run."""
    server = OpenAIServer(
        says("Once", finish="length"), calls(("a", "get_weather", '{"ci'), finish="length")
    )
    async with stack_with(memory, server) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, "Tell")
        assert events[-1] == TurnCompleted("out_of_tokens", "Once")
        events = await run(stack, conversation_id, "Weather?", tools=(WEATHER,))
        assert events[-1] == TurnCompleted("out_of_tokens", "")


async def test_the_model_is_the_one_that_the_request_names(memory: Database) -> None:
    """With or without the provider; the extractive model is still there."""
    server = OpenAIServer(models=("one", "two"))
    async with stack_with(memory, server, openai={"model": "one"}) as stack:
        conversation_id = await stack.start_conversation("me")
        for model in ("two", "openai/two", "org/two", None):
            events = await run(stack, conversation_id, "Hi", model=model)
            told = "openai/org/two" if model == "org/two" else f"openai/{(model or 'one')[-3:]}"
            assert events[0].model == told
        for model in ("extractive", "embedded/extractive"):
            events = await run(stack, conversation_id, "nginx", model=model)
            assert events[0].model == "embedded/extractive"
            assert "proxy_buffering" in text_of(events)
        with pytest.raises(ModelNotFound, match="embedded/other"):
            await run(stack, conversation_id, "Hi", model="embedded/other")
        listed = [Model(f"openai/{name}", "openai") for name in ("one", "two")]
        assert list(await stack.models()) == listed
        assert await stack.health() == Health(ok=True)
    assert [sent["model"] for sent in server.requests] == ["two", "two", "org/two", "one"]


async def test_without_a_choice_among_models_the_setting_is_named(memory: Database) -> None:
    """One model is taken; of several the user has to choose, and sees all of them."""
    async with stack_with(memory, OpenAIServer(models=("one",))) as stack:
        assert list(await stack.models()) == [Model("openai/one", "openai")]
    async with stack_with(memory, OpenAIServer(models=("one", "two"))) as stack:
        with pytest.raises(ModelNotFound, match=r"openai\.model .* one, two"):
            await run(stack, await stack.start_conversation("me"), "Hi")
        assert [model.identifier for model in await stack.models()] == ["openai/one", "openai/two"]


async def test_the_models_of_a_server_are_listed_the_default_one_first(memory: Database) -> None:
    """Also when its server does not list it; those for embeddings are no language models."""
    server = OpenAIServer(models=("tiny:latest", "all-embed", "tiny:latest"))
    async with stack_with(memory, server, openai={"model": "tiny"}) as stack:
        assert [(model.identifier, model.model_type) for model in await stack.models()] == [
            ("openai/tiny", "llm"),
            ("openai/tiny:latest", "llm"),
            ("openai/all-embed", "embedding"),
        ]


async def test_a_server_without_a_list_of_models_is_well(memory: Database) -> None:
    """Its model is the one of the settings; without that there is none to ask."""
    server = OpenAIServer(says("Hi."))
    server.app.routes.pop()
    async with stack_with(memory, server, openai={"model": "tiny"}) as stack:
        assert [model.identifier for model in await stack.models()] == ["openai/tiny"]
        assert await stack.health() == Health(ok=True)
        assert isinstance((await run(stack, "s", "Hi"))[-1], TurnCompleted)
    server = OpenAIServer(says("Hi."))
    server.app.routes.pop()
    async with stack_with(memory, server) as stack:
        assert list(await stack.models()) == []
        with pytest.raises(ModelNotFound, match=r"openai\.model"):
            await run(stack, "s", "Hi")


async def test_a_model_that_is_not_configured_is_not_found(memory: Database) -> None:
    """The name is told back; nothing is heard of a turn."""
    async with stack_on(memory) as stack:
        with pytest.raises(ModelNotFound, match="gpt-9"):
            await run(stack, await stack.start_conversation("me"), "Hi", model="gpt-9")


async def test_a_loop_of_tool_calls_ends_as_a_failure(memory: Database) -> None:
    """``max_infer_iters`` is how often the model is asked; the last time without tools."""
    server = OpenAIServer(calls(("c", "knowledge_search", '{"query": "port"}')))
    async with stack_with(memory, server, agent={"max_infer_iters": 3}) as stack:
        events = await run(stack, await stack.start_conversation("me"), "Hi")
    assert events[-1] == Failed("The agent stopped after 3 steps without an answer.")
    assert [sent.get("tool_choice") for sent in server.requests] == [None, None, "none"]


# --- shields


async def test_a_shield_refuses_what_the_user_says(memory: Database) -> None:
    """The guard is asked about the message; the model is not asked at all."""
    server = OpenAIServer(says("unsafe\nS9"))
    async with stack_with(memory, server, agent={"input_shields": ["guard"]}) as stack:
        conversation_id = await stack.start_conversation("me")
        events = await run(stack, conversation_id, "a bomb")
        assert plain(events)[1:3] == [
            StepStarted("shield_call", "guard", {"touchpoint": "user-input"}),
            StepEnded("shield_call", "guard", {"violation": {"level": "error", "type": "S9"}}),
        ]
        assert isinstance(events[-1], Rejected)
        assert [shield["identifier"] for shield in await stack.shields()] == ["guard"]
    (sent,) = server.requests
    assert sent["model"] == "guard"
    assert sent["messages"] == [{"role": "user", "content": "a bomb"}]


async def test_nothing_unsafe_is_heard_of_an_answer(memory: Database) -> None:
    """With a shield for answers the text is held back until it is checked."""
    server = OpenAIServer(says("a ", "bomb"), says("unsafe\nS9"), says("Hello"), says("safe"))
    agent = {"output_shields": ["guard"]}
    async with stack_with(memory, server, agent=agent, openai={"model": "tiny"}) as stack:
        conversation_id = await stack.start_conversation("me")
        refused = await run(stack, conversation_id, "Hi")
        assert text_of(refused) == ""
        assert isinstance(refused[-1], Rejected)
        passed = await run(stack, conversation_id, "Hi")
        assert text_of(passed) == "Hello"
        assert passed[-1] == TurnCompleted("end_of_turn", "Hello")
    assert [m["role"] for m in server.requests[1]["messages"]] == ["user", "assistant"]


async def test_a_shield_without_a_verdict_lets_nothing_pass(memory: Database) -> None:
    """A guard that says anything else fails the turn; without a server there is no guard."""
    server = OpenAIServer(says("Sure, happy to help."))
    async with stack_with(memory, server, agent={"input_shields": ["guard"]}) as stack:
        with pytest.raises(InvalidAgentResponse, match="no verdict"):
            await run(stack, await stack.start_conversation("me"), "Hi")
    settings = Settings.model_validate({"agent": {"input_shields": ["guard"]}})
    with pytest.raises(SettingsError, match="input_shields"):
        await EmbeddedStack(settings, memory, FOLDER).open()


# --- MCP servers


def mcp_app(seen: list[str | None]) -> Any:
    """Return a real MCP server with two tools; ``seen`` gets the authorization of every request."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("tools")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool(name="text.repeat")
    def repeat(text: str, times: int) -> str:
        """Repeat a text."""
        return text * times

    app = server.streamable_http_app()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            seen.append(headers.get(b"authorization", b"").decode() or None)
        await app(scope, receive, send)

    return watched


async def test_tools_of_an_mcp_server_are_run(memory: Database, tmp_path: Path) -> None:
    """Listed for the model by a name that it takes, called with the secret of a file."""
    (tmp_path / "token").write_text("Bearer s3cret\n")
    seen: list[str | None] = []
    server = OpenAIServer(
        calls(
            ("1", "add", '{"a": 2, "b": 40}'), ("2", "text_repeat", '{"text": "ab", "times": 2}')
        ),
        says("42."),
    )
    async with run_server(mcp_app(seen)) as url:
        headers = {"Authorization": str(tmp_path / "token")}
        mcp = {"name": "tools", "url": f"{url}/mcp", "authorization_headers": headers}
        async with stack_with(memory, server, mcp_servers=[mcp]) as stack:
            events = await run(stack, await stack.start_conversation("me"), "2 + 40?")
            names = [tool["name"] for tool in await stack.tools()]
    assert names == ["knowledge_search", "add", "text.repeat"]
    assert results_of(events) == ["42", "abab"]
    assert events[-1] == TurnCompleted("end_of_turn", "42.")
    assert set(seen) == {"Bearer s3cret"}


async def test_a_tool_group_may_choose_one_tool_and_fix_its_arguments(memory: Database) -> None:
    """``mcp::server/tool`` leaves the others out; ``args`` win over the model's."""
    server = OpenAIServer(calls(("1", "add", '{"a": 2, "b": 40}')), says("5."))
    group = {"name": "mcp::tools/add", "args": {"b": 3}}
    async with run_server(mcp_app([])) as url:
        servers = [{"name": "tools", "url": f"{url}/mcp"}]
        async with stack_with(
            memory, server, mcp_servers=servers, agent={"toolgroups": [group, "builtin::websearch"]}
        ) as stack:
            events = await run(stack, await stack.start_conversation("me"), "2 + 40?")
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == [
        "add",
        "knowledge_search",
    ]
    assert results_of(events) == ["5"]


async def test_the_extractive_model_calls_a_tool_by_its_name(memory: Database) -> None:
    """``use add {...}`` runs it; the result is the answer."""
    async with run_server(mcp_app([])) as url:
        servers = [{"name": "tools", "url": f"{url}/mcp"}]
        async with stack_on(memory, mcp_servers=servers) as stack:
            question = 'Please use add {"a": 2, "b": 40}'
            events = await run(stack, await stack.start_conversation("me"), question)
    assert events[-1] == TurnCompleted("end_of_turn", "42")


async def test_an_mcp_server_that_is_down_is_no_reason_to_fail(
    memory: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The model is told that its tools are missing, and the documents are still searched.

    Every turn tells the log so: in one line.
    """
    server = OpenAIServer(says("Hello."))
    servers = [{"name": "tools", "url": "http://127.0.0.1:9/mcp"}]
    async with stack_with(memory, server, mcp_servers=servers) as stack:
        events = await run(stack, await stack.start_conversation("me"), "Hi")
        assert [tool["name"] for tool in await stack.tools()] == ["knowledge_search"]
    assert events[-1] == TurnCompleted("end_of_turn", "Hello.")
    system = server.requests[0]["messages"][0]["content"]
    assert "The tools of tools are not available at the moment." in system
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {record.getMessage() for record in told} == {
        "The tool server tools cannot be used: ConnectError"
    }
    assert not any(record.exc_info for record in told)


async def test_what_goes_wrong_at_an_mcp_server_is_told_to_the_model(
    memory: Database, tmp_path: Path
) -> None:
    """A tool that fails, a server that has gone, and a secret that cannot be read."""
    (tmp_path / "token").write_text("x")
    add = ("1", "add", '{"a": "?", "b": 1}')
    server = OpenAIServer(calls(add), calls(add), says("Sorry."))
    headers = {"X": str(tmp_path / "token")}
    async with AsyncExitStack() as exits:
        url = await exits.enter_async_context(run_server(mcp_app([])))
        servers = [{"name": "tools", "url": f"{url}/mcp", "authorization_headers": headers}]
        stack = await exits.enter_async_context(stack_with(memory, server, mcp_servers=servers))
        heard: list[Any] = []
        async for event in stack.turn(request("s", TextPart("Hi"))):
            heard.append(event)
            if isinstance(event, StepEnded) and event.kind == "tool_execution":
                (tmp_path / "token").unlink(missing_ok=True)
    results = results_of(heard)
    assert "add" in results[0]
    assert results[1] == "The credentials for the tool server tools cannot be read."
    assert heard[-1] == TurnCompleted("end_of_turn", "Sorry.")


async def test_tools_of_the_same_name_are_told_apart(memory: Database) -> None:
    """The second server's name goes before its tool."""
    server = OpenAIServer(calls(("1", "b_add", '{"a": 1, "b": 1}')), says("2."))
    async with run_server(mcp_app([])) as url:
        servers = [{"name": name, "url": f"{url}/mcp"} for name in ("a", "b")]
        async with stack_with(memory, server, mcp_servers=servers) as stack:
            events = await run(stack, await stack.start_conversation("me"), "1 + 1?")
    names = [tool["function"]["name"] for tool in server.requests[0]["tools"]]
    assert names == ["knowledge_search", "add", "text_repeat", "b_add", "b_text_repeat"]
    assert results_of(events) == ["2"]


async def test_an_mcp_server_that_hangs_is_given_up(memory: Database) -> None:
    """Its time-out is its setting."""
    released = anyio.Event()

    async def hang(scope: Any, receive: Any, _send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await _send({"type": f"lifespan.{kind}.complete"})
        else:
            await released.wait()

    server = OpenAIServer(says("Hello."))
    async with run_server(hang) as url:
        servers = [{"name": "tools", "url": f"{url}/mcp", "timeout": 1}]
        async with stack_with(memory, server, mcp_servers=servers) as stack:
            events = await run(stack, await stack.start_conversation("me"), "Hi")
        released.set()
    assert events[-1] == TurnCompleted("end_of_turn", "Hello.")


async def test_a_native_task_that_is_canceled_stores_its_turn(memory: Database) -> None:
    """What the runner does to a turn that is to stop."""
    server = OpenAIServer(says("a", ending="hang"))
    async with stack_with(memory, server) as stack:
        conversation_id = await stack.start_conversation("me")
        task = asyncio.create_task(run(stack, conversation_id, "Hi"))
        await server.hung.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (state,) = await memory.read(lambda c: c.execute(select(turns.c.state)).scalars().all())
    assert state == "canceled"


# --- approval, credentials, and the form of an answer

SUM = ("1", "add", '{"a": 2, "b": 40}')


def approvals(events: list[Any]) -> list[Any]:
    """Return what the caller is to approve."""
    assert isinstance(events[-1], InputRequired)
    asked: list[Any] = events[-1].data["approvals"]
    return asked


def resumed(events: list[Any], *answers: Answer) -> Resume:
    (turn_id,) = [event.turn_id for event in events if isinstance(event, TurnStarted)]
    return Resume(turn_id, answers)


@pytest.mark.parametrize("asked", ["always", ["add", "other"]])
async def test_a_tool_is_called_once_it_was_approved(database: Database, asked: Any) -> None:
    """Not before; a restart in between changes nothing."""
    tools = McpServer()
    server = OpenAIServer(calls(SUM), says("42."))
    async with run_server(tools) as url:
        mcp = [{"name": "tools", "url": f"{url}/mcp", "require_approval": asked}]
        async with stack_with(database, server, mcp_servers=mcp) as stack:
            first = await run(stack, "s", "2 + 40?")
            assert tools.calls == []
        async with stack_with(database, server, mcp_servers=mcp) as stack:
            resume = resumed(first, Answer("1", "", approve=True))
            events = await run(stack, "s", "yes", resume=resume)
            outcome = await stack.outcome("s", resume.turn_id)
            with pytest.raises(TurnFailed, match="does not wait"):
                await run(stack, "s", "yes", resume=resume)
    (asked_for,) = approvals(first)
    assert asked_for == {
        "call_id": "1",
        "tool_name": "add",
        "arguments": {"a": 2, "b": 40},
        "server_label": "tools",
    }
    assert tools.calls == [{"a": 2, "b": 40}]
    assert events[-1] == outcome == TurnCompleted("end_of_turn", "42.")


async def test_a_tool_that_was_not_approved_is_not_called(memory: Database) -> None:
    """The model is told, with what the user said; asking again is another question."""
    tools = McpServer()
    server = OpenAIServer(calls(SUM), calls(SUM))
    async with run_server(tools) as url:
        mcp = [{"name": "tools", "url": f"{url}/mcp", "require_approval": "always"}]
        async with stack_with(memory, server, mcp_servers=mcp) as stack:
            first = await run(stack, "s", "2 + 40?")
            resume = resumed(first, Answer("1", "add 1 instead", approve=False))
            again = await run(stack, "s", "no", resume=resume)
    (told,) = [m["content"] for m in server.requests[1]["messages"] if m["role"] == "tool"]
    assert told == "The user did not approve this call. The user said: add 1 instead"
    assert approvals(again)[0]["call_id"] != "1"
    assert tools.calls == []


async def test_tools_that_are_not_named_need_no_approval(memory: Database) -> None:
    tools = McpServer()
    server = OpenAIServer(calls(SUM), says("42."))
    async with run_server(tools) as url:
        mcp = [{"name": "tools", "url": f"{url}/mcp", "require_approval": ["fail"]}]
        async with stack_with(memory, server, mcp_servers=mcp) as stack:
            events = await run(stack, "s", "2 + 40?")
    assert events[-1] == TurnCompleted("end_of_turn", "42.")


@pytest.mark.parametrize(
    "answer",
    [Answer("1", "yes"), Answer("2", "", approve=True)],
    ids=["a result", "another call"],
)
async def test_only_an_approval_approves(memory: Database, answer: Answer) -> None:
    """A result that somebody makes up for a tool of ours is refused, and the turn still waits."""
    tools = McpServer()
    server = OpenAIServer(calls(SUM), says("42."))
    async with run_server(tools) as url:
        mcp = [{"name": "tools", "url": f"{url}/mcp", "require_approval": "always"}]
        async with stack_with(memory, server, mcp_servers=mcp) as stack:
            first = await run(stack, "s", "2 + 40?")
            with pytest.raises(InvalidParams):
                await run(stack, "s", "yes", resume=resumed(first, answer))
            resume = resumed(first, Answer("1", "", approve=True))
            events = await run(stack, "s", "yes", resume=resume)
    assert events[-1] == TurnCompleted("end_of_turn", "42.")


async def test_an_approved_turn_that_broke_off_goes_on(memory: Database) -> None:
    """Its approval is stored before the tool is called."""
    tools = McpServer()
    server = OpenAIServer(calls(SUM), says("4", ending="hang"), says("42."))
    async with run_server(tools) as url:
        mcp = [{"name": "tools", "url": f"{url}/mcp", "require_approval": "always"}]
        flaky = Flaky(memory)
        async with stack_with(flaky, server, mcp_servers=mcp) as stack:  # type: ignore[arg-type]
            first = await run(stack, "s", "2 + 40?")
            resume = resumed(first, Answer("1", "", approve=True))
            turn: Any = stack.turn(request("s", TextPart("yes"), resume=resume))
            async for event in turn:
                if isinstance(event, TextDelta):
                    break
            flaky.away = True  # as if the process were gone
            await turn.aclose()
            flaky.away = False
            events = await run(stack, "s", "yes", resume=resume)
    assert events[-1] == TurnCompleted("end_of_turn", "42.")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("only_calls", [False, True])
async def test_a_tool_without_credentials_is_tried_again_with_the_next_message(
    database: Database, tmp_path: Path, status: int, *, only_calls: bool
) -> None:
    """The very call, with the secret of the day; whether its server refuses it sooner or later."""
    secret = tmp_path / "secret"
    secret.write_text("Bearer stale")
    tools = McpServer("Bearer good", status=status, only_calls=only_calls)
    server = OpenAIServer(calls(SUM), says("42."))
    async with run_server(tools) as url:
        mcp = [
            {
                "name": "tools",
                "url": f"{url}/mcp",
                "authorization_headers": {"Authorization": str(secret)},
            }
        ]
        async with stack_with(database, server, mcp_servers=mcp) as stack:
            first = await run(stack, "s", "2 + 40?")
            resume = resumed(first)
            still = await run(stack, "s", "now?", resume=resume)
            assert tools.calls == []
        secret.write_text("Bearer good")
        async with stack_with(database, server, mcp_servers=mcp) as stack:
            events = await run(stack, "s", "now", resume=resume)
            outcome = await stack.outcome("s", resume.turn_id)
    for asked in (first[-1], still[-1]):
        assert isinstance(asked, AuthRequired)
        assert asked.data == {"type": "auth", "server": "tools", "url": url}
        assert "stale" not in asked.text
    assert tools.calls == [{"a": 2, "b": 40}]
    assert len(server.requests) == 2
    assert events[-1] == outcome == TurnCompleted("end_of_turn", "42.")


async def test_a_tool_that_fails_with_talk_of_credentials_is_a_result(memory: Database) -> None:
    """What counts is what its server answers."""
    server = OpenAIServer(calls(("1", "fail", "{}")), says("Sorry."))
    async with run_server(McpServer()) as url:
        mcp = [{"name": "tools", "url": f"{url}/mcp"}]
        async with stack_with(memory, server, mcp_servers=mcp) as stack:
            events = await run(stack, "s", "Fail!")
    assert events[-1] == TurnCompleted("end_of_turn", "Sorry.")


FORM = {"type": "json_schema", "json_schema": {"name": "sum", "schema": {"type": "object"}}}


async def test_the_form_of_an_answer_reaches_the_model(database: Database) -> None:
    """Also when the turn goes on after a question, which says nothing of it."""
    server = OpenAIServer(calls(("1", "get_weather", "{}")), says('{"sum": 42}'))
    tool = {"name": "get_weather", "description": "", "input_schema": {"type": "object"}}
    async with stack_with(database, server, agent={"client_tools": [tool]}) as stack:
        first = await run(stack, "s", "Hi", metadata={"response_format": FORM})
        events = await run(stack, "s", "x", resume=resumed(first, Answer("1", "x")))
    assert [asked["response_format"] for asked in server.requests] == [FORM, FORM]
    assert events[-1] == TurnCompleted("end_of_turn", '{"sum": 42}')


async def test_a_form_needs_a_language_model(memory: Database) -> None:
    async with stack_on(memory) as stack:
        with pytest.raises(UnsupportedOperation, match="language model"):
            await run(stack, "s", "Hi", metadata={"response_format": FORM})


async def test_cancelling_twice_is_cancelling(memory: Database) -> None:
    """A turn that waits, one that is canceled, and one that was never there."""
    async with stack_on(memory) as stack:
        events = await run(stack, "s", ASK_WEATHER, tools=(WEATHER,))
        turn_id = resumed(events).turn_id
        for _ in range(2):
            await stack.cancel("s", turn_id)
        await stack.cancel("s", "other")
        assert await stack.outcome("s", turn_id) is None
        with pytest.raises(TurnFailed, match="does not wait"):
            await run(stack, "s", "x", resume=resumed(events, Answer(pending(events), "x")))
