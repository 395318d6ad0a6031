"""``/v1alpha/eval``: benchmarks, evaluations of rows at once, and of datasets as jobs."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from agent.caller import Caller
from agent.evaluation.evaluation import Evaluation
from rest_compat.awaited import while_awaited
from rest_compat.callers import Callers
from rest_compat.llama_stack.benchmarks import make_benchmarks
from rest_compat.llama_stack.eval_ids import BenchmarkId, JobId
from rest_compat.llama_stack.eval_models import (
    EvaluateResponse,
    EvaluateRowsRequest,
    Job,
    RunEvalRequest,
)
from rest_compat.llama_stack.responses import EMPTY, ERRORS, NOT_FOUND, TOO_LARGE, answer

TAG = "Eval"
_BENCHMARK = "/v1alpha/eval/benchmarks/{benchmark_id:path}"
_JOB = _BENCHMARK + "/jobs/{job_id}"


def make_eval(evaluation: Evaluation, callers: Callers) -> APIRouter:
    """Return the routes of all nine operations."""
    router = callers.router(TAG, takes_rows=True)
    _add_evaluating(router, evaluation, callers)
    _add_jobs(router, evaluation, callers)
    both = APIRouter()
    both.include_router(router)
    # After those with longer paths: the id of a benchmark may hold slashes.
    both.include_router(make_benchmarks(evaluation.benchmarks, callers))
    return both


def _add_evaluating(router: APIRouter, evaluation: Evaluation, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("eval"))]

    @router.post(
        _BENCHMARK + "/jobs",
        operation_id="run_eval_v1alpha_eval_benchmarks__benchmark_id__jobs_post",
        summary="Run an evaluation on a benchmark.",
        response_model=Job,
        responses=ERRORS | NOT_FOUND | TOO_LARGE,
    )
    async def run_eval(caller: user, benchmark_id: BenchmarkId, asked: RunEvalRequest) -> Response:
        """Run an evaluation of the benchmark's dataset as a job, which is answered at once."""
        config = asked.benchmark_config.as_given()
        return answer(await evaluation.run_eval(caller, benchmark_id, config))

    @router.post(
        _BENCHMARK + "/evaluations",
        operation_id="evaluate_rows_v1alpha_eval_benchmarks__benchmark_id__evaluations_post",
        summary="Evaluate a list of rows on a benchmark.",
        response_model=EvaluateResponse,
        responses=ERRORS | NOT_FOUND | TOO_LARGE,
    )
    async def evaluate_rows(
        request: Request, caller: user, benchmark_id: BenchmarkId, asked: EvaluateRowsRequest
    ) -> Response:
        """Evaluate a list of rows while the caller waits."""
        work = evaluation.evaluate_rows(
            caller,
            benchmark_id,
            asked.input_rows,
            asked.scoring_functions,
            asked.benchmark_config.as_given(),
        )
        return answer(await while_awaited(request.receive, work))


def _add_jobs(router: APIRouter, evaluation: Evaluation, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("eval"))]

    @router.get(
        _JOB + "/result",
        operation_id="job_result_v1alpha_eval_benchmarks__benchmark_id__jobs__job_id__result_get",
        summary="Get the result of a job.",
        response_model=EvaluateResponse,
        responses=ERRORS | NOT_FOUND,
    )
    async def job_result(caller: user, benchmark_id: BenchmarkId, job_id: JobId) -> Response:
        """Get the result of a job that is completed; of any other, a 400 tells why there is none."""
        return answer(await evaluation.result(caller, benchmark_id, job_id))

    @router.get(
        _JOB,
        operation_id="job_status_v1alpha_eval_benchmarks__benchmark_id__jobs__job_id__get",
        summary="Get the status of a job.",
        response_model=Job,
        responses=ERRORS | NOT_FOUND,
    )
    async def job_status(caller: user, benchmark_id: BenchmarkId, job_id: JobId) -> Response:
        """Get the status of a job."""
        return answer(await evaluation.status(caller, benchmark_id, job_id))

    @router.delete(
        _JOB,
        operation_id="job_cancel_v1alpha_eval_benchmarks__benchmark_id__jobs__job_id__delete",
        summary="Cancel a job.",
        status_code=204,
        responses=EMPTY | ERRORS | NOT_FOUND,
    )
    async def job_cancel(caller: user, benchmark_id: BenchmarkId, job_id: JobId) -> Response:
        """Cancel a job; one that has ended stays as it is."""
        await evaluation.cancel(caller, benchmark_id, job_id)
        return Response(status_code=204)
