"""What is asked once for everybody, and believed for a while."""

from __future__ import annotations

import asyncio

import pytest

from agent.errors import StackTimeout
from agent.settings import Settings
from agent.stacks.embedded.agent_config import config_of
from agent.stacks.offered import Remembered

pytestmark = pytest.mark.anyio


class Asked:
    """Counts how often it is asked; ``wrong`` is raised instead of an answer."""

    def __init__(self) -> None:
        self.times = 0
        self.now = 0.0
        self.wrong: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self) -> int:
        """Answer with how often it was asked, once it may."""
        self.times += 1
        times = self.times
        await self.may_answer.wait()
        if self.wrong is not None:
            raise self.wrong
        return times

    def remembered(self) -> Remembered[int]:
        """Return what believes the answer for half a minute."""
        return Remembered(self, seconds=30, clock=lambda: self.now)


async def test_an_answer_is_believed_for_a_while() -> None:
    asked = Asked()
    remembered = asked.remembered()
    told = []
    for now in (0, 29.9, 30, 59, 61):
        asked.now = now
        told.append(await remembered.get())
    assert told == [1, 1, 2, 2, 3]


async def test_a_failure_is_told_to_those_who_wait_and_then_forgotten() -> None:
    """The server may be back the moment after."""
    asked = Asked()
    remembered = asked.remembered()
    asked.wrong = StackTimeout()
    failures = await asyncio.gather(*(remembered.get() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in failures] == [StackTimeout] * 3
    asked.wrong = None
    assert await remembered.get() == 2


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    """Who asked first may be canceled."""
    asked = Asked()
    asked.may_answer.clear()
    remembered = asked.remembered()
    first, second = (asyncio.create_task(remembered.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    remembered.forget()  # nothing, while somebody is asking
    asked.may_answer.set()
    assert await second == await remembered.get() == 1
    assert first.cancelled()


async def test_what_is_forgotten_is_asked_for() -> None:
    asked = Asked()
    remembered = asked.remembered()
    remembered.forget()
    await remembered.get()
    remembered.forget()
    assert await remembered.get() == 2


def test_the_embedded_stack_has_no_shields_unless_they_are_named() -> None:
    """Not given and none are the same agent there."""
    none: dict[str, list[str]] = {"toolgroups": [], "input_shields": []}
    config = config_of(Settings())
    assert config.input_shields == ()
    assert config == config_of(Settings.model_validate({"agent": none}))
