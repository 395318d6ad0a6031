"""The audit log: who did what to which object, and how it ended; one line of JSON each.

It holds ids and reasons, never content and nothing that was shown as credentials.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import msgspec

from agent.auth.attempts import could_be_guess
from agent.auth.network import network_of
from agent.dialects.errors import error_reason
from agent.errors import AgentError, Refused, SettingsError, TooManyStreams, TooManyTasks
from agent.held_back import HeldBack
from agent.line_file import LineFile
from agent.model import TaskState, timestamp
from agent.rpc_body import Disconnected
from agent.trail import Trail, begin_request, current_request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from a2a_state.tasks import TaskRow
    from agent.auth.base import Presented
    from agent.caller import Caller
    from agent.held_back import Line

logger = logging.getLogger(__name__)

TASK_ENDED = "TaskEnded"
DENIED = "PERMISSION_DENIED"
"""The reason of a refusal, also of one in the words of another surface."""

ABANDONED = "ABANDONED"
"""The reason of what nobody waited for the end of: the caller went away, or the server stopped."""

# ASCII only: nothing in an id can look like the end of a line, or move a terminal's cursor.
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Audit:
    """Writes it."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a path it goes to standard error."""
        self._file = LineFile(path)
        self._held_back = HeldBack(clock)
        self._lost = 0

    def __enter__(self) -> Self:
        """Open the file. Raises ``SettingsError``: what must be told may not go unheard."""
        with _telling_the_key():
            self._file.open()
        return self

    def check(self) -> None:
        """Raise what entering would, and leave no trace."""
        with _telling_the_key():
            self._file.check()

    def __exit__(self, *_exc: object) -> None:
        """Tell what was held back, and close the file."""
        for line in self._held_back.rest():
            self._put(line)
        self._file.close()

    @contextmanager
    def entering(self, presented: Presented) -> Iterator[Trail]:
        """Yield the trail of a request; what fails inside kept its sender out, who may be known by then."""
        begin_request(presented.headers.get("x-request-id"))
        trail = Trail(current_request_id(), presented.surface)
        started = time.perf_counter()
        try:
            yield trail
        except BaseException as exc:
            who = {"user_id": trail.user_id, "username": trail.username, "tenant": ""}
            who["address"] = presented.address
            line = _line(trail, who, None, _ending(exc), started)
            if _may_wait(exc, trail):
                kind = (network_of(presented.address), line.get("reason"))
                self._tell(*self._held_back.add(kind, line))
            else:
                self._tell(line)
            raise

    @contextmanager
    def recording(self, caller: Caller, operation: str) -> Iterator[Caller]:
        """Yield the caller as one who does ``operation``; how that ends is told when it has."""
        before = caller.trail
        trail = Trail(current_request_id(), "") if before is None else before.anew()
        trail.tenant = caller.tenant
        started = time.perf_counter()
        ending = {"outcome": "ok"}
        try:
            yield msgspec.structs.replace(caller, trail=trail)
        except BaseException as exc:
            ending = _ending(exc)
            raise
        finally:
            who = {"user_id": caller.user_id, "username": caller.username, "tenant": trail.tenant}
            if trail.owner is not None:
                who["owner"] = trail.owner
            who["address"] = caller.address
            self._tell(_line(trail, who, operation, ending, started))

    def ended(self, row: TaskRow, trail: Trail | None) -> None:
        """Tell how a task ended, and by which request it ran, where that is known."""
        failed = row.state in {TaskState.FAILED.value, TaskState.REJECTED.value}
        self._tell(
            {
                "time": timestamp(),
                "request_id": trail and trail.request_id,
                "operation": TASK_ENDED,
                "owner": row.owner,
                "tenant": row.tenant,
                "objects": {"task_id": row.task_id, "context_id": row.context_id},
                "outcome": "failed" if failed else "ok",
                "state": row.state,
            }
        )

    def _tell(self, *lines: Line) -> None:
        for line in (*lines, *self._held_back.due()):
            self._put(line)

    def _put(self, line: Line) -> None:
        try:
            self._file.write(_encode(line).encode("ascii") + b"\n")
        except OSError as exc:
            self._lost += 1
            if self._lost == 1:
                logger.error("The audit log cannot be written: %s", exc.strerror)  # noqa: TRY400 - a full disk has no bug to trace
        else:
            if self._lost:
                logger.warning(
                    "The audit log is written again; lines that may be lost: %d", self._lost
                )
                self._lost = 0


@contextmanager
def _telling_the_key() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        # All that it has to say is said.
        raise SettingsError("audit.path", f"cannot be written: {exc.strerror}") from None


def _line(
    trail: Trail,
    who: Mapping[str, str | None],
    operation: str | None,
    ending: Mapping[str, str],
    started: float,
) -> Line:
    return {
        "time": timestamp(),
        "request_id": trail.request_id,
        "surface": trail.surface,
        **who,
        "operation": operation,
        "objects": trail.objects,
        **ending,
        "duration_ms": round((time.perf_counter() - started) * 1000, 3),
    }


def _may_wait(exc: BaseException, trail: Trail) -> bool:
    """Tell whether this refusal of nobody could be had without end; of guesses there are few."""
    if trail.user_id is not None or _is_broken(exc):
        return False
    return not (trail.shows_credentials and could_be_guess(exc))


def _is_broken(exc: BaseException) -> bool:
    return isinstance(exc, Exception) and not isinstance(exc, (AgentError, Disconnected))


def _ending(exc: BaseException) -> dict[str, str]:
    if isinstance(exc, AgentError):
        reason = error_reason(exc)
        is_denied = isinstance(exc, (Refused, TooManyStreams, TooManyTasks)) or reason == DENIED
        return {"outcome": "denied" if is_denied else "failed", "reason": reason}
    return {"outcome": "failed", "reason": "INTERNAL_ERROR" if _is_broken(exc) else ABANDONED}
