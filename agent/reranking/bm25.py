"""Okapi BM25 over texts that are given: how well each of them fits a query."""

from __future__ import annotations

from collections import Counter
from math import log
from typing import TYPE_CHECKING

from agent.stacks.embedded.terms import stems, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

K1 = 1.2
"""How soon more of a term in a text counts no more."""
B = 0.75
"""How much of a term is expected of a long text."""


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """Return the score of each text, in their order; 0 where no term of the query is in it.

    It takes time in proportion to the characters of all, about a second for a million.
    """
    terms_of: Callable[[str], list[str]] = stems
    asked = frozenset(stems(query))
    if not asked:  # of a question that is nothing but "who is it" every word counts
        terms_of, asked = words, frozenset(words(query))
    lengths, counts = [], []
    for text in texts:
        terms = terms_of(text)
        lengths.append(len(terms))
        counts.append(Counter(term for term in terms if term in asked))
    average = sum(lengths) / len(lengths) if any(lengths) else 1.0
    weights = _weights(counts)
    return [
        _score(counted, weights, K1 * (1 - B + B * length / average))
        for counted, length in zip(counts, lengths, strict=True)
    ]


def _weights(counts: Sequence[Counter[str]]) -> dict[str, float]:
    """Weigh each term of the query that a text has: by how few have it, and always above 0."""
    having = Counter(term for counted in counts for term in counted)
    total = len(counts)
    return {
        term: log(1 + (total - number + 0.5) / (number + 0.5)) for term, number in having.items()
    }


def _score(counted: Counter[str], weights: Mapping[str, float], damping: float) -> float:
    # Sorted: texts with the same terms have the very same score.
    return sum(
        weights[term] * number * (K1 + 1) / (number + damping)
        for term, number in sorted(counted.items())
    )
