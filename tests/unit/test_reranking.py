"""Which items are relevant to a query, and what tells it."""

from __future__ import annotations

import asyncio
from math import log
from typing import Any, override

import anyio
import pytest

from agent.caller import Caller
from agent.errors import (
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    PayloadTooLarge,
    QuotaExceeded,
    StackTimeout,
    StackUnavailable,
    TooManyTasks,
)
from agent.inferences import Inferences
from agent.quotas.quotas import Quotas
from agent.reranking.bm25 import bm25
from agent.reranking.cosine import cosines
from agent.reranking.reranking import ITEMS, WORDS_CHARS, Ranking, Reranking
from agent.settings import Settings
from tests.fakes.ranking_stack import RankingStack
from tests.fakes.state import open_database

pytestmark = pytest.mark.anyio

PODS = ["Storage for databases", "How pods are restarted", "Restarting a pod: pod pod pod", ""]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
FAR_IMAGE = {"type": "image_url", "image_url": {"url": "http://10.0.0.1/x.png"}}


async def ranked(
    stack: RankingStack, query: Any, items: Any, model: str = "llm", most: int | None = None
) -> Ranking:
    """Rank on a stack with the usual settings."""
    return await reranking_of(stack).rerank(Caller("o"), model, query, items, most)


def reranking_of(stack: RankingStack, quotas: Quotas | None = None, **settings: Any) -> Reranking:
    """Return what ranks on a stack."""
    given = Settings.model_validate(settings)
    return Reranking(stack, Inferences(stack, given.limits, quotas), given)


class WaitingStack(RankingStack):
    """Never ranks."""

    @override
    async def rerank(self, model: str, query: Any, items: Any) -> list[float] | None:
        await asyncio.Event().wait()
        return None


def order(ranking: Ranking) -> list[int]:
    """Return the indexes of the items, the best first."""
    return [row["index"] for row in ranking.data]


async def test_without_models_for_it_the_words_decide() -> None:
    """Whatever their endings; what has none of them scores 0 and stays where it was."""
    ranking = await ranked(RankingStack(), "restart pods", PODS)

    assert ranking.method == "bm25"
    assert order(ranking) == [1, 2, 0, 3]
    assert [row["relevance_score"] > 0 for row in ranking.data] == [True, True, False, False]


def test_bm25_is_okapis() -> None:
    """With k1 = 1.2 and b = 0.75: a term counts by how few texts have it, and less the longer they are."""
    short, long, none = bm25("storage", ["storage", "storage of many databases", "pods"])

    weight, average = log(1 + 1.5 / 2.5), (1 + 2 + 1) / 3
    assert short == pytest.approx(weight * 2.2 / (1 + 1.2 * (0.25 + 0.75 / average)))
    assert long == pytest.approx(weight * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / average)))
    assert none == 0


def test_a_query_of_empty_words_is_looked_for_as_it_is() -> None:
    """As is one in another script; nothing to compare is no error."""
    assert bm25("who is it", ["pods", "It is who?"])[1] > 0
    assert bm25("поды", ["Поды", "pods"])[0] > 0
    assert bm25("...", ["", "!"]) == [0, 0]


async def test_only_as_many_come_back_as_are_wanted() -> None:
    assert order(await ranked(RankingStack(), "storage", PODS, most=1)) == [0]


async def test_the_likeness_of_embeddings_decides_where_there_are_any() -> None:
    """That of the model of the stack, for no embedding model was asked for; no text is no vector."""
    stack = RankingStack("llm", "embedding")

    ranking = await ranked(stack, "ab", ["aaa", "  ", "aabb", "b"])

    assert ranking.method == "embeddings"
    assert order(ranking) == [2, 0, 3, 1]
    assert ranking.data[0]["relevance_score"] == pytest.approx(1)
    assert ranking.data[3]["relevance_score"] == 0
    assert stack.embedded == [("ab", None), ("aaa", None), ("aabb", None), ("b", None)]


@pytest.mark.parametrize("name", ["vllm/embedding", "embedding"])
async def test_an_embedding_model_that_is_asked_for_is_the_one(name: str) -> None:
    """With its provider, or without."""
    stack = RankingStack("llm", "embedding")

    await ranked(stack, "a", ["a"], name)

    assert stack.embedded == [("a", "vllm/embedding"), ("a", "vllm/embedding")]


async def test_an_embedding_model_that_fails_is_told_to_who_asked_for_it() -> None:
    """Others get their items ranked by words; a server that is away is one for everybody."""
    stack = RankingStack("llm", "embedding", problem=ModelNotFound())

    assert (await ranked(stack, "a pod", ["pod"])).method == "bm25"
    with pytest.raises(ModelNotFound):
        await ranked(stack, "a", ["a"], "embedding")
    stack.problem = StackUnavailable()
    with pytest.raises(StackUnavailable):
        await ranked(stack, "a", ["a"])


