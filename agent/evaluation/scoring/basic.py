"""Scoring functions that compare the answer with the expected one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from agent.evaluation.scoring.patterns import Patterns

type Json = Any

EXPECTED, GENERATED = "expected_answer", "generated_answer"

ANSWER_LETTER = (
    r"(?:(?i:the\s+(?:best|correct)\s+answer\s+is)\s*:?"
    r"|(?i:answer|antwort|respuesta|risposta|resposta|réponse|odpowiedź|ответ|jawaban|jibu|cevap"
    r"|答案|答え|回答|解答|答|답변|정답|답|উত্তর|उत्तर|الإجابة|الجواب)\s*[:\uFF1A])"
    r"[\s*(]*([A-D\uFF21-\uFF24])\b"
)
"""A model's choice of one of four answers, however it announces it."""


class Equality:
    """1 for the expected answer, 0 for any other."""

    needs: ClassVar = frozenset({EXPECTED})

    async def score(self, row: dict[str, Json]) -> dict[str, Json]:
        """See ``ScoringFunction``."""
        return {"score": float(row[GENERATED] == text_of(row[EXPECTED]))}


class SubsetOf:
    """1 for an answer that holds the expected one."""

    needs: ClassVar = frozenset({EXPECTED})

    async def score(self, row: dict[str, Json]) -> dict[str, Json]:
        """See ``ScoringFunction``."""
        return {"score": float(text_of(row[EXPECTED]) in row[GENERATED])}


class RegexParser:
    """1 when what a pattern takes out of the answer is the expected one."""

    needs: ClassVar = frozenset({EXPECTED})

    def __init__(self, patterns: Patterns) -> None:
        """The first pattern that is found counts."""
        self._patterns = patterns

    async def score(self, row: dict[str, Json]) -> dict[str, Json]:
        """See ``ScoringFunction``."""
        parsed = await self._patterns.first(row[GENERATED])
        return {"score": float(bool(parsed) and parsed == text_of(row[EXPECTED]))}


def text_of(value: Json) -> str:
    """Return a value of a row as text: tables make numbers of what looks like one."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
