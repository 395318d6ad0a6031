"""``/v1/feedback``: what users think of answers, and whether that is stored."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from agent.caller import Caller
from rest_compat.callers import Callers, Known
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.conversation_ids import read_conversation_id
from rest_compat.lightspeed.feedback_storage import FeedbackStorage
from rest_compat.lightspeed.responses import (
    ACCESS,
    INTERNAL_SERVER_ERROR,
    UNAUTHORIZED,
    forbidden,
    not_found,
    succeeds,
)
from rest_compat.problems import Answered

_QUOTED_CHARS = 256
_ID = "12345678-abcd-0000-0123-456789abcdef"
_EXAMPLES: list[JsonValue] = [
    {
        "conversation_id": _ID,
        "user_question": "foo",
        "llm_response": "bar",
        "user_feedback": "Not satisfied with the response quality.",
        "sentiment": -1,
    },
    {
        "conversation_id": _ID,
        "user_question": "What is the capital of France?",
        "llm_response": "The capital of France is Berlin.",
        "sentiment": -1,
        "categories": ["incorrect"],
    },
]
_CHANGED: dict[str, JsonValue] = {
    "status": {
        "previous_status": True,
        "updated_status": False,
        "updated_by": "user/test",
        "timestamp": "2023-03-15 12:34:56",
    }
}


class FeedbackCategory(StrEnum):
    """What may be wrong with an answer."""

    INCORRECT = "incorrect"
    NOT_RELEVANT = "not_relevant"
    INCOMPLETE = "incomplete"
    OUTDATED_INFORMATION = "outdated_information"
    UNSAFE = "unsafe"
    OTHER = "other"


class FeedbackRequest(BaseModel):
    """What a user thinks of an answer: one of the fields that may be left out must say it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": _EXAMPLES})

    conversation_id: str = Field(
        description="The required conversation ID (UUID)",
        examples=["c5260aec-4d82-4370-9fdf-05cf908b3f16"],
    )
    user_question: str = Field(
        description="User question (the query string)", examples=["What is Kubernetes?"]
    )
    llm_response: str = Field(
        description="Response from LLM",
        examples=["Kubernetes is an open-source container orchestration system for automating ..."],
    )
    sentiment: int | None = Field(
        None, description="User sentiment, if provided must be -1 or 1", examples=[-1, 1]
    )
    user_feedback: str | None = Field(
        None,
        max_length=4096,
        description="Feedback on the LLM response.",
        examples=["I'm not satisfied with the response because it is too vague."],
    )
    categories: list[FeedbackCategory] | None = Field(
        None,
        description="List of feedback categories that describe issues with the LLM response "
        "(for negative feedback).",
        examples=[["incorrect", "incomplete"]],
    )

    @field_validator("conversation_id")
    @classmethod
    def _is_conversation_id(cls, value: str) -> str:
        if read_conversation_id(value) is None:
            raise ValueError(f"Improper conversation ID {value[:_QUOTED_CHARS]}")
        return value

    @field_validator("sentiment")
    @classmethod
    def _is_for_or_against(cls, value: int | None) -> int | None:
        if value not in {-1, 1, None}:
            raise ValueError("Improper sentiment value, needs to be -1 or 1")
        return value

    @field_validator("categories")
    @classmethod
    def _once_each(cls, value: list[FeedbackCategory] | None) -> list[FeedbackCategory] | None:
        return list(dict.fromkeys(value)) if value else None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.sentiment is None and not self.user_feedback and not self.categories:
            raise ValueError(
                "At least one form of feedback must be provided: "
                "'sentiment', 'user_feedback', or 'categories'"
            )
        return self


class FeedbackResponse(BaseModel):
    """The feedback is stored."""

    response: str = Field(
        description="The response of the feedback request.", examples=["feedback received"]
    )


class FeedbackStatusUpdateRequest(BaseModel):
    """Whether feedback is to be stored."""

    model_config = ConfigDict(extra="forbid")

    status: bool = Field(
        default=False,
        description="Desired state of feedback enablement, must be False or True",
        examples=[True, False],
    )


class FeedbackStatusUpdateResponse(BaseModel):
    """What was changed, by whom and when."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CHANGED]})

    status: dict[str, Any]


class StatusResponse(BaseModel):
    """Whether something is switched on."""

    functionality: str = Field(
        description="The functionality of the service", examples=["feedback"]
    )
    status: dict[str, Any] = Field(
        description="The status of the service", examples=[{"enabled": True}]
    )


def make_feedback(backend: Backend, callers: Callers) -> APIRouter:
    """Return the routes."""
    storage = FeedbackStorage(backend.settings.user_data_collection)
    router = callers.router("feedback")
    _add_feedback(router, backend, callers, storage)
    _add_status(router, _changes(backend, callers), storage)
    return router


def _changes(backend: Backend, callers: Callers) -> Known:
    """Return who may change the status: everybody, unless there are rules that could say who."""
    authorization = backend.settings.authorization
    has_rules = authorization is not None and authorization.access_rules
    return callers.may("admin") if has_rules else callers.known()


def _add_feedback(
    router: APIRouter, backend: Backend, callers: Callers, storage: FeedbackStorage
) -> None:
    def enabled() -> None:
        if not storage.is_enabled:
            disabled = "Storing feedback is disabled"
            raise Answered(403, disabled, f"{disabled}.")

    @router.post(
        "/v1/feedback",
        operation_id="feedback_endpoint_handler_v1_feedback_post",
        summary="Feedback Endpoint Handler",
        dependencies=[Depends(enabled)],
        responses=succeeds({"response": "feedback received"})
        | UNAUTHORIZED
        | forbidden("feedback")
        | not_found("conversation")
        | INTERNAL_SERVER_ERROR,
    )
    async def feedback(
        caller: Annotated[Caller, Depends(callers.may("feedback"))], request: FeedbackRequest
    ) -> FeedbackResponse:
        """Store what a user thinks of an answer in a conversation of theirs."""
        conversation_id = read_conversation_id(request.conversation_id) or ""
        # Their own only, whoever may read those of others.
        await backend.histories.find(caller, conversation_id, None)
        said = request.model_dump(mode="json") | {"conversation_id": conversation_id}
        await storage.store(caller.user_id, said)
        return FeedbackResponse(response="feedback received")


def _add_status(router: APIRouter, changes: Known, storage: FeedbackStorage) -> None:
    # Open to everybody, as in LCS.
    @router.get(
        "/v1/feedback/status",
        operation_id="feedback_status_v1_feedback_status_get",
        summary="Feedback Status",
        responses=succeeds({"functionality": "feedback", "status": {"enabled": True}}),
    )
    async def status() -> StatusResponse:
        """Tell whether feedback is stored."""
        return StatusResponse(functionality="feedback", status={"enabled": storage.is_enabled})

    @router.put(
        "/v1/feedback/status",
        operation_id="update_feedback_status_v1_feedback_status_put",
        summary="Update Feedback Status",
        responses=succeeds(_CHANGED) | ACCESS | INTERNAL_SERVER_ERROR,
    )
    async def change_status(
        caller: Annotated[Caller, Depends(changes)], request: FeedbackStatusUpdateRequest
    ) -> FeedbackStatusUpdateResponse:
        """Say whether feedback is stored from now on, by the process that answers, until that ends."""
        previous, storage.is_enabled = storage.is_enabled, request.status
        changed = {
            "previous_status": previous,
            "updated_status": request.status,
            "updated_by": caller.user_id,
            "timestamp": str(datetime.now(UTC)),
        }
        return FeedbackStatusUpdateResponse(status=changed)
