"""All that runs turns, put together; the bindings are around it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from a2a_state.agents import Agents
from a2a_state.contexts import Contexts
from a2a_state.deletion import Deletion
from a2a_state.histories import ConversationSearch
from a2a_state.journal import Journal
from a2a_state.message_keys import MessageKeys
from a2a_state.migrate import migrate
from a2a_state.tasks import Tasks
from agent.aside import Aside, make_aside
from agent.audit import Audit
from agent.cancellation import Cancellation
from agent.conversation_cache import make_cache
from agent.conversations import Conversations
from agent.databases import make_database, make_quotas
from agent.follow_up import FollowUps
from agent.histories import Histories
from agent.idempotency import Idempotency
from agent.inferences import Inferences
from agent.lease import Holder
from agent.message_check import MessageCheck
from agent.messages import Messages
from agent.push.push import Push
from agent.recovery import Recovery
from agent.removal import Removal
from agent.repeats import Repeats
from agent.retention import Retention
from agent.runner import Runner
from agent.service import Parts, Service
from agent.signing import signing_key
from agent.stacks.choice import choose_stack
from agent.state import State
from agent.task_page import TaskList

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from agent.listener import TurnListener
    from agent.quotas.quotas import Quotas
    from agent.settings import Settings
    from agent.stacks import Stack


class Part(Protocol):
    """What is opened, and closed whatever came of that."""

    async def open(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End; safe to call when ``open`` failed."""


class Engine(NamedTuple):
    """The stack, what is remembered, what runs tasks, and the operations on them."""

    database: Database
    stack: Stack
    conversations: Conversations
    state: State
    runner: Runner
    recovery: Recovery
    service: Service
    push: Push
    retention: Retention
    aside: Aside
    histories: Histories
    inferences: Inferences
    quotas: Quotas | None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open everything in order, and close it in reverse."""
        async with AsyncExitStack() as opened:
            if self.state.audit is not None:
                opened.enter_context(self.state.audit)
            opened.push_async_callback(self.database.close)
            await self.database.open()
            await migrate(self.database)
            await self.state.journal.open()
            opened.push_async_callback(self.state.journal.close)
            for part in self._parts():
                await open_part(opened, part)
            opened.push_async_callback(self.runner.close)
            opened.push_async_callback(self.recovery.close)
            await self.recovery.open()
            yield

    def _parts(self) -> tuple[Part | None, ...]:
        kept = (self.retention, self.push, self.quotas, self.state.cache)
        return (self.stack, *kept, *self.aside.parts)


async def open_part(opened: AsyncExitStack, part: Part | None) -> None:
    """Open a part, if there is one, and have it closed."""
    if part is not None:
        opened.push_async_callback(part.close)
        await part.open()


def make_engine(settings: Settings, input_modes: tuple[str, ...]) -> Engine:
    """Return what the settings say; nothing is opened. Raises ``SettingsError``.

    ``input_modes`` are those of the card.
    """
    database = make_database(settings)
    stack_name, stack = choose_stack(settings, database)
    aside = make_aside(settings, database)
    state = make_state(settings, database, aside.listeners)
    contexts, agents = Contexts(database), Agents(database)
    conversations = Conversations(stack, stack_name, contexts, agents, settings)
    push = Push(settings, database, state.tasks, signing_key(settings))
    quotas = make_quotas(settings, database)
    runner = Runner(
        conversations,
        state,
        push,
        settings.limits,
        # What is only in memory ends with the process.
        hands_over=settings.a2a.recovery != "fail" and not database.in_memory,
        quotas=quotas,
    )
    service = make_service(settings, database, state, runner, conversations, push, input_modes)
    return Engine(
        database=database,
        stack=stack,
        conversations=conversations,
        state=state,
        runner=runner,
        recovery=Recovery(settings, state, runner, conversations),
        service=service,
        push=push,
        retention=Retention(database, settings.retention),
        aside=aside,
        histories=Histories(database, service, settings.limits, state.cache),
        inferences=Inferences(stack, settings.limits, quotas),
        quotas=quotas,
    )


def make_service(
    settings: Settings,
    database: Database,
    state: State,
    runner: Runner,
    conversations: Conversations,
    push: Push,
    input_modes: tuple[str, ...],
) -> Service:
    """Return the operations, on what runs them."""
    idempotency = Idempotency(state.journal, state.keys)
    repeats = Repeats(idempotency, state, runner)
    follow_ups = FollowUps(settings, state, runner)
    check = MessageCheck(settings.limits, input_modes)
    messages = Messages(check, state, runner, idempotency, repeats, follow_ups, push)
    cancellation = Cancellation(state, runner, conversations)
    pages = TaskList(database, settings.limits.answer_bytes)
    removal = Removal(Deletion(database), ConversationSearch(database), conversations, state.cache)
    parts = Parts(runner, messages, repeats, cancellation, pages, removal, push)
    return Service(settings, state, parts)


def make_state(
    settings: Settings, database: Database, listeners: tuple[TurnListener, ...] = ()
) -> State:
    """Return what is remembered there, and who hears of turns: the cache, too, if there is one."""
    holder = Holder(settings.a2a.lease_seconds)
    audit = Audit(settings.audit.path) if settings.audit.enabled else None
    cache = make_cache(settings, database)
    if cache is not None:
        listeners = (*listeners, cache)
    journal, keys = Journal(database), MessageKeys(database)
    return State(journal, Tasks(database), keys, holder, audit, cache, listeners)
