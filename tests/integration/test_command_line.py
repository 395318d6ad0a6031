"""The command line: what it prints where, and what its exit codes mean."""

from __future__ import annotations

import json
import logging.config
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from agent.cli import exits, main
from agent.cli.serve import _announce, _free_port, _logging
from agent.settings import Settings
from tests.fakes.agents_server import ALL_PATHS
from tests.fakes.llama_stack import FakeLlamaStack
from tests.fakes.ports import free_port
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    type Run = Callable[..., int]

ROOT = Path(__file__).parents[2]
KNOWLEDGE = Path(__file__).parent.parent / "fakes" / "knowledge"
DATABASE_IS_DOWN = "a2a_state: {postgres: {host: 127.0.0.1, port: 1, db: d, user: u, password: p}}"
GROUPS = ("agents", "datasets", "eval", "inference", "post_training")
SOUND = f"a2a_state: {{memory: true}}\nknowledge: {KNOWLEDGE}\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return ``run(*arguments, config=text)``, which runs a command and returns its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])  # main adds the working directory

    def run(*arguments: str, config: str | None = None) -> int:
        if config is not None:
            (tmp_path / "config.yaml").write_text(config)
            arguments = (*arguments, "--config", "config.yaml")
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def test_check_says_that_all_is_well(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each thing that was checked."""
    assert run("check", config=SOUND) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["configuration", "ok:"],
        ["feedback", "not"],
        ["conversations", "no"],
        ["card", "ok:"],
        ["database", "ok:"],
        ["stack", "ok:"],
        *([group, "embedded:"] for group in GROUPS),
    ]


def test_check_names_settings_without_effect(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """They are no error: the file of an LCS that has them loads."""
    assert run("check", config=f"{SOUND}database: {{sqlite: {{db_path: lcs.db}}}}\n") == 0

    assert "without effect: database is not used" in capsys.readouterr().out


def test_to_check_another_stack_than_the_one_asked_for_is_wrong(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server starts, and would answer from its own documents."""
    library = "llama_stack: {use_as_library_client: true}\n"
    assert run("check", config=f"{SOUND}{library}") == 1

    out = capsys.readouterr().out
    assert "stack          wrong: not that of library mode, but the embedded one" in out
    assert "library_client_config_path is not set" in out


def test_check_tells_what_cannot_be_read_or_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What users would find out otherwise, with their first thumbs up; nothing is made."""
    (tmp_path / "file").touch()
    config = """
user_data_collection:
  {feedback_enabled: true, feedback_storage: file/x, transcripts_enabled: true, transcripts_storage: new/t}
splunk: {enabled: true, url: "https://splunk.test", token_path: gone, index: main}
"""
    assert run("check", config=SOUND + config) == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "wrong" in line] == [
        "files          wrong: user_data_collection.feedback_storage: file/x cannot be written to",
        "files          wrong: splunk.token_path: gone is no file that can be read",
    ]
    assert not (tmp_path / "new").exists()


def test_check_tells_that_a_llama_stack_has_another_model(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its turns would all fail."""
    config = "a2a_state: {memory: true}\ninference: {default_model: %s, default_provider: vllm}\n"
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(run_server(FakeLlamaStack().app)) as url,
    ):
        config += f"llama_stack: {{url: {url}}}\n"
        assert run("check", config=config % "small") == 0
        assert run("check", config=config % "vllm/other") == 0
        assert run("check", config=config % "nope") == 1

    said = "stack          wrong: inference.default_model nope is not served, but vllm/small, "
    assert said in capsys.readouterr().out


def test_check_tells_what_answers_the_experimental_api(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """By groups, and by operations where they differ; while the Llama Stack is away, as far as is known."""
    config = "a2a_state: {memory: true}\nllama_stack: {url: %s}\n"
    fake = FakeLlamaStack()
    fake.paths = ["/v1/models", *sorted(ALL_PATHS)]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(run_server(fake.app)) as url,
    ):
        assert run("check", config=config % url) == 0
    there = capsys.readouterr().out.splitlines()
    assert run("check", config=config % url) == exits.FAILED
    away = capsys.readouterr().out.splitlines()

    answered = {line.split()[0]: line.split()[1] for line in there if line.startswith(GROUPS)}
    assert answered == {
        "agents": "forwarded:",
        "datasets": "embedded:",
        "eval": "embedded:",
        "inference": "emulated:",
        "post_training": "forwarded:",
    }
    assert "                 GET /v1alpha/eval/benchmarks" in there
    assert "agents         unknown until the Llama Stack answers (12)" in away


