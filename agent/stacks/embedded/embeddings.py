"""Texts -> vectors, by any server that speaks OpenAI's API of embeddings."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidAgentResponse, PayloadTooLarge
from agent.stacks.embedded.inference_errors import translating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.stacks.embedded.model_server import ModelServer

TEXTS = 2048
"""How many texts may be embedded at once: as many as OpenAI takes."""

_BATCH = 128  # texts of one request: servers of one's own take a while for each


async def embed(server: ModelServer, model: str, texts: Sequence[str]) -> list[list[float]]:
    """Return the embedding of each text; raises ``PayloadTooLarge`` and ``StackError``s."""
    if len(texts) > TEXTS:
        raise PayloadTooLarge(f"No more than {TEXTS} texts can be embedded at once.")
    found: list[list[float]] = []
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        with translating(model):
            # not every server knows the base64 that takes less room
            wanted = {"model": model, "input": batch, "encoding_format": "float"}
            said = msgspec.json.decode(await server.post("embeddings", wanted), type=_Embedded)
            found += _vectors(said.data, len(batch))
    if len({len(vector) for vector in found}) > 1:
        raise InvalidAgentResponse("The embeddings of the model server differ in length.")
    return found


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float]


class _Embedded(msgspec.Struct):
    """What is read of an answer."""

    data: list[_Embedding]


def _vectors(data: Sequence[_Embedding], count: int) -> list[list[float]]:
    """Return the vectors of a batch in the order of its texts; raises ``ValueError`` unless all are there."""
    by_index = {each.index: each.embedding for each in data}
    if sorted(by_index) != list(range(count)):
        raise ValueError
    vectors = [by_index[index] for index in range(count)]
    if not all(vector and all(map(isfinite, vector)) for vector in vectors):
        raise ValueError
    return vectors
