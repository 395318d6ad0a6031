"""Which passages hold what is asked, and how much of it."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.stacks.embedded.markup import blocks_of
from agent.stacks.embedded.terms import Term, fold, stem, stems

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from a2a_state.passages import Passage

type Kind = Literal["", "steps", "definition", "number"]
"""What kind of answer a question asks for; empty for any."""

RELEVANT = 0.4
"""How much of a question, rare words counting more, a passage must have to be about it."""

_BEGINNING = 4  # letters; so long a word, unless known itself, finds those that begin with it
_BEGINS = 0.7  # what such a find counts
_SMALL_CORPUS = 30  # passages; among fewer, how common a word is says little
_DEFINITION = re.compile(
    r"(?:^|[.!?]\s+)(?:an?\s+|the\s+)?\W?(\w+)\W?\s+(?:is|are)\b", re.IGNORECASE | re.MULTILINE
)
_NUMBER = re.compile(r"\b\d+\b")
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("number", re.compile(r"\bhow (long|many|much|often|large|big|fast)\b", re.IGNORECASE)),
    ("definition", re.compile(r"^\W*(what|who)('s| is| are| was)\b", re.IGNORECASE)),
    ("steps", re.compile(r"\b(how|examples?|commands?|show me|snippet|curl)\b", re.IGNORECASE)),
)


class Statistics(msgspec.Struct, frozen=True):
    """How many passages there are, and how many have each stem."""

    total: int
    counts: Mapping[str, int]


class Question:
    """The terms asked for, each weighed by how rare it is."""

    def __init__(
        self, terms: Sequence[Term], kind: Kind, statistics: Statistics, known: Collection[str]
    ) -> None:
        """Take the stems that some passage has as ``known``."""
        self.kind = kind
        self.is_generic = all(term.weight < 1 for term in terms)
        size = max(statistics.total, _SMALL_CORPUS)
        weights = {
            term: _rarity(statistics.counts.get(term.stem, 0), size) * term.weight for term in terms
        }
        every = sum(weights.values()) or 1.0
        self.shares = {term: weight / every for term, weight in weights.items()}
        self._beginnings = {
            term for term in terms if len(term.word) >= _BEGINNING and term.stem not in known
        }

    def matched(self, words: Collection[str]) -> dict[Term, float]:
        """Return the terms found among stems, with what each adds to the coverage."""
        found: dict[Term, float] = {}
        for term, share in self.shares.items():
            if term.stem in words:
                found[term] = share
            elif term in self._beginnings and any(w.startswith(term.word) for w in words):
                found[term] = share * _BEGINS
        return found

    def coverage(self, words: Collection[str]) -> float:
        """Tell how much of the question, from 0 to 1, is among stems."""
        return sum(self.matched(words).values())


class Ranked(msgspec.Struct, frozen=True):
    """A passage and how well it fits. ``covered`` are the terms that it has."""

    passage: Passage
    score: float = 0.0
    coverage: float = 0.0
    covered: frozenset[Term] = frozenset()


class _Analysed:
    """The stems of a passage, by where they stand."""

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.title = stems(passage.title)
        self.heading = stems(passage.section) if passage.section else self.title
        self.said: list[str] = []  # prose and lists
        self.tabled: list[str] = []
        self.shown: list[str] = []  # code
        for block in blocks_of(passage.text):
            {"table": self.tabled, "code": self.shown}.get(block.kind, self.said).extend(
                stems(block.text)
            )
        self.plain = {*self.title, *self.heading, *self.said}
        self.listed = {*self.plain, *self.tabled}
        self.all = {*self.listed, *self.shown}


def kind_of(text: str) -> Kind:
    """Tell what kind of answer a question asks for."""
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), "")


def rank(
    terms: Sequence[Term],
    kind: Kind,
    passages: Sequence[Passage],
    statistics: Statistics | None = None,
) -> tuple[Question, list[Ranked]]:
    """Return the passages that are about a question, the best first.

    ``statistics`` are about more passages than these, if there are more.
    """
    analysed = [_analysed(passage) for passage in passages]
    counts = {term.stem: sum(term.stem in each.all for each in analysed) for term in terms}
    known = {stem for stem, count in counts.items() if count}
    question = Question(terms, kind, statistics or Statistics(len(passages), counts), known)
    ranked = [fit for each in analysed if (fit := _rank(question, each))]
    return question, sorted(ranked, key=lambda each: -each.score)


@lru_cache(maxsize=2000)
def _analysed(passage: Passage) -> _Analysed:
    return _Analysed(passage)


def _rarity(count: int, size: int) -> float:
    return math.log(1 + max(size - count + 0.5, 0.5) / (count + 0.5))


def _rank(question: Question, words: _Analysed) -> Ranked | None:
    matched = question.matched(words.all)
    if not matched:
        return None
    # a word that stands in a table only counts less, one that stands in code only half
    coverage = (
        0.5 * sum(matched.values())
        + 0.3 * question.coverage(words.listed)
        + 0.2 * question.coverage(words.plain)
    )
    in_heading = question.coverage(set(words.heading))
    if coverage < RELEVANT or (question.is_generic and not in_heading):
        return None
    said = question.coverage(set(words.said))
    tabled = question.coverage({*words.said, *words.tabled})
    score = (
        coverage
        + 0.5 * max(said, 0.7 * tabled)
        + 0.5 * in_heading * _focus(question, words.heading)
        + 0.1 * question.coverage(set(words.title))
        + 0.2 * _density(question, words.said)
        + _kind_bonus(question, words)
    )
    return Ranked(words.passage, score, coverage, frozenset(matched))


def _kind_bonus(question: Question, words: _Analysed) -> float:
    """Tell whether a passage has what this kind of question asks for."""
    text = words.passage.text
    match question.kind:
        case "definition":
            subjects = (stem(fold(found[1])) for found in _DEFINITION.finditer(text))
            return 0.5 * any(question.matched({subject}) for subject in subjects)
        case "number":
            return 0.15 * bool(_NUMBER.search(text))
        case "steps":
            explains = kind_of(words.passage.section) == "definition"
            return 0.05 * ("`" in text) + 0.05 * bool(words.shown) - 0.4 * explains
    return 0.0


def _focus(question: Question, heading: Sequence[str]) -> float:
    """Tell how much of a heading is asked for: all of ``Port``, half of ``Host and port``."""
    hits = sum(bool(question.matched({word})) for word in heading)
    return 0.5 + 0.5 * hits / len(heading) if heading else 0.0


def _density(question: Question, words: Sequence[str]) -> float:
    """Tell whether words are said often: more than one hit counts, and less in a long text."""
    hits = sum(question.coverage({word}) for word in words)
    return hits / (hits + 1.0 + len(words) / 100)
