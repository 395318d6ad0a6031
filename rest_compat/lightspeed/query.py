"""``POST /v1/query``: a question, and all of its answer at once."""

import asyncio
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from agent.caller import Caller
from rest_compat.callers import Callers
from rest_compat.lightspeed.answer_facts import AnswerFacts
from rest_compat.lightspeed.asking import Asking
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.query_request import QueryRequest
from rest_compat.lightspeed.query_response import EXAMPLE, QueryResponse
from rest_compat.lightspeed.references import chunks_of, documents_of
from rest_compat.lightspeed.responses import QUERYING, succeeds

TOPIC_SECONDS = 5.0
"""How long an answer waits for the topic of its conversation, which is named meanwhile."""


def make_query(backend: Backend, callers: Callers, asking: Asking) -> APIRouter:
    """Return the route."""
    router = callers.router("query", takes_texts=True)
    facts = AnswerFacts(backend)

    @router.post(
        "/v1/query",
        operation_id="query_endpoint_handler_v1_query_post",
        summary="Query Endpoint Handler",
        responses=succeeds(EXAMPLE) | QUERYING,
    )
    async def query(
        caller: Annotated[Caller, Depends(callers.may("query"))],
        request: Request,
        asked: QueryRequest,
    ) -> QueryResponse:
        """Have a question answered, in a conversation that exists or in a new one."""
        async with aclosing(
            await asking.ask(caller, asked, len(await request.body()))
        ) as answering:
            await answering.finish()
        if answering.naming is not None:
            await asyncio.wait([answering.naming], timeout=TOPIC_SECONDS)
        heard = answering.heard
        sources = await facts.sources(heard, asked.vector_store_ids)
        return QueryResponse(
            conversation_id=answering.conversation_id,
            response=heard.text if heard.refusal is None else heard.refusal,
            rag_chunks=chunks_of(heard.citations, sources),
            referenced_documents=documents_of(heard.citations, sources),
            input_tokens=heard.input_tokens,
            output_tokens=heard.output_tokens,
            available_quotas=await facts.quotas(caller),
            tool_calls=heard.tool_calls,
            tool_results=heard.tool_results,
        )

    return router
