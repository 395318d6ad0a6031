"""``POST /v1/infer``: one question of RHEL's command line assistant, without a conversation."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from starlette.requests import Request

from agent.caller import Caller
from agent.errors import StackError
from agent.settings import Settings
from agent.stacks import Inference, Inferred, Usage
from agent.stacks.single_turn import Declined
from rest_compat.awaited import while_awaited
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.failures import failure_by
from rest_compat.lightspeed.infer_events import InferEvents
from rest_compat.lightspeed.infer_request import (
    EXAMPLE,
    RlsapiV1InferData,
    RlsapiV1InferRequest,
    RlsapiV1InferResponse,
)
from rest_compat.lightspeed.prompts import instructions_of
from rest_compat.lightspeed.responses import (
    ACCESS,
    INTERNAL_SERVER_ERROR,
    PROMPT_TOO_LONG,
    QUOTA_EXCEEDED,
    SERVICE_UNAVAILABLE,
    UNPROCESSABLE,
    succeeds,
)

logger = logging.getLogger(__name__)


def make_infer(backend: Backend, callers: Callers) -> APIRouter:
    """Return the route."""
    settings = backend.settings
    events = InferEvents(backend.aside.splunk, settings)
    router = callers.router("rlsapi-v1", takes_texts=True)

    @router.post(
        "/v1/infer",
        operation_id="infer_endpoint_v1_infer_post",
        summary="Infer Endpoint",
        responses=succeeds(EXAMPLE)
        | ACCESS
        | PROMPT_TOO_LONG
        | UNPROCESSABLE
        | QUOTA_EXCEEDED
        | INTERNAL_SERVER_ERROR
        | SERVICE_UNAVAILABLE,
    )
    async def infer(
        caller: Annotated[Caller, Depends(callers.may("rlsapi_v1_infer"))],
        connection: Request,
        request: RlsapiV1InferRequest,
        user_agent: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> RlsapiV1InferResponse:
        """Have a model answer a question, with what the client knows beside it; nothing is remembered."""
        backend.runner.check_open()
        request_id = str(uuid.uuid4())
        asked = _inference(settings, caller, request)
        telling = events.asking(caller, request, request_id, user_agent)
        with _in_words_of_lcs(request_id), telling as answered:
            # Nothing of it is kept: who goes away wants nothing any more.
            inferred = await while_awaited(connection.receive, _counted(backend, asked))
            answered(inferred)
        data = RlsapiV1InferData(text=inferred.text, request_id=request_id)
        return RlsapiV1InferResponse(data=data)

    return router


async def _counted(backend: Backend, asked: Inference) -> Inferred:
    try:
        inferred = await backend.inferences.infer(asked)
    except Declined as exc:
        # As with queries, a refusal is what there is to say.
        return Inferred(exc.message, None, Usage(0, 0))
    except StackError:
        backend.aside.metrics.inferred(None)
        raise
    backend.aside.metrics.inferred(inferred)
    return inferred


@contextmanager
def _in_words_of_lcs(request_id: str) -> Iterator[None]:
    """Say what the stack could not do as queries do."""
    try:
        yield
    except StackError as exc:
        logger.warning("Inference %s failed: %s", request_id, exc.message)
        raise failure_by(exc) from exc


def _inference(settings: Settings, caller: Caller, request: RlsapiV1InferRequest) -> Inference:
    """Return the question: what the user says of anything, under the instructions of the settings."""
    instructions = instructions_of(settings, None) or settings.instructions
    system = request.context.systeminfo.told()
    return Inference(
        text=request.prompt,
        instructions=f"{instructions}\n\n{system}" if system else instructions,
        owner=caller.user_id,
    )
