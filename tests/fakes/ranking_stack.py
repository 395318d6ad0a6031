"""A stack with models of every type, which embeds and reranks as a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from agent.settings import Settings
from agent.stacks import BaseStack, Model

if TYPE_CHECKING:
    from collections.abc import Sequence


class RankingStack(BaseStack):
    """Embeds a text as how often each letter of ``ab`` is in it; its reranker counts the letter r."""

    def __init__(self, *types: str, problem: Exception | None = None) -> None:
        """Have a model of each of the types, called as its type is; embedding may have a ``problem``."""
        super().__init__(Settings())
        self.types = types or ("llm",)
        self.problem = problem
        self.embedded: list[tuple[str, str | None]] = []
        self.reranked: list[Any] = []

    @override
    async def models(self) -> Sequence[Model]:
        return [Model(f"vllm/{each}", "vllm", each) for each in self.types]

    @override
    async def embed(self, texts: Sequence[str], model: str | None) -> Sequence[Sequence[float]]:
        if self.problem:
            raise self.problem
        self.embedded += [(text, model) for text in texts]
        return [[float(text.count("a")), float(text.count("b"))] for text in texts]

    @override
    async def rerank(self, model: str, query: Any, items: Sequence[Any]) -> list[float] | None:
        if not model.endswith("/rerank"):
            return None
        self.reranked += [query, *items]
        return [float(str(item).count("r")) for item in items]