def test_check_tells_where_data_is_kept(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what the file asks for, and without secrets."""
    (tmp_path / "token").touch()
    config = """
a2a_state: {memory: true}
user_data_collection:
  {feedback_enabled: true, feedback_storage: fb, transcripts_enabled: true, transcripts_storage: t}
conversation_cache:
  {type: postgres, postgres: {host: db.test, db: lcs, user: u, password: hush}}
quota_handlers: {enable_token_history: true}
splunk: {enabled: true, url: "https://u:hush@splunk.test/x", token_path: token, index: main}
"""
    assert run("check", config=config) == 0

    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    told = dict(line for line in lines if len(line) > 1)
    assert told["feedback"] == "fb"
    assert told["transcripts"] == "t"
    assert told["conversations"] == "postgresql+asyncpg://u:***@db.test:5432/lcs"
    assert told["quotas"] == "with the state"
    assert told["telemetry"] == "Splunk at splunk.test, index main"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("service: {prot: 1}", "service.prot"),
        (
            "authentication: {module: api-key-token, api_key_config: {api_key: two words}}",
            "authentication.api_key_config.api_key",
        ),
        ("authorization: {access_rules: [{role: a, actions: [fly]}]}", "authorization"),
    ],
)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_what_cannot_be_served_is_a_wrong_configuration(
    run: Run, capsys: pytest.CaptureFixture[str], command: str, config: str, key: str
) -> None:
    """Check says what serve would say."""
    assert run(command, config=f"{SOUND}{config}\n") == exits.USAGE

    assert capsys.readouterr().err.startswith(key)


JWK = "authentication: {module: jwk-token, jwk_config: {url: 'https://a.example', %s}}"
K8S = "authentication: {module: k8s, k8s_cluster_api: 'https://a.example', %s}"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("audit: {enabled: true, path: no/where.log}", "audit.path: cannot be written: No such"),
        ("audit: {enabled: true, path: .}", "audit.path: cannot be written: Is a directory"),
        (JWK % "ca_cert_path: gone.pem", "authentication.jwk_config.ca_cert_path: is not a file"),
        (K8S % "k8s_ca_cert_path: gone.pem", "authentication.k8s_ca_cert_path: holds no cert"),
    ],
    ids=["no folder", "a folder", "jwk-token", "k8s"],
)
def test_check_tries_the_files_that_serve_needs(
    run: Run, capsys: pytest.CaptureFixture[str], config: str, said: str
) -> None:
    assert run("check", config=f"{SOUND}{config}\n") == exits.USAGE

    assert capsys.readouterr().err.startswith(said)


def test_check_makes_no_audit_log(run: Run, tmp_path: Path) -> None:
    """It would belong to whoever checks."""
    path = tmp_path / "audit.log"
    config = f"{SOUND}audit: {{enabled: true, path: {path}}}\n"

    assert run("check", config=config) == 0
    assert not path.exists()

    path.write_text("told\n")
    assert run("check", config=config) == 0
    assert path.read_text() == "told\n"


def test_check_makes_no_database(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It tells whether that can be made, and has nothing against one that is there."""
    config = f"knowledge: {KNOWLEDGE}\na2a_state: {{sqlite: {{db_path: %s}}}}\n"
    assert run("check", config=config % "new/state.db") == 0
    assert "state.db (to be made: " in capsys.readouterr().out
    assert not (tmp_path / "new").exists()

    (tmp_path / "file").touch()
    assert run("check", config=config % "file/state.db") == exits.FAILED
    assert "database       wrong: file cannot be written to" in capsys.readouterr().out

    assert run("migrate", config=config % "state.db") == 0
    assert run("check", config=config % "state.db") == 0
    assert "state.db (" not in capsys.readouterr().out


def test_check_warns_as_serve_does(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    config = "authentication: {module: jwk-token, jwk_config: {url: 'http://a.example'}}"

    assert run("check", config=f"{SOUND}{config}\n") == 0

    assert "WARNING: ANYBODY ON THE WAY CAN MAKE TOKENS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "option"),
    [
        ({}, None),
        ({"module": "noop-with-token"}, '-H "Authorization: Bearer $TOKEN"'),
        ({"module": "rh-identity"}, '-H "x-rh-identity: $IDENTITY"'),
    ],
    ids=["noop", "noop-with-token", "rh-identity"],
)
def test_the_example_shows_what_the_module_wants(
    capsys: pytest.CaptureFixture[str], module: dict[str, Any], option: str | None
) -> None:
    _announce(Settings.model_validate({"authentication": module}))

    [example] = [line for line in capsys.readouterr().err.splitlines() if "curl" in line]
    headers = [word for word in shlex.split(example) if ": " in word and "{" not in word]
    assert headers == [*shlex.split(option or "")[1:], "Content-Type: application/json"]


def test_check_says_which_part_is_wrong(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are checked all the same."""
    config = f"{SOUND}customization: {{agent_card_config: {{name: n}}}}\n"

    assert run("check", config=config) == exits.FAILED

    out = capsys.readouterr().out
    assert "card           wrong: customization.agent_card_config.description: is missing" in out
    assert "stack          ok:" in out


def test_migrate_says_what_it_did(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time there is nothing to do."""
    config = "a2a_state: {sqlite: {db_path: folder/state.db}}"
    said = []
    for _ in range(2):
        assert run("migrate", config=config) == 0
        said.append(capsys.readouterr().out.rstrip().rpartition(" ")[2])

    assert said == ["now.", "already."]


@pytest.mark.parametrize("arguments", [("card",), ("send", "--json")])
def test_an_agent_that_is_not_there_cannot_be_reached(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """One line on standard error, whatever was to be done."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    text = ["hello"] if arguments[0] == "send" else []

    assert run(*arguments, url, *text) == exits.UNREACHABLE

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"Cannot talk to {url}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "workers", "code", "said"),
    [
        *(
            (
                DATABASE_IS_DOWN,
                workers,
                exits.FAILED,
                "The state database cannot be reached. ([Errno",
            )
            for workers in (1, 2)
        ),
        (f"{SOUND}agent: {{input_shields: [s]}}", 1, exits.USAGE, "agent.input_shields: needs"),
        (
            f"{SOUND}audit: {{enabled: true, path: no/where}}",
            1,
            exits.USAGE,
            "audit.path: cannot be written: No such file or directory\n",
        ),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, config: str, workers: int, code: int, said: str
) -> None:
    """No tracebacks for what is no fault of the program's."""
    (tmp_path / "config.yaml").write_text(config)
    serve = ["serve", "--config", "config.yaml", "--port", "0", "--workers", str(workers)]
    ended = subprocess.run(
        [sys.executable, "-c", "from agent.cli import main; main()", *serve],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_free_port_is_found_on_ipv6_too() -> None:
    """The card names the port, so it is chosen before the server listens."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    assert _free_port("::1") > 0


@pytest.mark.parametrize("colored", [True, False])
def test_the_log_is_colored_or_not(colored: bool) -> None:
    """``service.color_log`` decides, on a terminal."""
    line = _logging(colored=colored)["formatters"]["line"]
    formatter = logging.config.DictConfigurator({"version": 1}).configure_formatter(line)
    record = logging.LogRecord("agent", logging.WARNING, "", 1, "said", None, None)

    assert ("\x1b[" in formatter.format(record)) is colored


@pytest.mark.parametrize("recovery", ["resume", "fail"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_who_follows_a_task_hears_that_the_server_was_stopped(
    tmp_path: Path, workers: str, recovery: str
) -> None:
    """The task ends, or somebody else goes on with it; the server stops when all have heard."""
    (tmp_path / "config.yaml").write_text(
        "a2a_state: {sqlite: {db_path: state.db}}\n"
        f"a2a: {{recovery: {recovery}, drain_seconds: 0.5}}\n"
    )
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", workers]
    program = str(Path(sys.executable).with_name("llamastack-a2a"))
    server = subprocess.Popen(
        [program, "serve", "-c", "config.yaml", "--stack", "tests.load.stack:BenchStack", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        events = _streamed(port, "hold:60000:x")
        assert "task" in next(events)["result"]
        server.terminate()
        *_, last = events
        if recovery == "fail":
            state = last["result"]["statusUpdate"]["status"]["state"]
            assert state == "TASK_STATE_FAILED"
        else:
            assert last["error"]["code"] == -32053
        assert server.wait(15) is not None
    finally:
        server.kill()
        server.wait()


def _streamed(port: int, text: str) -> Iterator[Any]:
    """Send a message, once the server is up, and yield the responses that are streamed."""
    message = {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": text}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage"}
    transport = httpx.HTTPTransport(retries=8)
    with (
        httpx.Client(transport=transport, timeout=30) as client,
        client.stream(
            "POST",
            f"http://127.0.0.1:{port}/a2a",
            json={**call, "params": {"message": message}},
        ) as response,
    ):
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))
