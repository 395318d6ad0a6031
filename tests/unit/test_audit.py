"""The audit log: what its lines say, and that they reach the file whatever happens to that."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import stat
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import pytest

from a2a_state.tasks import TaskRow
from agent import rpc_answer
from agent.audit import Audit
from agent.auth.base import Presented
from agent.caller import Caller
from agent.dialects.v1_0 import Dialect1
from agent.errors import (
    AgentError,
    IdentityUnavailable,
    InvalidParams,
    MalformedCredentials,
    PermissionDenied,
    QuotaExceeded,
    SettingsError,
    TaskNotFound,
    TooManyAttempts,
    TooManyStreams,
    TooManyTasks,
    Unauthenticated,
)
from agent.http_json import status
from agent.model import TaskState
from agent.trail import ID_CHARS, Trail, begin_request, current_request_id, request_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOWN = Presented(
    {"authorization": "Bearer canary", "x-request-id": "r-1", "cookie": "canary"},
    b"token=canary",
    "192.0.2.7",
    "jsonrpc",
)
ANN = Caller("ann", username="Ann", address="192.0.2.7", trail=Trail("r-1", "grpc"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the log is."""
    return tmp_path / "audit.log"


@pytest.fixture
def audit(path: Path) -> Iterator[Audit]:
    """Return a log that is open."""
    with Audit(path) as opened:
        yield opened


