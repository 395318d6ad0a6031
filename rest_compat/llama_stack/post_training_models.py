"""The answers of ``/v1alpha/post-training``, and the body of its cancel."""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from agent.training.request import Name

_UUID = Field(description="Unique identifier for the training job")


class CancelTrainingJobRequest(BaseModel):
    """Which job to cancel; it may stand in the query as well."""

    job_uuid: Name | None = Field(None, description="The UUID of the job to cancel")


class PostTrainingJob(BaseModel):
    """A job."""

    job_uuid: str = _UUID


class ListPostTrainingJobsResponse(BaseModel):
    """The jobs of the caller, the oldest first."""

    data: list[PostTrainingJob]


class PostTrainingMetric(BaseModel):
    """Losses of an epoch; there are none without rows to validate with."""

    epoch: int = Field(description="Training epoch number")
    train_loss: float = Field(description="Loss value on the training dataset")
    validation_loss: float = Field(description="Loss value on the validation dataset")
    perplexity: float = Field(description="Perplexity metric indicating model confidence")


class Checkpoint(BaseModel):
    """A checkpoint; its identifier names it as the model of another job."""

    identifier: str = Field(description="Unique identifier for the checkpoint")
    created_at: AwareDatetime = Field(description="Timestamp when the checkpoint was created")
    epoch: int = Field(description="Training epoch when the checkpoint was saved")
    post_training_job_id: str = Field(
        description="Identifier of the training job that created this checkpoint"
    )
    path: str = Field(description="Where the checkpoint is, in the training folder of the server")
    training_metrics: PostTrainingMetric | None = None


class PostTrainingJobArtifactsResponse(BaseModel):
    """What a job has made."""

    job_uuid: str = _UUID
    checkpoints: list[Checkpoint]


class PostTrainingJobStatusResponse(BaseModel):
    """How far a job is."""

    job_uuid: str = _UUID
    status: Literal["completed", "in_progress", "failed", "scheduled", "cancelled"]
    scheduled_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    completed_at: AwareDatetime | None = None
    resources_allocated: dict[str, Any] | None = Field(
        None, description="What the job uses, the steps it has done, and why it failed (`error`)"
    )
    checkpoints: list[Checkpoint]
