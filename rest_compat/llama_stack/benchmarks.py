"""``/v1alpha/eval/benchmarks``: benchmarks are registered, listed, described and unregistered."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from agent.caller import Caller
from agent.evaluation.benchmarks import NewBenchmark, Registry, wire
from rest_compat.callers import Callers
from rest_compat.llama_stack.benchmarks_models import (
    Benchmark,
    ListBenchmarksResponse,
    RegisterBenchmarkRequest,
)
from rest_compat.llama_stack.eval_ids import BenchmarkId
from rest_compat.llama_stack.responses import EMPTY, ERRORS, NOT_FOUND, TOO_LARGE, answer

TAG = "Benchmarks"


def make_benchmarks(benchmarks: Registry, callers: Callers) -> APIRouter:
    """Return the routes; those with longer paths must come before them: an id may hold slashes."""
    router = callers.router(TAG)
    _add_all(router, benchmarks, callers)
    _add_one(router, benchmarks, callers)
    return router


def _add_all(router: APIRouter, benchmarks: Registry, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("eval"))]

    @router.get(
        "/v1alpha/eval/benchmarks",
        operation_id="list_benchmarks_v1alpha_eval_benchmarks_get",
        summary="List all benchmarks.",
        response_model=ListBenchmarksResponse,
        responses=ERRORS,
    )
    async def list_benchmarks(caller: user) -> Response:
        """List the benchmarks of the caller, the oldest first."""
        return answer(await benchmarks.list(caller))

    @router.post(
        "/v1alpha/eval/benchmarks",
        operation_id="register_benchmark_v1alpha_eval_benchmarks_post",
        summary="Register a benchmark.",
        response_model=None,
        responses=ERRORS | TOO_LARGE,
    )
    async def register_benchmark(caller: user, asked: RegisterBenchmarkRequest) -> Response:
        """Register a benchmark. Whether its dataset is there is found out when it is read."""
        await benchmarks.register(
            caller,
            NewBenchmark(
                benchmark_id=asked.benchmark_id,
                dataset_id=asked.dataset_id,
                scoring_functions=tuple(asked.scoring_functions),
                metadata=asked.metadata or {},
                provider_id=asked.provider_id,
                provider_benchmark_id=asked.provider_benchmark_id,
            ),
        )
        return answer(None)


def _add_one(router: APIRouter, benchmarks: Registry, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("eval"))]

    @router.get(
        "/v1alpha/eval/benchmarks/{benchmark_id:path}",
        operation_id="get_benchmark_v1alpha_eval_benchmarks__benchmark_id__get",
        summary="Get a benchmark by its ID.",
        response_model=Benchmark,
        responses=ERRORS | NOT_FOUND,
    )
    async def get_benchmark(caller: user, benchmark_id: BenchmarkId) -> Response:
        """Get a benchmark by its ID."""
        return answer(wire(await benchmarks.find(caller, benchmark_id)))

    @router.delete(
        "/v1alpha/eval/benchmarks/{benchmark_id:path}",
        operation_id="unregister_benchmark_v1alpha_eval_benchmarks__benchmark_id__delete",
        summary="Unregister a benchmark.",
        status_code=204,
        responses=EMPTY | ERRORS,
    )
    async def unregister_benchmark(caller: user, benchmark_id: BenchmarkId) -> Response:
        """Unregister a benchmark: one that is not there is unregistered. Its jobs go on."""
        await benchmarks.unregister(caller, benchmark_id)
        return Response(status_code=204)