def lines(path: Path) -> list[Any]:
    """Return what the log says; every line is one of ASCII, and ends."""
    text = path.read_bytes()
    assert text.isascii()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_says_who_did_what_to_which_object_and_how_it_ended(
    audit: Audit, path: Path
) -> None:
    """Ids only; the tenant and the owner are those that the operation found out."""
    with audit.recording(ANN, "CancelTask") as caller:
        within = caller.within("red")
        within.note("task_id", "t-1")
        within.acting_for("bob").note("context_id", "c-1")

    [line] = lines(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("duration_ms") >= 0
    assert line == {
        "request_id": "r-1",
        "surface": "grpc",
        "user_id": "ann",
        "username": "Ann",
        "tenant": "red",
        "owner": "bob",
        "address": "192.0.2.7",
        "operation": "CancelTask",
        "objects": {"task_id": "t-1", "context_id": "c-1"},
        "outcome": "ok",
    }


def test_operations_of_one_request_share_its_id_and_nothing_else(audit: Audit, path: Path) -> None:
    """A batch holds many."""
    for task_id in ("t-1", "t-2"):
        with audit.recording(ANN, "GetTask") as caller:
            caller.note("task_id", task_id)

    assert [(line["request_id"], line["objects"]) for line in lines(path)] == [
        ("r-1", {"task_id": "t-1"}),
        ("r-1", {"task_id": "t-2"}),
    ]
    assert ANN.trail is not None
    assert ANN.trail.objects == {}


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (PermissionDenied("canary"), "denied", "PERMISSION_DENIED"),
        (QuotaExceeded("canary"), "denied", "QUOTA_EXCEEDED"),
        (TooManyStreams(5), "denied", "TOO_MANY_STREAMS"),
        (TooManyTasks(5), "denied", "TOO_MANY_TASKS"),
        (TaskNotFound("canary"), "failed", "TASK_NOT_FOUND"),
        (ValueError("canary"), "failed", "INTERNAL_ERROR"),
        (asyncio.CancelledError("canary"), "failed", "ABANDONED"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_what_fails_is_told_by_its_reason(
    audit: Audit, path: Path, error: BaseException, outcome: str, reason: str
) -> None:
    """And goes on to whoever asked; its text may hold anything, and is not told."""
    with pytest.raises(type(error)), audit.recording(ANN, "GetTask"):
        raise error

    [line] = lines(path)
    assert (line["outcome"], line["reason"]) == (outcome, reason)
    assert "canary" not in json.dumps(line)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Unauthenticated("canary"), "UNAUTHENTICATED"), (TooManyAttempts(9), "TOO_MANY_ATTEMPTS")],
    ids=["unauthenticated", "too-many"],
)
def test_who_is_kept_out_is_nobody_from_an_address(
    audit: Audit, path: Path, error: AgentError, reason: str
) -> None:
    """With nothing of what was shown."""
    with pytest.raises(AgentError), audit.entering(SHOWN):
        raise error

    [line] = lines(path)
    assert (line["user_id"], line["username"], line["operation"]) == (None, None, None)
    assert (line["address"], line["surface"], line["request_id"]) == ("192.0.2.7", "jsonrpc", "r-1")
    assert (line["outcome"], line["reason"]) == ("denied", reason)
    assert "canary" not in json.dumps(line)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return what the test set."""
        return self.now


def refuse(audit: Audit, error: BaseException, *, shows: bool = True, address: str = "") -> None:
    """Have somebody kept out, of whom nothing is known."""
    presented = msgspec.structs.replace(SHOWN, address=address or SHOWN.address)
    with pytest.raises(type(error)):
        enter(audit, presented, error, shows_credentials=shows)


def enter(audit: Audit, presented: Presented, error: BaseException, **known: Any) -> NoReturn:
    """Come as far as that this much is known, and fail."""
    with audit.entering(presented) as trail:
        for name, value in known.items():
            setattr(trail, name, value)
        raise error


@pytest.mark.parametrize(
    ("error", "shows"),
    [
        (Unauthenticated("Nothing was shown"), False),
        (Unauthenticated("Expired", counts=False), True),
        (TooManyAttempts(9), True),
        (IdentityUnavailable("No answer"), True),
        (PermissionDenied("Not you"), True),
        (asyncio.CancelledError(), True),
    ],
    ids=["nothing-shown", "no-guess", "too-many", "unavailable", "denied", "gone"],
)
def test_refusals_that_can_be_had_without_end_are_told_once_a_second(
    path: Path, error: BaseException, shows: bool
) -> None:
    """For each address, with how many there were; of IPv6 for each network."""
    clock = Clock()
    with Audit(path, clock) as audit:
        for number in range(1000):
            refuse(audit, error, shows=shows)
            refuse(audit, error, shows=shows, address=f"2001:db8::{number + 1:x}")
        assert len(lines(path)) == 2
        clock.now += 1
        refuse(audit, error, shows=shows)

    told = [(line["address"], line.get("repeated")) for line in lines(path)]
    assert told == [
        (SHOWN.address, None),
        ("2001:db8::1", None),
        (SHOWN.address, 999),
        ("2001:db8::3e8", 998),
    ]


@pytest.mark.parametrize(
    "error",
    [Unauthenticated("A guess"), MalformedCredentials("A guess"), ValueError("ours")],
    ids=["wrong", "malformed", "broken"],
)
def test_guesses_which_are_limited_and_faults_of_ours_are_told_one_by_one(
    path: Path, error: BaseException
) -> None:
    with Audit(path, Clock()) as audit:
        for _ in range(20):
            refuse(audit, error)

    assert len(lines(path)) == 20


def test_nothing_that_a_known_caller_does_is_left_out(path: Path) -> None:
    """Nor what keeps out who is known, nor what they are forbidden to do."""
    with Audit(path, Clock()) as audit:
        for _ in range(20):
            did(audit, "GetTask")
            with pytest.raises(PermissionDenied), audit.recording(ANN, "GetTask"):
                raise PermissionDenied("Not you")
            with pytest.raises(InvalidParams):
                enter(audit, SHOWN, InvalidParams("MCP-HEADERS", "no JSON"), user_id="ann")

    assert len(lines(path)) == 60


def test_what_was_held_back_is_told_when_the_log_is_closed(path: Path) -> None:
    """And before, with the next line after a second."""
    clock = Clock()
    with Audit(path, clock) as audit:
        for _ in range(3):
            refuse(audit, TooManyAttempts(9))
        clock.now += 1
        did(audit, "One")
        assert [line.get("repeated") for line in lines(path)] == [None, None, 1]
        refuse(audit, TooManyAttempts(9))
        did(audit, "Two")
        assert operations(path) == [None, "One", None, "Two"]

    assert operations(path) == [None, "One", None, "Two", None]


def test_who_comes_in_is_told_by_what_they_do(audit: Audit, path: Path) -> None:
    """Not by a line of its own."""
    with audit.entering(SHOWN) as trail:
        assert (trail.request_id, trail.surface) == ("r-1", "jsonrpc")

    assert path.read_bytes() == b""


FORGED = 'x"}\n{"user_id":"root"}\r\u2028\u0085\x1b[2J\x00\ud800'


def test_no_id_can_forge_a_line_or_play_with_a_terminal(audit: Audit, path: Path) -> None:
    """Wherever callers can choose it."""
    caller = msgspec.structs.replace(ANN, owner=FORGED, username=FORGED, address=FORGED)
    with audit.recording(caller, "GetTask") as known:
        known.within(FORGED).note("task_id", FORGED)

    [line] = lines(path)
    assert line["user_id"] == line["tenant"] == line["objects"]["task_id"] == FORGED
    assert all(32 <= byte < 127 for byte in path.read_bytes()[:-1])


def test_ids_are_bounded(audit: Audit, path: Path) -> None:
    """Some are noted before they are checked."""
    with audit.recording(ANN, "GetTask") as caller:
        caller.note("task_id", "x" * 100_000)

    assert lines(path)[0]["objects"] == {"task_id": "x" * ID_CHARS}


@pytest.mark.parametrize("shown", [None, "", "two words", "x" * 129, "line\nfeed", "ümlaut"])
def test_a_request_id_that_cannot_be_one_is_replaced(shown: str | None) -> None:
    """By one that is nobody else's."""
    first, second = request_id_of(shown), request_id_of(shown)

    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


