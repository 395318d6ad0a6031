"""``/v1alpha/post-training``: jobs that train models."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from agent.caller import Caller
from agent.training.base import PostTrainingApi
from agent.training.request import Name, PreferenceOptimizeRequest, SupervisedFineTuneRequest
from rest_compat.callers import Callers
from rest_compat.llama_stack.post_training_models import (
    CancelTrainingJobRequest,
    ListPostTrainingJobsResponse,
    PostTrainingJob,
    PostTrainingJobArtifactsResponse,
    PostTrainingJobStatusResponse,
)
from rest_compat.llama_stack.responses import ERRORS, NOT_FOUND, Error, Responses, answer
from rest_compat.problems import InvalidFields

TAG = "PostTraining (Coming Soon)"

_NOT_PROVIDED: Responses = {
    501: {"model": Error, "description": "This server was installed without the extra for training"}
}
_NOT_STOPPED: Responses = {
    501: {"model": Error, "description": "The Llama Stack that trains cannot cancel"}
}


def make_post_training(training: PostTrainingApi, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = callers.router(TAG)
    _add_starting(router, training, callers)
    _add_following(router, training, callers)
    _add_stopping(router, training, callers)
    return router


def _add_starting(router: APIRouter, training: PostTrainingApi, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("post_training"))]

    @router.post(
        "/v1alpha/post-training/supervised-fine-tune",
        operation_id="supervised_fine_tune_v1alpha_post_training_supervised_fine_tune_post",
        summary="Run supervised fine-tuning of a model.",
        response_model=PostTrainingJob,
        responses=ERRORS | NOT_FOUND | _NOT_PROVIDED,
    )
    async def supervised_fine_tune(caller: user, asked: SupervisedFineTuneRequest) -> Response:
        """Begin to train a model on examples."""
        body = asked.model_dump(mode="json", exclude_unset=True)
        return answer(await training.supervised_fine_tune(caller, body))

    @router.post(
        "/v1alpha/post-training/preference-optimize",
        operation_id="preference_optimize_v1alpha_post_training_preference_optimize_post",
        summary="Run preference optimization of a model.",
        response_model=PostTrainingJob,
        responses=ERRORS | NOT_FOUND | _NOT_PROVIDED,
    )
    async def preference_optimize(caller: user, asked: PreferenceOptimizeRequest) -> Response:
        """Begin to train a model to prefer some answers to others."""
        body = asked.model_dump(mode="json", exclude_unset=True)
        return answer(await training.preference_optimize(caller, body))


def _add_following(router: APIRouter, training: PostTrainingApi, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("post_training"))]

    @router.get(
        "/v1alpha/post-training/jobs",
        operation_id="get_training_jobs_v1alpha_post_training_jobs_get",
        summary="Get all training jobs.",
        response_model=ListPostTrainingJobsResponse,
        responses=ERRORS,
    )
    async def jobs(caller: user) -> Response:
        """List the caller's jobs, the oldest first."""
        return answer(await training.list(caller))

    @router.get(
        "/v1alpha/post-training/job/status",
        operation_id="get_training_job_status_v1alpha_post_training_job_status_get",
        summary="Get the status of a training job.",
        response_model=PostTrainingJobStatusResponse,
        responses=ERRORS | NOT_FOUND,
    )
    async def status(caller: user, job_uuid: Name) -> Response:
        """Return how far a job is, and the checkpoints that it has made so far."""
        return answer(await training.status(caller, job_uuid))

    @router.get(
        "/v1alpha/post-training/job/artifacts",
        operation_id="get_training_job_artifacts_v1alpha_post_training_job_artifacts_get",
        summary="Get the artifacts of a training job.",
        response_model=PostTrainingJobArtifactsResponse,
        responses=ERRORS | NOT_FOUND,
    )
    async def artifacts(caller: user, job_uuid: Name) -> Response:
        """Return the checkpoints of a job."""
        return answer(await training.artifacts(caller, job_uuid))


def _add_stopping(router: APIRouter, training: PostTrainingApi, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("post_training"))]

    @router.post(
        "/v1alpha/post-training/job/cancel",
        operation_id="cancel_training_job_v1alpha_post_training_job_cancel_post",
        summary="Cancel a training job.",
        responses=ERRORS | NOT_FOUND | _NOT_STOPPED,
    )
    async def cancel(
        caller: user, asked: CancelTrainingJobRequest | None = None, job_uuid: Name | None = None
    ) -> Response:
        """Stop a job. What it has made so far stays."""
        wanted = job_uuid if asked is None or asked.job_uuid is None else asked.job_uuid
        if wanted is None:
            missing = {"loc": ("body", "job_uuid"), "msg": "Field required", "type": "missing"}
            raise InvalidFields(RequestValidationError([missing]))
        await training.cancel(caller, wanted)
        return answer(None)
