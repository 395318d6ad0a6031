"""A turn that runs, as the agents API streams it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import stacks
from agent.agents.attachments import is_attachment
from agent.agents.failures import failure_of
from agent.agents.step_builder import StepBuilder
from agent.agents.turn_view import TURNS, shown_turn
from agent.dialects.plain import PLAIN
from agent.errors import ResourceNotFound, ServerStopping, StreamEnded, TaskNotFound
from agent.model import SETTLED, ArtifactUpdate, StatusUpdate, Task, TaskState, timestamp
from agent.task_builder import TaskBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from agent.agents.base import Json
    from agent.following import Followed
    from agent.model import Event, Metadata

    type Find = Callable[[], Awaitable[object]]
    """Finds the session again; raises ``ResourceNotFound``."""

    type Read = Callable[[str], Awaitable[Json]]
    """Reads a turn as it is stored; None for what is none."""

GOES_ON = "The server is stopping. The turn will be in its session."
SILENT = "Nothing was heard of the turn for too long. It goes on, and will be in its session."
_ENDS = (
    stacks.TurnCompleted,
    stacks.InputRequired,
    stacks.Rejected,
    stacks.DirectMessage,
)


class Heard:
    """What the stack says of a turn in this process, to be told as soon as the task allows."""

    def __init__(self) -> None:
        """Nothing is heard."""
        self._events: list[tuple[stacks.TurnEvent, str]] = []
        self._at = ""
        self._listens = True

    def hear(self, event: stacks.TurnEvent) -> None:
        """Take note of an event; of pieces of text, which are many, the time does not matter."""
        if not self._listens:
            return
        if type(event) is not stacks.TextDelta or not self._at:
            self._at = timestamp()
        self._events.append((event, self._at))

    def stop(self) -> None:
        """Hear no more: nobody takes it."""
        self._listens = False
        self._events.clear()

    def take(self) -> Sequence[tuple[stacks.TurnEvent, str]]:
        """Return what has been heard since."""
        events, self._events = self._events, []
        return events


class Resumed:
    """What a turn goes on with: its ``steps`` so far, and results for ``calls`` that it waits for."""

    def __init__(
        self, steps: Sequence[Json], calls: Sequence[Json], results: dict[str, str]
    ) -> None:
        """``results`` are by the ids of the calls; calls to approve have none."""
        self.steps = steps
        self.calls = calls
        self.results = results
        self.at = timestamp()


class RunningTurn:
    """See ``TurnStream``. The turn goes on when this is closed, and is in the session in the end."""

    def __init__(
        self,
        followed: Followed,
        heard: Heard,
        session_id: str,
        idle: float,
        find: Find,
        read: Read,
        resumed: Resumed | None = None,
    ) -> None:
        """``idle`` is how many seconds of silence are too many."""
        self._news = followed.follow(PLAIN, idle)
        self._heard = heard
        self._session_id = session_id
        self._find = find
        self._read = read
        self._resumed = resumed
        self._steps: StepBuilder | None = None
        self._task: TaskBuilder | None = None
        self._whole = False
        self._chunks: AsyncGenerator[Json] | None = None

    def chunks(self) -> AsyncIterator[Json]:
        """See ``TurnStream``."""
        self._chunks = self._told()
        return self._chunks

    async def aclose(self) -> None:
        """Hear no more; the turn goes on."""
        self._heard.stop()
        if self._chunks is not None:
            await self._chunks.aclose()
        await self._news.aclose()

    async def _told(self) -> AsyncGenerator[Json]:
        try:
            async for events in self._news:
                if not events:
                    raise StreamEnded(SILENT)
                end = self._take(events)
                for payload in self._drain():
                    yield {"event": {"payload": payload}}
                if end is not None:
                    yield {"event": {"payload": await self._last(end.metadata)}}
                    return
        except ServerStopping as exc:
            raise ServerStopping(exc.retry_after, GOES_ON) from exc
        except TaskNotFound as exc:
            raise ResourceNotFound("session", self._session_id) from exc

    def _take(self, events: Sequence[tuple[int | None, Event]]) -> StatusUpdate | None:
        """Take note of what the task says; returns its end."""
        end: StatusUpdate | None = None
        for _, event in events:
            if isinstance(event, Task) and self._task is None:
                self._begin(event)
            elif isinstance(event, ArtifactUpdate) and self._task is not None:
                # The steps have the answer.
                if is_attachment(event.artifact):
                    self._task.apply(event)
            elif isinstance(event, StatusUpdate) and self._task is not None:
                self._task.apply(event)
                if self._steps is not None and "recovery" in (event.metadata or {}):
                    self._steps.begin_again()
                if event.status.state in SETTLED:
                    end = event
        return end

    def _begin(self, task: Task) -> None:
        self._task = TaskBuilder(task)
        resumed = self._resumed
        self._steps = StepBuilder(task.id, resumed.steps if resumed is not None else ())
        if resumed is not None:
            self._steps.resume(resumed.calls, resumed.results, resumed.at)

    def _drain(self) -> Sequence[Json]:
        """Return what has been heard since as payloads."""
        if self._steps is None:
            return ()
        payloads: list[Json] = []
        for event, at in self._heard.take():
            payloads += self._steps.hear(event, at)
            self._whole = self._whole or isinstance(event, _ENDS)
        return payloads

    async def _last(self, metadata: Metadata) -> Json:
        """Return the payload that ends the turn; raises ``AgentError`` for one that has failed."""
        assert self._task is not None  # noqa: S101 - its end came after its beginning
        assert self._steps is not None  # noqa: S101 - the same
        task = self._task.task()
        state = task.status.state
        if state not in TURNS:
            if state is TaskState.CANCELED:
                # It may have been deleted with its session.
                await self._find()
            raise failure_of(task, metadata)
        turn: Json = None
        if not self._whole:
            # Another process has gone on with it.
            turn = await self._read(task.id)
        turn = turn or shown_turn(task, self._session_id, self._steps.steps, 0)
        waits = state is TaskState.INPUT_REQUIRED
        return {"event_type": "turn_awaiting_input" if waits else "turn_complete", "turn": turn}
