"""The calls of a JSON-RPC batch: some run at once, through jsonrpcserver; the answers have a bound together.

A batch is small, what it asks for need not be: each of fifty calls may read the largest task there is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jsonrpcserver import Result, Success, async_dispatch_to_serializable
from msgspec import UNSET

from agent.errors import PayloadTooLarge
from agent.rpc_answer import RpcError, describe, written

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent.dialects import Dialect
    from agent.operations import Asked
    from agent.rpc_body import Call

    type Method = Callable[[Asked, bytes], Awaitable[bytes | RpcError]]

# They do nothing but answer, so they are run one by one, and not at all when there is no room.
READING = frozenset({"get", "list"})
# The others take as long as a turn takes; each may hold a task meanwhile.
AT_ONCE = 10


class Batches:
    """``answer_bytes`` is how much a batch answers before the rest of it is refused."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        dialects: Mapping[str, tuple[Dialect, str]],
        answer_bytes: int,
    ) -> None:
        """``dialects`` has the operation of each method, too."""
        self._answer_bytes = answer_bytes
        self._methods = {
            name: self._bounded(method, *dialects[name]) for name, method in methods.items()
        }

    async def run(self, asked: Asked, calls: list[Call]) -> list[bytes]:
        """Return the response objects; notifications have none."""
        answers: Any = await async_dispatch_to_serializable(
            "",
            self._methods,
            context=_Batch(asked, self._answer_bytes),
            deserializer=lambda _: [_request(call) for call in calls],
            validator=_valid_already,
        )
        return [written(one["id"], one["result"]) for one in answers or ()]

    def _bounded(
        self, method: Method, dialect: Dialect, operation: str
    ) -> Callable[[_Batch, bytes], Awaitable[Result]]:
        """Wrap a method; errors travel as results too, since jsonrpcserver would add to them."""
        bound = f"The answers to the batch are larger than {self._answer_bytes} bytes"
        reads = operation in READING
        rest = "send fewer requests at once" if reads else "this call was carried out all the same"
        no_room = describe(PayloadTooLarge(f"{bound}: {rest}"), dialect)

        async def bounded(batch: _Batch, params: bytes) -> Result:
            async with batch.reading if reads else batch.doing:
                if reads and batch.is_full:
                    return Success(no_room)
                said = await method(batch.asked, params)
                if isinstance(said, RpcError):
                    return Success(said)
                return Success(said if batch.keep(said) else no_room)

        return bounded


class _Batch:
    """One batch: who asks, and how much more may be answered."""

    def __init__(self, asked: Asked, answer_bytes: int) -> None:
        self.asked = asked
        self._room = answer_bytes
        self.reading = asyncio.Semaphore(1)
        self.doing = asyncio.Semaphore(AT_ONCE)

    @property
    def is_full(self) -> bool:
        return self._room <= 0

    def keep(self, answer: bytes) -> bool:
        """Tell whether there was room for an answer: the last one may be larger than what was left."""
        if self.is_full:
            return False
        self._room -= len(answer)
        return True


def _request(call: Call) -> dict[str, Any]:
    request: dict[str, Any] = {"method": call.method, "params": {"params": call.params}}
    return request if call.id is UNSET else {**request, "id": call.id}


def _valid_already(request: Any) -> Any:
    """``rpc_body`` checked the envelope: jsonrpcserver's schema would cost more than the call."""
    return request
