"""The operations of A2A as one binding offers them, which counts how often it is asked for each."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from agent.operations import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.dialects import Dialect
    from agent.metrics import Metrics
    from agent.operations import Asked, Operations

    type Run[T] = Callable[[Dialect, Asked, bytes], T]


def counted(operations: Operations, metrics: Metrics, binding: str) -> Operations:
    """Return the same operations, each counted when it is asked for; refused ones too."""
    counts = metrics.requests[binding] = dict.fromkeys(NAMES.values(), 0)
    counting = copy.copy(operations)
    counting.unary = _counted(operations.unary, counts)
    counting.ours = _counted(operations.ours, counts)
    counting.streaming = _counted(operations.streaming, counts)
    return counting


def _counted[T](table: Mapping[str, Run[T]], counts: dict[str, int]) -> dict[str, Run[T]]:
    def wrap(name: str, run: Run[T]) -> Run[T]:
        def counting(dialect: Dialect, asked: Asked, params: bytes) -> T:
            counts[name] += 1
            return run(dialect, asked, params)

        return counting

    return {operation: wrap(NAMES[operation], run) for operation, run in table.items()}
