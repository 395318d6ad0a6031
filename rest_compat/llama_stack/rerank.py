"""``POST /v1alpha/inference/rerank``: which of some items are relevant to a query."""

# The documentation of models is that of the API: their fields tell what they are.
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.responses import Response

from agent.caller import Caller
from agent.reranking.reranking import ITEMS, Reranking
from rest_compat.callers import Callers
from rest_compat.llama_stack.responses import ERRORS, NOT_FOUND, TOO_LARGE, answer

METHOD = "X-Rerank-Method"
"""The header that says how the items were ranked: stack, embeddings or bm25."""


class OpenAIChatCompletionContentPartTextParam(BaseModel):
    """Text content part for OpenAI-compatible chat completion messages."""

    type: Literal["text"]
    text: str = Field(description="The text content of the message")


class OpenAIImageURL(BaseModel):
    """Image URL specification for OpenAI-compatible chat completion messages."""

    url: str = Field(description="The image as a data: URL")
    detail: str | None = Field(None, description='Level of detail: "low", "high", or "auto"')


class OpenAIChatCompletionContentPartImageParam(BaseModel):
    """Image content part for OpenAI-compatible chat completion messages."""

    type: Literal["image_url"]
    image_url: OpenAIImageURL


type _Part = Annotated[
    OpenAIChatCompletionContentPartTextParam | OpenAIChatCompletionContentPartImageParam,
    Field(discriminator="type"),
]
type Content = str | _Part


class RerankRequest(BaseModel):
    """What is to be ranked."""

    model: str = Field(
        min_length=1,
        description="A model of `GET /v1/models`. Without a reranker behind this server its items are "
        "ranked by an embedding model, or without one by their words",
    )
    query: Content = Field(description="The search query to rank items against")
    items: Annotated[list[Content], Field(min_length=1, max_length=ITEMS)] | Content = Field(
        description="List of items to rerank; one item may stand for a list of it"
    )
    max_num_results: int | None = Field(
        None, ge=1, description="Maximum number of results to return. Default: returns all"
    )


class RerankData(BaseModel):
    """A single rerank result from a reranking response."""

    index: int = Field(description="The original index of the document in the input list")
    relevance_score: float = Field(description="Higher scores indicate greater relevance")


class RerankResponse(BaseModel):
    """Response from a reranking request."""

    data: list[RerankData] = Field(
        description="List of rerank result objects, sorted by relevance score (descending)"
    )


_SHOWN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "RerankResponse with indices sorted by relevance score (descending).",
        "headers": {
            METHOD: {
                "description": "What ranked the items",
                "schema": {"type": "string", "enum": ["stack", "embeddings", "bm25"]},
            }
        },
    }
}


def make_rerank(reranking: Reranking, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("Inference", takes_texts=True)

    @router.post(
        "/v1alpha/inference/rerank",
        operation_id="rerank_v1alpha_inference_rerank_post",
        summary="Rerank a list of documents based on their relevance to a query.",
        response_model=RerankResponse,
        responses=_SHOWN | ERRORS | NOT_FOUND | TOO_LARGE,
    )
    async def rerank(
        caller: Annotated[Caller, Depends(callers.may("rerank"))], asked: RerankRequest
    ) -> Response:
        """Rerank a list of documents based on their relevance to a query."""
        given = asked.items if isinstance(asked.items, list) else [asked.items]
        items = [_plain(item) for item in given]
        ranking = await reranking.rerank(
            caller, asked.model, _plain(asked.query), items, asked.max_num_results
        )
        response = answer({"data": ranking.data})
        response.headers[METHOD] = ranking.method
        return response

    return router


def _plain(content: Any) -> Any:
    """Return a content as JSON."""
    return content.model_dump(exclude_none=True) if isinstance(content, BaseModel) else content