async def test_a_reranker_of_the_stack_is_asked_first() -> None:
    """It may rank images, but is not sent where a caller wants."""
    stack = RankingStack("rerank", "embedding")

    ranking = await ranked(stack, "q", ["a", "rrr", IMAGE], "rerank")

    assert (ranking.method, order(ranking)) == ("stack", [1, 2, 0])
    assert stack.reranked == ["q", "a", "rrr", IMAGE]
    assert stack.embedded == []
    with pytest.raises(InvalidParams, match=r"items\[1\].*data: URL"):
        await ranked(stack, "q", ["a", FAR_IMAGE], "rerank")


async def test_a_reranker_that_the_settings_do_not_forward_to_is_not_asked() -> None:
    stack = RankingStack("rerank")
    reranking = reranking_of(stack, experimental={"forwarded": []})

    ranking = await reranking.rerank(Caller("o"), "rerank", "pods", PODS)

    assert (ranking.method, stack.reranked) == ("bm25", [])


@pytest.mark.parametrize(
    ("query", "items", "most", "field"),
    [
        ("q", [], None, "items"),
        ("q", ["a"] * (ITEMS + 1), None, "items"),
        ("q", ["a"], 0, "max_num_results"),
        (" ", ["a"], None, "query"),
        ({"type": "text", "text": ""}, ["a"], None, "query"),
        (IMAGE, ["a"], None, "query"),
        ("q", ["a", IMAGE], None, r"items\[1\]"),
        ("q", ["a", {"type": "video"}], None, r"items\[1\]"),
        ("q", [7], None, r"items\[0\]"),
    ],
)
async def test_what_cannot_be_ranked_is_refused(
    query: Any, items: Any, most: int | None, field: str
) -> None:
    with pytest.raises(InvalidParams, match=f"parameter {field}:"):
        await ranked(RankingStack(), query, items, most=most)


async def test_content_parts_are_read_as_their_texts() -> None:
    part = {"type": "text", "text": "pods"}

    assert order(await ranked(RankingStack(), part, ["x", part])) == [1, 0]


async def test_a_model_must_be_listed() -> None:
    with pytest.raises(ModelNotFound):
        await ranked(RankingStack(), "q", ["a"], "other")


async def test_ranking_is_taken_from_the_quota() -> None:
    """A token is four characters of query and items; who has none left ranks nothing."""
    limiter = {"name": "l", "type": "user_limiter", "period": "1 day"}
    limiters = [limiter | {"initial_quota": 30, "quota_increase": 0}]
    settings = Settings.model_validate({"quota_handlers": {"limiters": limiters}})
    caller, stack = Caller("o"), RankingStack("rerank")
    async with open_database("sqlite://") as database:
        quotas = Quotas(settings, database)
        reranking = reranking_of(stack, quotas)

        await reranking.rerank(caller, "rerank", "q" * 19, ["r" * 80])

        assert await quotas.available(caller.user_id) == {"l": 5}
        await reranking.rerank(caller, "rerank", "q" * 9, ["r" * 10])
        with pytest.raises(QuotaExceeded):
            await reranking.rerank(caller, "rerank", "q", ["r"])


async def test_ranking_is_within_the_limits_of_other_calls_of_models() -> None:
    """Of how many run, and of how long they take."""
    stack = WaitingStack("rerank")
    limits = {"running_tasks": 1, "queue_seconds": 0.01, "turn_seconds": 0.1}
    reranking = reranking_of(stack, limits=limits)

    async def rank() -> None:
        await reranking.rerank(Caller("o"), "rerank", "q", ["a"])

    with anyio.fail_after(5):
        first, second = await asyncio.gather(rank(), rank(), return_exceptions=True)

    assert (type(first), type(second)) == (StackTimeout, TooManyTasks)


async def test_so_much_text_is_not_compared_by_its_words() -> None:
    with pytest.raises(PayloadTooLarge):
        await ranked(RankingStack(), "q", ["a" * WORDS_CHARS])


def test_what_many_words_of_a_query_cost_does_not_grow_with_the_items() -> None:
    """Each text is read once: this would take half a minute otherwise."""
    query = " ".join(f"w{number:x}" for number in range(60_000))

    assert bm25(query, ["w1 w2", *["x"] * 999])[0] > 0


def test_vectors_of_different_spaces_have_no_likeness() -> None:
    """Neither have those that are no numbers; one without direction is like none."""
    assert cosines([1, 0], [[2, 0], [0, 3], [-1, 0], [0, 0]]) == [1, 0, -1, 0]
    for vector in ([1.0], [float("nan"), 1.0]):
        with pytest.raises(InvalidAgentResponse):
            cosines([1, 0], [vector])
