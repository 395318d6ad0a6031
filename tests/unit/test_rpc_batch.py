"""How much of a batch runs, and how much of what it answers is held."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from agent.caller import Caller
from agent.dialects.v1_0 import Dialect1
from agent.operations import Asked
from agent.rpc_answer import RpcError
from agent.rpc_batch import AT_ONCE, Batches
from agent.rpc_body import Call
from agent.service_parameters import ServiceParameters

pytestmark = pytest.mark.anyio

ASKED = Asked(Caller("ann"), ServiceParameters())
ANSWER = b'"%b"' % (b"x" * 998)
DIALECT = Dialect1()


class Methods:
    """Reads and writes that answer a thousand bytes; ``most`` is how many ran at the same time."""

    def __init__(self, answer: bytes | RpcError = ANSWER) -> None:
        self.answer = answer
        self.started = self.running = self.most = 0
        self.all_started = anyio.Event()
        self.waits_for = 0

    async def __call__(self, _asked: Asked, _params: bytes) -> bytes | RpcError:
        """Answer when as many have started as are to be waited for."""
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        if self.started >= self.waits_for:
            self.all_started.set()
        await self.all_started.wait()
        await checkpoint()
        self.running -= 1
        return self.answer


def batches(methods: Methods, answer_bytes: int) -> Batches:
    """Return what runs batches of these methods."""
    operations = {"get": (DIALECT, "get"), "list": (DIALECT, "list"), "send": (DIALECT, "send")}
    return Batches(dict.fromkeys(operations, methods), operations, answer_bytes)


def calls(method: str, count: int) -> list[Call]:
    """Return calls with ids from 0 on."""
    return [Call(method, number, b"{}") for number in range(count)]


def errors(bodies: list[bytes]) -> list[Any]:
    """Return the error of each response, or None, in order."""
    return [msgspec.json.decode(body).get("error") for body in bodies]


@pytest.mark.parametrize("method", ["get", "list"])
async def test_reads_are_run_one_by_one_until_their_answers_reach_the_bound(method: str) -> None:
    """What is held at once is the bound and one answer more, however many calls there are."""
    methods = Methods()

    bodies = await batches(methods, 2_500).run(ASKED, calls(method, 50))

    assert (methods.started, methods.most) == (3, 1)
    assert [error and error["code"] for error in errors(bodies)] == [None] * 3 + [-32050] * 47
    assert sum(map(len, bodies)) < 2_500 + len(ANSWER) + 50 * 500


async def test_messages_are_run_some_at_once_and_all_of_them() -> None:
    """Those that end when there is no room are not answered with their task, but they were run."""
    methods = Methods()
    methods.waits_for = AT_ONCE

    with anyio.fail_after(5):
        bodies = await batches(methods, 2_500).run(ASKED, calls("send", 50))

    assert (methods.started, methods.most) == (50, AT_ONCE)
    answered = [error for error in errors(bodies) if error is None]
    assert len(answered) == 3


async def test_one_answer_may_be_larger_than_the_bound() -> None:
    bodies = await batches(Methods(), 1).run(ASKED, calls("list", 2))

    assert [error and error["code"] for error in errors(bodies)] == [None, -32050]


async def test_messages_and_reads_share_the_room() -> None:
    """The reads wait for each other, not for the messages."""
    methods = Methods()

    bodies = await batches(methods, 1_000).run(ASKED, [*calls("get", 1), Call("send", 9, b"{}")])

    assert methods.started == 2
    assert len([error for error in errors(bodies) if error is None]) == 1


async def test_errors_take_no_room() -> None:
    methods = Methods(RpcError(-32001, "There is no such task", None))

    bodies = await batches(methods, 1).run(ASKED, calls("get", 50))

    assert methods.started == 50
    assert {error["code"] for error in errors(bodies)} == {-32001}
