"""A scoring function that asks a model how good the answer is."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from agent.errors import InvalidParams
from agent.evaluation.scoring.basic import text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.evaluation.scoring.patterns import Patterns

    type Ask = Callable[[str, str | None], Awaitable[str]]
    """Returns what a model says to a prompt; None is the model of the settings."""

type Json = Any

SIMPLE_QA = """\
You grade the answer to a question against the answer that is known to be right.

Question: {input_query}
Right answer: {expected_answer}
Answer to grade: {generated_answer}

The grades are:
A: it says everything that the right answer does, as far as the question asks for it, and nothing that
contradicts it. Wording, case, order, small misspellings and hedging do not matter. A number must agree
with the right one to the last digit that is given there.
B: something in it contradicts the right answer, even if it hedges.
C: it neither says what the right answer does nor contradicts it, as when it does not know.

Say one letter and nothing else: A, B or C."""
SIMPLE_QA_GRADE = r"\b(A|B|C)\b"

TEMPLATE_CHARS = 65_536
MOST_PLACES = 20
PROMPT_CHARS = 1_000_000
"""A few prompts are in memory at once for each evaluation."""

# Braces are written twice where they mean themselves, as in Python's format strings.
_PLACES = re.compile(r"\{\{|\}\}|\{(input_query|expected_answer|generated_answer)\}")


class Template:
    """What a judge is asked: {input_query}, {expected_answer} and {generated_answer} are those of a row."""

    def __init__(self, field: str, text: str) -> None:
        """``field`` is where it comes from. Raises ``InvalidParams`` for one that is too large."""
        self._field = field
        self._text = text
        found = [found[1] for found in _PLACES.finditer(text) if found[1] is not None]
        if len(text) > TEMPLATE_CHARS:
            raise InvalidParams(field, f"longer than {TEMPLATE_CHARS} characters")
        if len(found) > MOST_PLACES:
            raise InvalidParams(field, f"more than {MOST_PLACES} places for what a row has")
        self._found = Counter(found)
        self.named = frozenset(found)

    def filled(self, row: dict[str, Json]) -> str:
        """Return the prompt; raises ``InvalidParams`` for one that is too large."""
        values = {name: text_of(row[name]) for name in self.named}
        size = sum(len(values[name]) * count for name, count in self._found.items())
        if len(self._text) + size > PROMPT_CHARS:
            raise InvalidParams(
                self._field, f"a prompt would be longer than {PROMPT_CHARS} characters"
            )

        def value(found: re.Match[str]) -> str:
            name = found[1]
            return found[0][0] if name is None else values[name]

        return _PLACES.sub(value, self._text)


class Judge:
    """The score is what a pattern takes out of the words of a model; None when none is found."""

    def __init__(self, ask: Ask, model: str | None, template: Template, patterns: Patterns) -> None:
        """Nothing is asked."""
        self._ask = ask
        self._model = model
        self._template = template
        self._patterns = patterns
        self.needs = frozenset(template.named - {"generated_answer"})

    async def score(self, row: dict[str, Json]) -> dict[str, Json]:
        """See ``ScoringFunction``."""
        feedback = await self._ask(self._template.filled(row), self._model)
        return {"score": await self._patterns.first(feedback), "judge_feedback": feedback}
