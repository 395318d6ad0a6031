"""Which of some items are relevant to a query, and how much."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.engines.told import tell
from agent.errors import (
    InvalidParams,
    ModelNotFound,
    PayloadTooLarge,
    StackTimeout,
    TurnFailed,
)
from agent.reranking.bm25 import bm25
from agent.reranking.content import check_images, said, text_of
from agent.reranking.cosine import cosines
from agent.stacks import Inference
from agent.stacks.naming import named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.caller import Caller
    from agent.inferences import Inferences
    from agent.settings import Settings
    from agent.stacks import Json, Model, Stack

    type Method = Literal["stack", "embeddings", "bm25"]

_log = logging.getLogger(__name__)

ITEMS = 1000
"""Most items of a request."""
WORDS_CHARS = 2 * 1024 * 1024
"""The longest that query and items may be together where their words are compared."""
THREADS = 2
"""How many requests are computed at once; their clients' leaving does not stop them."""


class Ranking(NamedTuple):
    """Items by relevance, the most relevant first, as ``{"index", "relevance_score"}``.

    ``method`` is what ranked them: a reranker of the stack, the likeness of embeddings, or BM25.
    """

    data: list[dict[str, Json]]
    method: Method


class Reranking:
    """Ranks items with the best that the stack has; without models by the words they share."""

    def __init__(self, stack: Stack, inferences: Inferences, settings: Settings) -> None:
        """Ask nothing yet; ``inferences`` admits requests."""
        self._stack = stack
        self._inferences = inferences
        self._settings = settings
        # Of its own: the threads that all share look up the names of hosts, too.
        self._threads = ThreadPoolExecutor(THREADS, "rerank")

    async def rerank(
        self,
        caller: Caller,
        model: str,
        query: Json,
        items: Sequence[Json],
        most: int | None = None,
    ) -> Ranking:
        """Rank ``items``, each a text or a content part; ``most`` bounds how many come back.

        It is within the limits and the quotas of other calls of models, whatever ranks. Raises
        ``InvalidParams``, ``ModelNotFound`` for one that the stack does not list, ``PayloadTooLarge``,
        ``StackError``, and what admission does.
        """
        caller.note("model", model)
        if not 1 <= len(items) <= ITEMS:
            raise InvalidParams("items", f"must be 1 to {ITEMS}")
        if most is not None and most < 1:
            raise InvalidParams("max_num_results", "must be at least 1")
        if isinstance(query, str) and not query.strip():
            raise InvalidParams("query", "must not be empty")
        text = "\n".join(map(said, (query, *items)))
        asked = Inference(text=text, instructions="", owner=caller.user_id)
        async with self._inferences.admitted(asked):
            try:
                async with asyncio.timeout(self._settings.limits.turn_seconds):
                    scores, method = await self._score(model, query, items)
            except TimeoutError as exc:
                raise StackTimeout from exc
        order = sorted(range(len(items)), key=lambda index: (-scores[index], index))
        data = [{"index": index, "relevance_score": scores[index]} for index in order[:most]]
        return Ranking(data, method)

    async def _score(
        self, wanted: str, query: Json, items: Sequence[Json]
    ) -> tuple[Sequence[float], Method]:
        models = await self._stack.models()
        model = named(models, wanted)
        if model is None:
            raise ModelNotFound
        scores = await self._by_stack(model, query, items)
        if scores is not None:
            return scores, "stack"
        asked = text_of(query, "query").strip()
        if not asked:
            raise InvalidParams("query", "must not be empty")
        texts = [text_of(item, f"items[{index}]") for index, item in enumerate(items)]
        scores = await self._by_embeddings(model, asked, texts, models)
        if scores is not None:
            return scores, "embeddings"
        tell("inference", "embedded")
        if len(asked) + sum(map(len, texts)) > WORDS_CHARS:
            raise PayloadTooLarge(f"query and items have more than {WORDS_CHARS} characters")
        return await self._computed(bm25, asked, texts), "bm25"

    async def _by_stack(
        self, model: Model, query: Json, items: Sequence[Json]
    ) -> Sequence[float] | None:
        if "inference" not in self._settings.experimental.forwarded:
            return None
        check_images(query, "query")
        for index, item in enumerate(items):
            check_images(item, f"items[{index}]")
        scores = await self._stack.rerank(model.identifier, query, items)
        if scores is not None:
            tell("inference", "forwarded")
        return scores

    async def _by_embeddings(
        self, model: Model, query: str, texts: Sequence[str], models: Sequence[Model]
    ) -> Sequence[float] | None:
        """Score by embeddings, if there is a model for it; items without text have no embedding."""
        chosen = model.identifier if model.model_type == "embedding" else None
        served = any(each.model_type == "embedding" for each in models)
        if not served and not self._settings.experimental.embedding_model:
            return None
        told = {index: text for index, text in enumerate(texts) if text.strip()}
        try:
            asked, *found = await self._stack.embed([query, *told.values()], chosen)
        except (ModelNotFound, TurnFailed) as exc:
            if chosen is not None:
                raise
            _log.warning("items are ranked by their words, not by embeddings: %s", exc.message)
            return None
        tell("inference", "embedded" if self._settings.is_embedded else "emulated")
        near = dict(zip(told, await self._computed(cosines, asked, found), strict=True))
        return [near.get(index, 0.0) for index in range(len(texts))]

    async def _computed[**P](
        self, work: Callable[P, list[float]], *args: P.args, **kwargs: P.kwargs
    ) -> list[float]:
        """Compute off the event loop: long texts take their time."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *args, **kwargs))