def test_a_request_has_one_id_whoever_tells_of_it(audit: Audit) -> None:
    """On every binding; the next request has another."""

    def served(shown: str | None) -> set[str]:
        headers = {} if shown is None else {"x-request-id": shown}
        with audit.entering(Presented(headers)) as trail:
            error = ValueError("canary")
            (info,) = rpc_answer.unexpected(error, Dialect1()).data
            (named,) = status.unexpected(error).more
            return {trail.request_id, current_request_id(), info["requestId"], named["requestId"]}

    assert served("r-1") == {"r-1"}
    (first,), (second,) = served(None), served("not one")
    assert len({first, second, "not one"}) == 3


def test_without_an_audit_log_the_id_that_is_shown_is_used_all_the_same() -> None:
    begin_request("r-2")
    assert status.unexpected(ValueError("canary")).more[0]["requestId"] == "r-2"
    begin_request(None)
    assert current_request_id() == current_request_id() != "r-2"


def test_a_good_request_id_is_kept() -> None:
    """So that the lines of several servers can be brought together."""
    assert request_id_of("0af7651916cd43dd-8448/eb21:1=") == "0af7651916cd43dd-8448/eb21:1="


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (TaskState.COMPLETED, "ok"),
        (TaskState.CANCELED, "ok"),
        (TaskState.FAILED, "failed"),
        (TaskState.REJECTED, "failed"),
    ],
)
def test_the_end_of_a_task_is_told(
    audit: Audit, path: Path, state: TaskState, outcome: str
) -> None:
    """With the request that it ran for, if this process knows that."""
    row = TaskRow(
        task_id="t",
        owner="ann",
        tenant="red",
        context_id="c",
        state=state.value,
        turn_id=None,
        body=b'{"canary": 1}',
        seq=1,
        fence=1,
        lease_holder="h",
        lease_until=0,
        created_at=1,
        updated_at=2,
        ended_at=2,
        request=b"canary",
        is_new=False,
    )
    audit.ended(row, Trail("r-1", "grpc"))
    audit.ended(row, None)

    known, unknown = lines(path)
    assert (known["request_id"], unknown["request_id"]) == ("r-1", None)
    del known["time"], known["request_id"]
    assert known == {
        "operation": "TaskEnded",
        "owner": "ann",
        "tenant": "red",
        "objects": {"task_id": "t", "context_id": "c"},
        "outcome": outcome,
        "state": state.value,
    }


def did(audit: Audit, name: str) -> None:
    """Have something told."""
    with audit.recording(ANN, name):
        pass


def operations(path: Path) -> list[str]:
    """Return what was told."""
    return [line["operation"] for line in lines(path)]


def test_the_file_is_its_owners_alone_and_is_added_to(path: Path) -> None:
    """What an earlier start wrote stays."""
    for name in ("One", "Two"):
        with Audit(path) as audit:
            did(audit, name)

    assert operations(path) == ["One", "Two"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_moved_away_is_followed_by_a_new_one(audit: Audit, path: Path) -> None:
    """As tools for log rotation do it: nothing needs to be told, and nothing is lost."""
    did(audit, "One")
    moved = path.rename(path.with_suffix(".1"))
    did(audit, "Two")
    path.unlink()
    did(audit, "Three")

    assert operations(moved) == ["One"]
    assert operations(path) == ["Three"]


def test_a_file_that_is_emptied_in_place_is_written_from_its_beginning(
    audit: Audit, path: Path
) -> None:
    """The other way of such tools: no hole is left before the next line."""
    did(audit, "One")
    os.truncate(path, 0)
    did(audit, "Two")

    assert operations(path) == ["Two"]


def test_two_that_write_to_one_file_write_whole_lines(audit: Audit, path: Path) -> None:
    """Each worker process has its own; they take turns by the line."""
    with Audit(path) as other:
        for number in range(50):
            did(audit, f"A{number}")
            did(other, f"B{number}")

    assert len(operations(path)) == 100


def test_where_no_new_file_can_be_had_the_old_one_goes_on(
    audit: Audit, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of the server tells once, and once more when it is well again."""
    moved = tmp_path / "moved"
    path.rename(moved)
    path.mkdir()
    did(audit, "One")
    did(audit, "Two")
    path.rmdir()
    did(audit, "Three")
    did(audit, "Four")

    assert operations(moved) == ["One", "Two"]
    assert operations(path) == ["Three", "Four"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "The audit log cannot be written: Is a directory"),
        (logging.WARNING, "The audit log is written again; lines that may be lost: 2"),
    ]


@pytest.mark.parametrize("kind", ["folder", "missing", "pipe"])
def test_what_cannot_be_written_keeps_the_server_from_starting(tmp_path: Path, kind: str) -> None:
    """Without waiting for whoever may read a pipe."""
    path = {"folder": tmp_path, "missing": tmp_path / "no/where", "pipe": tmp_path / "pipe"}[kind]
    if kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(SettingsError, match=r"^audit\.path: cannot be written: "), Audit(path):
        pass


def test_without_a_path_it_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Which stays open."""
    for name in ("One", "Two"):
        with Audit(None) as audit:
            did(audit, name)

    told = [json.loads(line)["operation"] for line in capfd.readouterr().err.splitlines()]
    assert told == ["One", "Two"]
