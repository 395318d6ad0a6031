"""How relevant items are to a query, from a reranker of a Llama Stack."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidAgentResponse
from agent.stacks.agents_api_wire import read
from agent.stacks.client import translating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_stack_client import AsyncLlamaStackClient

    from agent.stacks.base import Reranked


class _Row(msgspec.Struct):
    index: int
    relevance_score: float


class _Ranked(msgspec.Struct):
    data: list[_Row]


async def relevances(
    client: AsyncLlamaStackClient, model: str, query: Reranked, items: Sequence[Reranked]
) -> list[float]:
    """Return the score of each item, in their order; raises ``StackError``."""
    body = {"model": model, "query": query, "items": list(items)}
    with translating():
        wire = await client.post("/v1alpha/inference/rerank", body=body, cast_to=object)
    scores = {row.index: row.relevance_score for row in read(wire, _Ranked).data}
    if scores.keys() != set(range(len(items))) or not all(map(isfinite, scores.values())):
        raise InvalidAgentResponse
    return [scores[index] for index in range(len(items))]
