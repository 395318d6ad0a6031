"""Events for Splunk over real TLS: what is sent, and that nobody waits for it or hears of its faults."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.backlog import MOST, MOST_SIZE, TOLD_SECONDS, Backlog
from agent.errors import StateUnavailable
from agent.settings import Settings
from agent.splunk import AT_ONCE, Splunk, make_splunk
from tests.fakes.certificates import Authority
from tests.fakes.ports import free_port
from tests.fakes.server import run_server
from tests.fakes.webhooks import Webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.fakes.webhooks import Posted

pytestmark = pytest.mark.anyio

TOKEN = "hec-canary-7f3a"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the file of an authority, and that of a certificate that it has signed."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    return authority.file, authority.certificate()


@pytest.fixture
def trusted(certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have this process trust the authority; returns the collector's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[0]))
    return certificates[1]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """Return the file that holds the token."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def settings(url: str, token: Path, **more: Any) -> Settings:
    """Return settings that ask for events."""
    splunk = {"enabled": True, "url": url, "token_path": token, "index": "rhel", **more}
    return Settings.model_validate({"splunk": splunk})


@asynccontextmanager
async def collecting(certificate: Path | None, *answers: Any) -> AsyncIterator[Webhook]:
    """Serve a collector, over TLS if there is a certificate."""
    collector = Webhook(*answers)
    async with run_server(collector, certificate=certificate) as url:
        collector.url = f"{url}/services/collector"
        yield collector


@asynccontextmanager
async def sending(url: str, token: Path, **more: Any) -> AsyncIterator[Splunk]:
    """Run what sends events."""
    splunk = Splunk(settings(url, token, **more))
    with anyio.fail_after(20):
        await splunk.open()
        try:
            yield splunk
        finally:
            await splunk.close()


