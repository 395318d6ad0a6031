"""Topics of conversations are named beside everything else, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import anyio
import anyio.lowlevel
import pytest

from agent.aside import Aside
from agent.caller import Caller
from agent.errors import QuotaExceeded, ResourceNotFound
from agent.inferences import Inferences
from agent.metrics import Metrics
from agent.quotas.charge import Charge
from agent.quotas.reserves import Reserve
from agent.settings import Settings
from agent.settings.own import Limits
from agent.stacks import BaseStack, Inferred, Usage
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.topics import TOPIC_CHARS, Topics

if TYPE_CHECKING:
    import asyncio

    from agent.stacks import Owner, TurnRequest

pytestmark = pytest.mark.anyio

ANN = Caller("ann")


class Naming(BaseStack):
    """Names what it is asked for when it is let go."""

    def __init__(self, says: str = "Foxes", usage: Usage | None = None) -> None:
        super().__init__(Settings())
        self.says = says
        self.usage = usage
        self.release = anyio.Event()
        self.asked = 0

    @override
    async def topic_of(self, question: str, owner: Owner, model: str | None = None) -> Inferred:
        self.asked += 1
        await self.release.wait()
        return Inferred(self.says, "p/m", self.usage)


class Kept:
    """Stands for the conversations and for the quotas, and keeps what they are told."""

    def __init__(self, missing: Exception | None = None) -> None:
        self.topics: list[tuple[str, str]] = []
        self.spent: list[tuple[str, Usage]] = []
        self.missing = missing

    async def set_topic(self, _caller: Caller, context_id: str, text: str) -> None:
        """Keep a topic."""
        if self.missing is not None:
            raise self.missing
        self.topics.append((context_id, text))

    async def admit(self, user_id: str, _request: TurnRequest, _held: int) -> Charge:
        """Let everybody in."""
        quotas: Any = self
        return Charge(quotas, user_id, Reserve([], 1), None)

    async def spend(self, user_id: str, usage: Usage, _model: str | None) -> None:
        """Keep what was spent."""
        self.spent.append((user_id, usage))


def backend(stack: BaseStack, kept: Kept, **limits: int) -> Backend:
    """Return a backend that has what topics need."""
    quotas: Any = kept
    others: dict[str, Any] = dict.fromkeys(Backend._fields)
    settings = Settings()
    known = {"settings": settings, "aside": Aside(Metrics(), None, None)}
    known |= {"inferences": Inferences(stack, Limits(**limits), quotas), "histories": kept}
    return Backend(**(others | known))


async def ended(*namings: asyncio.Task[None]) -> None:
    """Wait for the end of what names."""
    with anyio.fail_after(5):
        for naming in namings:
            await naming


@pytest.mark.parametrize(
    ("usage", "spent"),
    [
        (Usage(3, 2), Usage(3, 2)),
        (None, Usage(2, 2)),
        (Usage(0, 0), Usage(2, 2)),
    ],
    ids=["told", "not told", "nothing"],
)
async def test_what_a_topic_costs_is_estimated_where_it_is_not_told(
    usage: Usage | None, spent: Usage
) -> None:
    stack, kept = Naming("A topic", usage), Kept()
    stack.release.set()
    await ended(Topics(backend(stack, kept)).name(ANN, "foxes?", None, "c"))
    assert kept.topics == [("c", "A topic")]
    assert kept.spent == [("ann", spent)]


async def test_a_topic_is_one_line_and_not_a_long_one() -> None:
    stack, kept = Naming("a\n" * TOPIC_CHARS), Kept()
    stack.release.set()
    await ended(Topics(backend(stack, kept)).name(ANN, "?", None, "c"))
    topic = kept.topics[0][1]
    assert len(topic) == TOPIC_CHARS
    assert "\n" not in topic


async def test_only_so_many_of_one_owner_are_named_at_the_same_time() -> None:
    """Who comes too late has none, at once; others are not kept from theirs."""
    stack, kept = Naming(), Kept()
    topics = Topics(backend(stack, kept, running_tasks_per_owner=2))
    waiting = [topics.name(ANN, "?", None, str(number)) for number in range(2)]
    await anyio.lowlevel.checkpoint()
    await ended(topics.name(ANN, "?", None, "too late"))
    of_ben = topics.name(Caller("ben"), "?", None, "ben's")
    stack.release.set()
    await ended(*waiting, of_ben)
    assert sorted(kept.topics) == [("0", "Foxes"), ("1", "Foxes"), ("ben's", "Foxes")]
    await ended(topics.name(ANN, "?", None, "4"))
    assert kept.topics[-1] == ("4", "Foxes")


async def test_who_has_nothing_left_of_a_quota_has_no_topic() -> None:
    class Spent(Kept):
        async def admit(self, *_: Any) -> Charge:
            raise QuotaExceeded("User ann has no available tokens.")

    stack, kept = Naming(), Spent()
    stack.release.set()
    await ended(Topics(backend(stack, kept)).name(ANN, "?", None, "c"))
    assert (kept.topics, stack.asked) == ([], 0)


async def test_one_that_takes_too_long_is_given_up() -> None:
    stack, kept = Naming(), Kept()
    await ended(Topics(backend(stack, kept), seconds=0.01).name(ANN, "?", None, "c"))
    assert kept.topics == []


@pytest.mark.parametrize(
    "missing", [ResourceNotFound("conversation", "c"), RuntimeError()], ids=["known", "not"]
)
async def test_a_conversation_that_is_gone_by_then_is_nobodys_fault(missing: Exception) -> None:
    stack, kept = Naming(), Kept(missing)
    stack.release.set()
    await ended(Topics(backend(stack, kept)).name(ANN, "?", None, "c"))
    assert kept.topics == []
