"""All that runs tasks, on a database that is open already: one engine is what one process would be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from sqlalchemy import update

from a2a_state.agents import Agents
from a2a_state.contexts import Contexts
from a2a_state.journal import Journal
from a2a_state.message_keys import MessageKeys
from a2a_state.tables import tasks as task_table
from a2a_state.tasks import Tasks
from agent.caller import Caller
from agent.conversations import Conversations
from agent.databases import make_quotas
from agent.engine import make_service
from agent.lease import Holder
from agent.model import (
    GetRequest,
    Message,
    Part,
    Role,
    SendRequest,
    SubscribeRequest,
    Task,
    TaskRequest,
)
from agent.push.push import Push
from agent.quotas.quotas import Quotas
from agent.recovery import Recovery
from agent.replay import numbered
from agent.runner import Runner
from agent.settings import Settings
from agent.state import State
from tests.fakes.scripted_stack import ScriptedStack, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from a2a_state.database import Database
    from agent.model import Event
    from agent.run import Run
    from tests.fakes.scripted_stack import Script

ANN = Caller("ann")
LEASE_SECONDS = 0.6


class Heard:
    """Who is told of tasks that settle: those after a turn, and those that waited, in order."""

    def __init__(self) -> None:
        self.turns: list[tuple[Caller, Task]] = []
        self.waits: list[tuple[Caller, Task]] = []

    def turn_ended(self, caller: Caller, task: Task) -> None:
        """Remember it."""
        self.turns.append((caller, task))

    def wait_ended(self, caller: Caller, task: Task) -> None:
        """Remember it."""
        self.waits.append((caller, task))


class Engine:
    """One process, as far as tasks go."""

    def __init__(
        self,
        script: Script,
        name: str,
        database: Database,
        settings: Settings,
        clock: Callable[[], int] | None,
    ) -> None:
        self.script = script
        self.is_dead = False
        self.database = database
        self.stack = ScriptedStack(settings.model_copy(update={"name": name}))
        self.journal = Journal(database)
        self.holder = Holder(LEASE_SECONDS)
        self.heard = Heard()
        self.state = State(
            self.journal,
            Tasks(database),
            MessageKeys(database),
            self.holder,
            listeners=(self.heard,),
        )
        self.conversations = Conversations(
            self.stack, "scripted", Contexts(database), Agents(database), settings
        )
        push = Push(settings, database, self.state.tasks)
        hands_over = settings.a2a.recovery != "fail"
        # Tests look after these themselves.
        self.quotas = make_quotas(settings, database)
        if self.quotas is not None and clock is not None:
            self.quotas = Quotas(settings, database, clock=clock)
        self.runner = Runner(
            self.conversations,
            self.state,
            push,
            settings.limits,
            hands_over=hands_over,
            quotas=self.quotas,
        )
        self.recovery = Recovery(settings, self.state, self.runner, self.conversations)
        self.service = make_service(
            settings,
            database,
            self.state,
            self.runner,
            self.conversations,
            push,
            ("text/plain",),
        )

    async def send(self, text: str = "hi", **fields: Any) -> Task:
        """Send a message; ``fields`` of the message or the request."""
        answer = await self.service.send(ANN, message(text, **fields))
        assert isinstance(answer, Task)
        return answer

    async def get(self, task_id: str) -> Task:
        """Return the task as it is stored."""
        return await self.service.get(ANN, GetRequest(task_id))

    async def cancel(self, task_id: str) -> Task:
        """Cancel."""
        return await self.service.cancel(ANN, TaskRequest(task_id))

    async def follow(self, task_id: str, last_event_id: int | None = None) -> Events:
        """Subscribe."""
        request = SubscribeRequest(task_id, last_event_id=last_event_id)
        return Events(await self.service.subscribe(ANN, request))

    def run_of(self, task_id: str) -> Run | None:
        """Return the run of a task."""
        return self.runner.run_of("ann", "", task_id)

    async def log(self, task_id: str) -> list[tuple[int, Event]]:
        """Return the whole log of a task."""
        return numbered(await self.state.tasks.log("ann", "", task_id, 0), 0)

    async def stored(self, task_id: str, text: str) -> None:
        """Wait until the task's stored answer has ``text``."""

        async def is_stored() -> bool:
            return answer_of(await self.get(task_id)) == text

        await until(is_stored)

    async def die(self) -> None:
        """Stop as kill -9 would: nothing more is written, and leases are left to run out."""
        self.is_dead = True
        self.journal._writer.cancel()
        await asyncio.wait([self.journal._writer])
        for job in self.runner._jobs.values():
            job.cancel()
        await self.database.write(
            lambda c: c.execute(
                update(task_table)
                .where(task_table.c.lease_holder == self.holder.name, task_table.c.lease_until > 0)
                .values(lease_until=1)
            )
        )

    async def bury(self) -> None:
        """End what waits for ever for a journal that writes no more."""
        while jobs := [job for job in self.runner._jobs.values() if not job.done()]:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs, timeout=0.1)


class Events:
    """What a follower hears: events with their numbers."""

    def __init__(self, followed: Any) -> None:
        self._news = followed.follow(_Plain(), 30.0)
        self._heard: list[tuple[int, Event]] = []

    async def next(self) -> tuple[int, Event]:
        """Return the next event."""
        while not self._heard:
            self._heard = list(await anext(self._news))
        return self._heard.pop(0)

    async def rest(self) -> list[tuple[int, Event]]:
        """Return all events up to the end."""
        heard, self._heard = self._heard, []
        async for events in self._news:
            heard += events
        return heard

    async def close(self) -> None:
        """Hear no more."""
        await self._news.aclose()


class _Plain:
    """Encodes nothing: the events themselves are what tests look at."""

    version = "plain"

    def event(self, event: Event) -> Any:
        return event


@asynccontextmanager
async def engine(
    script: Script,
    database: Database,
    *,
    clock: Callable[[], int] | None = None,
    **settings: Any,
) -> AsyncIterator[Engine]:
    """Run an engine; it stops as a server does that is told to. Its quotas live by ``clock``."""
    with scripted(script) as name, anyio.fail_after(15):
        running = Engine(script, name, database, Settings(**settings), clock)
        await running.journal.open()
        try:
            yield running
        finally:
            if running.is_dead:
                await running.bury()
            else:
                await running.runner.close()
                await running.journal.close()


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; an engine bounds the time of what is done in it."""
    while True:
        if await is_so():
            return
        await asyncio.sleep(0.01)


def message(text: str = "hi", **fields: Any) -> SendRequest:
    """Return a request; ``fields`` go to the message where it has them."""
    known = {name: fields.pop(name) for name in list(fields) if name in Message.__struct_fields__}
    said = Message(**{"message_id": "m-1", "role": Role.USER, "parts": [Part(text=text)], **known})
    return SendRequest(said, **fields)


def answer_of(task: Task) -> str:
    """Return the text of the task's answer."""
    return "".join(
        part.text or ""
        for artifact in task.artifacts
        if artifact.artifact_id == "answer"
        for part in artifact.parts
    )
