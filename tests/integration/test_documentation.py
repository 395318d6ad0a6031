"""The commands and the example of the documentation are run as they are written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy.engine import make_url

from a2a_state.database import connect
from a2a_state.migrate import migrate
from agent.stacks.embedded.knowledge import Knowledge
from agent.stacks.embedded.messages import UserMessage
from agent.stacks.embedded.retrieval import find_answer
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "curl", "make")
LOG = ".llamastack-a2a/server.log"
SECONDS = 90  # for all commands of a page, on a busy machine
CARD = "curl -s --retry 60 --retry-delay 1 --retry-all-errors {}/.well-known/agent-card.json"

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"one of {', '.join(TOOLS)} is missing"
)

QUESTIONS = {
    "What is this agent?": "quickstart.md#what-is-this-agent",
    "What is A2A?": "a2a-protocol.md#what-is-a2a",
    "What is Llama Stack?": "stacks.md#what-is-llama-stack",
    "What is a context?": "a2a-protocol.md#contexts",
    "What is a task?": "a2a-protocol.md#tasks",
    "What is an artifact?": "a2a-protocol.md#artifacts",
    "What is a stack?": "stacks.md#what-is-a-stack",
    "What is a turn?": "stacks.md#what-is-a-turn",
    "Explain the difference between a task and a message.": "a2a-protocol.md#tasks",
    "How do I ask a question?": "quickstart.md#ask-a-question",
    "How do I stream an answer?": "quickstart.md#stream-an-answer",
    "How do I continue a conversation?": "quickstart.md#continue-a-conversation",
    "How do I send a file?": "quickstart.md#send-a-file",
    "How do I set the port?": "quickstart.md#port",
    "How do I configure PostgreSQL?": "state.md#configure-postgresql",
    "How do I connect a real Llama Stack?": "stacks.md#connect-a-real-llama-stack",
    "Which versions of Llama Stack are supported?": (
        "stacks.md#which-versions-of-llama-stack-are-supported"
    ),
    "How do I use MCP tools?": "stacks.md#tools",
    "How do I write my own stack?": "your-own-stack.md#write-a-stack",
    "How do I run the tests?": "development.md#tests",
    "How long can a turn take?": "stacks.md#how-long-may-a-turn-take",
    "Which databases are supported?": "state.md#which-databases-are-supported",
    "Which environment variables are there?": "quickstart.md#environment-variables",
    "Which methods are supported?": "a2a-protocol.md#methods",
    "Which errors are there?": "a2a-protocol.md#errors",
    "What is stored in the database?": "state.md#what-is-stored-in-the-database",
    "What happens when the server crashes?": "state.md#what-happens-after-a-crash-or-a-restart",
    "Is authentication supported?": "a2a-protocol.md#authentication",
    "Does it support gRPC?": "a2a-protocol.md#grpc",
}


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page that are marked with a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder like this one, in which ``make run`` finds everything installed."""
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).symlink_to(ROOT / name)
    (programs / "python").symlink_to(sys.executable)
    program = programs / "llamastack-a2a"
    run = f"{shlex.quote(sys.executable)} -c 'from agent.cli import main; main()'"
    program.write_text(f'#!/bin/sh\nexec {run} "$@"\n')
    program.chmod(0o755)
    for stamp in (".made", ".run"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


@pytest.fixture
def port() -> int:
    """Return a port that is free."""
    return free_port("localhost")


def paste(commands: Sequence[str], folder: Path) -> list[str]:
    """Give commands to one shell, as a terminal would, and return what each of them printed."""
    end = "--- end of a command ---"
    script = "".join(f"{command}\necho\necho '{end}'\n" for command in commands)
    path = f"{folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-c", f"set -m\n{script}wait\n"],
        cwd=folder,
        env={"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with shell:
        try:
            output, errors = shell.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            for process in psutil.Process(shell.pid).children(recursive=True):
                process.kill()
            shell.kill()
            output, errors = shell.communicate()
            pytest.fail(f"the commands did not end:\n{output}\n{errors}")
    # Shown when the test fails.
    sys.stderr.write(f"{errors}\n{(folder / LOG).read_text()}")
    *printed, _nothing = output.split(f"\n{end}\n")
    return printed


def events(stream: str) -> list[dict[str, Any]]:
    """Return the results of a stream."""
    return [
        json.loads(line.removeprefix("data: "))["result"]
        for line in stream.splitlines()
        if line.startswith("data: ")
    ]


def texts(task: dict[str, Any]) -> str:
    """Return the answer of a task in either version of A2A."""
    (answer,) = [each for each in task["artifacts"] if each["artifactId"] == "answer"]
    return "".join(part["text"] for part in answer["parts"])


@needs_tools
def test_the_tour_of_the_readme_shows_what_it_says(checkout: Path, port: int) -> None:
    commands = [
        block.replace("8080", str(port)).replace("make run", f"make run PORT={port}")
        for block in blocks("README.md", "bash")
    ]

    _start, card, ask, stream, go_on, sessions, _kill, third, sessions_then, again, _stop = paste(
        commands, checkout
    )

    assert json.loads(card)["url"] == f"http://localhost:{port}/a2a"
    task = json.loads(ask)["result"]["task"]
    assert task["contextId"] == "tour"
    assert "PostgreSQL" in texts(task)
    (citations,) = [each for each in task["artifacts"] if each["artifactId"] == "citations"]
    assert citations["parts"][0]["data"]["citations"][0]["document_id"] == "state.md"
    streamed = events(stream)
    ids = re.findall(r"^id: (\d+)$", stream, re.MULTILINE)
    assert ids == [str(number) for number in range(1, len(streamed) + 1)]
    assert sum(event.get("append", False) for event in streamed) > 10
    assert [event.get("final", False) for event in streamed][-2:] == [False, True]
    assert "make run PORT=9000" in go_on
    assert "('tour', 2)" in sessions
    assert "8080" in texts(json.loads(third)["result"]["task"])
    assert "('tour', 3)" in sessions_then
    read = json.loads(again)["result"]
    assert (read["id"], read["status"]["state"]) == (task["id"], "completed")
    assert texts(read) == texts(task)


@needs_tools
def test_the_commands_of_both_rest_interfaces_show_what_they_say(checkout: Path, port: int) -> None:
    url = f"http://localhost:{port}"
    serve = f".venv/bin/llamastack-a2a serve --port {port} --knowledge {ROOT / 'docs'}"
    blocks_of_both = [*blocks("docs/rest.md", "bash"), *blocks("docs/llama-stack-api.md", "bash")]
    commands = [block.replace("localhost:8080", url) for block in blocks_of_both]
    start = f"mkdir .llamastack-a2a\n{serve} >{LOG} 2>&1 &"

    _start, _card, *printed, _stop = paste(
        [start, CARD.format(url), *commands, "kill %1"], checkout
    )

    asked, stream, text, feedback, conversations, models, inferred, refused, *more = printed
    turn, rows, scored, ranked = more
    assert json.loads(scored.removeprefix("null"))["scores"]["basic::subset_of"]["score_rows"]
    assert '"event_type":"turn_complete"' in turn
    assert "event_type" in turn.partition("\n")[0]
    assert re.findall(r'"expected_answer":"(.)"', rows.rpartition('{"data"')[2]) == ["4", "6"]
    assert json.loads(ranked)["data"][0]["index"] == 1
    conversation_id = json.loads(asked)["conversation_id"]
    assert json.loads(asked)["response"] == "warning: quota exceeded"
    assert conversation_id in stream.partition("\n")[0]
    assert '"event": "end"' in stream
    assert "\n---\n" in text
    assert json.loads(feedback) == {"response": "feedback received"}
    listed, deleted = (json.loads(line) for line in conversations.splitlines())
    assert listed["conversations"][0]["conversation_id"] == conversation_id
    assert deleted["response"] == "Conversation deleted successfully"
    assert json.loads(models)["models"][0]["identifier"] == "embedded/extractive"
    assert json.loads(inferred)["data"]["text"]
    assert json.loads(refused)["detail"]["response"] == "Provider not found"


@needs_tools
def test_the_stack_of_the_documentation_runs(checkout: Path, port: int) -> None:
    (example,) = blocks("docs/your-own-stack.md", "python")
    serve, send = blocks("docs/your-own-stack.md", "sh")
    (checkout / "my_stack.py").write_text(example)
    send = send.replace("8080", str(port))

    _serve, card, first, second, _stop = paste(
        [
            f"mkdir .llamastack-a2a\n{serve.strip()} --port {port} >{LOG} 2>&1 &",
            CARD.format(f"http://localhost:{port}"),
            send,
            send,
            "kill %1",
        ],
        checkout,
    )

    assert json.loads(card)["capabilities"]["streaming"]
    assert [first.strip(), second.strip()] == ["Message 1: Hello there", "Message 2: Hello there"]


@pytest.fixture(scope="module")
async def knowledge() -> AsyncIterator[Knowledge]:
    """Return the documentation, as the embedded stack searches it."""
    database = connect(make_url("sqlite://"))
    await database.open()
    await migrate(database)
    documents = Knowledge(database, ROOT / "docs")
    await documents.open()
    yield documents
    await documents.close()
    await database.close()


@pytest.mark.anyio
@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_a_new_user_asks_is_answered_from_the_right_section(
    knowledge: Knowledge, question: str
) -> None:
    answer = await find_answer(knowledge, UserMessage(question), ())

    assert [each.uri for each in answer.citations()][:1] == [QUESTIONS[question]]