def events(posted: Posted) -> list[dict[str, Any]]:
    """Return the events of one request, as Splunk reads them: one JSON object after another."""
    found: list[dict[str, Any]] = []
    decoder, text = json.JSONDecoder(), posted.body.decode()
    while text := text.lstrip():
        event, end = decoder.raw_decode(text)
        found.append(event)
        text = text[end:]
    return found


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of losses."""
    return [each.getMessage() for each in caplog.records if each.getMessage().startswith("Lost ")]


async def test_an_event_has_the_envelope_of_splunk_and_the_token(
    trusted: Path, token: Path
) -> None:
    async with (
        collecting(trusted, 200) as collector,
        sending(collector.url, token, source="lcs") as splunk,
    ):
        splunk.tell("infer_with_llm", {"question": "Warum?", "nested": {"a": [1]}})
        await splunk.close()

    (posted,) = collector.posted
    assert posted.path == "/services/collector"
    assert posted.headers["authorization"] == f"Splunk {TOKEN}"
    (event,) = events(posted)
    assert event.keys() == {"time", "host", "source", "sourcetype", "index", "event"}
    assert isinstance(event["time"], int)
    assert event["host"]
    assert event["source"].startswith("lcs (v")
    assert (event["index"], event["sourcetype"]) == ("rhel", "infer_with_llm")
    assert event["event"] == {"question": "Warum?", "nested": {"a": [1]}}


async def test_events_that_come_while_one_is_sent_go_together(trusted: Path, token: Path) -> None:
    entered, leave = anyio.Event(), anyio.Event()

    async def slowly() -> int:
        entered.set()
        await leave.wait()
        return 200

    async with collecting(trusted, slowly) as collector, sending(collector.url, token) as splunk:
        splunk.tell("one", {"number": 0})
        await entered.wait()
        for number in range(1, AT_ONCE + 2):
            splunk.tell("one", {"number": number})
        leave.set()

    sizes = [len(events(posted)) for posted in collector.posted]
    assert sizes == [1, AT_ONCE, 1]
    heard = [event["event"]["number"] for posted in collector.posted for event in events(posted)]
    assert heard == list(range(AT_ONCE + 2))


async def test_the_token_is_read_for_each_request(trusted: Path, token: Path) -> None:
    first = anyio.Event()

    async def one() -> int:
        first.set()
        return 200

    async with collecting(trusted, one) as collector, sending(collector.url, token) as splunk:
        splunk.tell("one", {})
        await first.wait()
        await anyio.Path(token).write_text("another")
        splunk.tell("two", {})

    shown = [posted.headers["authorization"] for posted in collector.posted]
    assert shown == [f"Splunk {TOKEN}", "Splunk another"]


@pytest.mark.parametrize("content", [b"", b"two words", b"caf\xc3\xa9", b"line\nfeed", None])
async def test_what_can_be_no_token_is_not_sent(
    content: bytes | None, trusted: Path, token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if content is None:
        await anyio.Path(token).unlink()
    else:
        await anyio.Path(token).write_bytes(content)
    async with collecting(trusted) as collector, sending(collector.url, token) as splunk:
        splunk.tell("one", {})

    assert collector.posted == []
    (line,) = told(caplog)
    assert "splunk.token_path" in line


@pytest.mark.parametrize("answer", [403, 503, 302])
async def test_what_splunk_does_not_take_is_told_without_the_token_or_the_url(
    answer: int, trusted: Path, token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agent")
    async with collecting(trusted, answer) as collector:
        url = collector.url.replace("https://", "https://user:canary-password@")
        async with sending(url, token) as splunk:
            splunk.tell("one", {"question": "canary-question"})

    assert len(collector.posted) == 1
    (line,) = told(caplog)
    assert line == (f"Lost events for Splunk: 1; Splunk HEC request failed with status {answer}")
    own = [each for each in caplog.records if each.name.startswith("agent")]
    assert not [each for each in own if "canary" in f"{each.getMessage()}{each.exc_info}"]


async def test_a_certificate_of_nobody_we_trust_is_refused(
    certificates: tuple[Path, Path], token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        collecting(certificates[1]) as collector,
        sending(collector.url, token) as splunk,
    ):
        splunk.tell("one", {})

    assert collector.posted == []
    assert "cannot be reached" in told(caplog)[0]


async def test_without_verification_any_certificate_will_do_and_the_log_says_so(
    certificates: tuple[Path, Path], token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        collecting(certificates[1], 200) as collector,
        sending(collector.url, token, verify_ssl=False) as splunk,
    ):
        splunk.tell("one", {})

    assert len(collector.posted) == 1
    assert "verify_ssl" in caplog.text


async def test_a_splunk_that_is_not_there_is_told_of_and_harms_nobody(
    token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(f"http://127.0.0.1:{free_port()}/x", token) as splunk:
        splunk.tell("one", {})

    assert "cannot be reached" in told(caplog)[0]


async def test_a_splunk_that_never_answers_holds_nobody_up(
    token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entered, leave = anyio.Event(), anyio.Event()

    async def never() -> int:
        entered.set()
        await leave.wait()
        return 200

    async with collecting(None, never) as collector:
        splunk = Splunk(settings(collector.url, token, timeout=3600))
        splunk._backlog.patience = 0.01
        with anyio.fail_after(20):
            await splunk.open()
            splunk.tell("one", {})
            await entered.wait()
            splunk.tell("two", {})
            await splunk.close()
        leave.set()

    assert told(caplog) == ["Lost events for Splunk: 2; the server stops"]


async def test_the_time_out_of_the_settings_ends_a_request(
    token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave = anyio.Event()

    async def never() -> int:
        await leave.wait()
        return 200

    async with collecting(None, never, 200) as collector:
        splunk = Splunk(settings(collector.url, token))
        splunk._seconds = 0.05  # type: ignore[assignment]
        with anyio.fail_after(20):
            await splunk.open()
            splunk.tell("one", {})
            await splunk.close()
        leave.set()

    assert "did not answer in time" in told(caplog)[0]


@pytest.mark.parametrize("given", [None, {"enabled": False}])
def test_nothing_is_sent_unless_it_is_asked_for(given: Any) -> None:
    assert make_splunk(Settings.model_validate({"splunk": given})) is None


# The queue that transcripts have, too.


class Worker:
    """Does what it is given, or what goes wrong with it."""

    def __init__(self, *faults: BaseException) -> None:
        self.done: list[int] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self._faults = list(faults)

    async def __call__(self, items: Sequence[int]) -> None:
        """Work."""
        self.begun.set()
        await self.gate.wait()
        if self._faults:
            raise self._faults.pop(0)
        self.done += items


async def test_what_waits_is_done_before_the_server_stops() -> None:
    worker = Worker()
    worker.gate.set()
    backlog: Backlog[int] = Backlog("things", worker)
    backlog.add(1)
    await backlog.open()
    for number in range(2, 10):
        backlog.add(number)
    await backlog.close()

    assert worker.done == list(range(1, 10))
    backlog.add(10)
    assert worker.done == list(range(1, 10))


async def test_too_much_is_refused_by_number_and_told_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    worker = Worker()
    backlog: Backlog[int] = Backlog("things", worker, clock=lambda: now[0])
    for number in range(MOST + 3):
        backlog.add(number)
    assert told(caplog) == ["Lost things: 1; too many of them wait"]
    now[0] += TOLD_SECONDS
    backlog.add(-1)
    assert told(caplog)[1:] == ["Lost things: 3; too many of them wait"]
    worker.gate.set()
    await backlog.open()
    await backlog.close()

    assert worker.done == list(range(MOST))


async def test_too_much_is_refused_by_size_but_never_what_is_alone() -> None:
    worker = Worker()
    backlog: Backlog[int] = Backlog("things", worker)
    backlog.add(1, MOST_SIZE * 2)
    backlog.add(2, 1)
    await backlog.open()
    await worker.begun.wait()
    backlog.add(3, MOST_SIZE)
    backlog.add(4, 1)
    worker.gate.set()
    await backlog.close()

    assert worker.done == [1, 3]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (StateUnavailable(), "The state database cannot be reached."),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("canary"), "it broke"),
    ],
    ids=["ours", "disk", "bug"],
)
async def test_what_goes_wrong_ends_nothing(
    fault: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(fault)
    worker.gate.set()
    backlog: Backlog[int] = Backlog("things", worker)
    await backlog.open()
    backlog.add(1)
    backlog.add(2)
    await backlog.close()

    assert worker.done == [2]
    assert told(caplog) == [f"Lost things: 1; {reason}"]
