"""Benchmarks: which rows are put to a candidate, and how its answers are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from a2a_state.benchmarks import Benchmark, Benchmarks
from agent.clock import now
from agent.errors import InvalidParams, ResourceNotFound

if TYPE_CHECKING:
    from a2a_state.database import Database
    from agent.caller import Caller

type Json = Any

PROVIDER = "llamastack-a2a"
"""What Llama Stack calls the provider of such evaluations."""


class NewBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark as it is registered."""

    benchmark_id: str
    dataset_id: str
    scoring_functions: tuple[str, ...]
    metadata: dict[str, Json] = {}
    provider_id: str | None = None
    provider_benchmark_id: str | None = None


class Registry:
    """The benchmarks of callers. That a dataset is there is not asked before it is read."""

    def __init__(self, database: Database, most: int) -> None:
        """``most`` is how many an owner may have."""
        self._benchmarks = Benchmarks(database)
        self._most = most

    async def register(self, caller: Caller, new: NewBenchmark) -> None:
        """Add a benchmark, unless it is there; raises ``QuotaExceeded``.

        Raises ``InvalidParams`` when there is another one of that id.
        """
        benchmark = Benchmark(
            owner=caller.owner,
            tenant=caller.tenant,
            benchmark_id=new.benchmark_id,
            dataset_id=new.dataset_id,
            scoring_functions=new.scoring_functions,
            metadata=new.metadata,
            provider_id=new.provider_id or PROVIDER,
            provider_resource_id=new.provider_benchmark_id or new.benchmark_id,
            created_at=now(),
        )
        if await self._benchmarks.add(benchmark, self._most):
            return
        stored = await self.find(caller, new.benchmark_id)
        if msgspec.structs.replace(stored, created_at=benchmark.created_at) != benchmark:
            problem = f"the benchmark {new.benchmark_id!r} already exists: unregister it first"
            raise InvalidParams("benchmark_id", problem)

    async def find(self, caller: Caller, benchmark_id: str) -> Benchmark:
        """Return the caller's benchmark; raises ``ResourceNotFound``."""
        found = None
        # No id holds a zero: PostgreSQL does not even take it in a question.
        if "\0" not in benchmark_id:
            found = await self._benchmarks.get(caller.owner, caller.tenant, benchmark_id)
        if found is None:
            raise ResourceNotFound("benchmark", benchmark_id)
        return found

    async def list(self, caller: Caller) -> Json:
        """Return ``{"data": [...]}``."""
        found = await self._benchmarks.list(caller.owner, caller.tenant)
        return {"data": [wire(benchmark) for benchmark in found]}

    async def unregister(self, caller: Caller, benchmark_id: str) -> None:
        """Remove a benchmark, if it is there; its jobs go on, and their results stay."""
        if "\0" not in benchmark_id:
            await self._benchmarks.delete(caller.owner, caller.tenant, benchmark_id)


def wire(benchmark: Benchmark) -> Json:
    """Return a benchmark as the API writes it."""
    return {
        "identifier": benchmark.benchmark_id,
        "provider_resource_id": benchmark.provider_resource_id,
        "provider_id": benchmark.provider_id,
        "type": "benchmark",
        "dataset_id": benchmark.dataset_id,
        "scoring_functions": list(benchmark.scoring_functions),
        "metadata": benchmark.metadata,
    }
