"""Embeddings of texts, from a Llama Stack."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidAgentResponse, InvalidParams
from agent.stacks.agents_api_wire import read
from agent.stacks.client import translating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_stack_client import AsyncLlamaStackClient

MOST = 2048
"""Most texts that are embedded at once."""

_BATCH = 128  # of one request


class _Embedding(msgspec.Struct):
    embedding: list[float]
    index: int


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


async def embeddings(
    client: AsyncLlamaStackClient, model: str, texts: Sequence[str]
) -> list[list[float]]:
    """Return the embedding of each text; raises ``InvalidParams`` for too many, and ``StackError``."""
    if len(texts) > MOST:
        raise InvalidParams("texts", f"must not be more than {MOST}")
    found: list[list[float]] = []
    for batch in batched(texts, _BATCH):  # one after the other: the server has other callers
        body = {"model": model, "input": list(batch), "encoding_format": "float"}
        with translating():
            wire = await client.post("/v1/embeddings", body=body, cast_to=object)
        rows = sorted(read(wire, _Embeddings).data, key=lambda row: row.index)
        if [row.index for row in rows] != list(range(len(batch))):
            raise InvalidAgentResponse
        found += [row.embedding for row in rows]
    return found
