"""``POST /v1/streaming_query``: a question, and its answer as it comes."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from agent.caller import Caller
from rest_compat.callers import Callers
from rest_compat.lightspeed.asking import Asking
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.query_events import JsonWriter, TextWriter, Writer
from rest_compat.lightspeed.query_request import TEXT, QueryRequest
from rest_compat.lightspeed.responses import QUERYING, Responses
from rest_compat.lightspeed.streamed import Streamed
from rest_compat.lightspeed.telling import Telling

_EXAMPLE = (
    'data: {"event": "start", "data": {"conversation_id": "123e4567-e89b-12d3-a456-426614174000"}}'
    '\n\ndata: {"event": "token", "data": {"id": 0, "token": ""}}'
    '\n\ndata: {"event": "token", "data": {"id": 1, "token": "Hello"}}'
    '\n\ndata: {"event": "token", "data": {"id": 2, "token": "!"}}'
    '\n\ndata: {"event": "turn_complete", "data": {"id": 3, "token": "Hello!"}}'
    '\n\ndata: {"event": "end", "data": {"referenced_documents": [], "truncated": null, '
    '"input_tokens": 11, "output_tokens": 19}, "available_quotas": {}}\n\n'
)
_STREAM: dict[str, Any] = {"type": "string", "format": "text/event-stream"}
_SUCCEEDS: Responses = {
    200: {
        "description": "Successful response",
        "content": {"text/event-stream": {"schema": _STREAM, "example": _EXAMPLE}},
    }
}


def make_streaming_query(backend: Backend, callers: Callers, asking: Asking) -> APIRouter:
    """Return the route."""
    router = callers.router("streaming_query", takes_texts=True)
    telling = Telling(backend)

    @router.post(
        "/v1/streaming_query",
        operation_id="streaming_query_endpoint_handler_v1_streaming_query_post",
        summary="Streaming Query Endpoint Handler",
        # Of no media type, for the errors are of another than the stream.
        response_class=Response,
        responses=_SUCCEEDS | QUERYING,
    )
    async def streaming_query(
        caller: Annotated[Caller, Depends(callers.may("streaming_query"))],
        request: Request,
        asked: QueryRequest,
    ) -> Response:
        """Have a question answered, and tell the answer as it comes; the turn goes on without its client."""
        answering = await asking.ask(caller, asked, len(await request.body()))
        try:
            await answering.begin()
            if not answering.heard.has_begun:
                await answering.check()
        except BaseException:
            await answering.aclose()
            raise
        writer: Writer = TextWriter() if asked.media_type == TEXT else JsonWriter()
        texts = telling.texts(answering, writer, caller, asked.vector_store_ids)
        return Streamed(texts, writer.content_type, answering.aclose)

    return router
