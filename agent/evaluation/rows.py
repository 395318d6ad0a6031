"""Rows -> answers and their scores, a few rows at once and in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from agent.errors import StackError, StackTimeout, StackUnavailable, TooManyTasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.evaluation.candidates import Candidate
    from agent.evaluation.row import Row
    from agent.evaluation.scoring.functions import Scoring

type Json = Any

AT_ONCE = 4
"""How many rows one evaluation asks at once."""

_PASSING = (TooManyTasks, StackUnavailable, StackTimeout)


class Answered(NamedTuple):
    """A row: its answer, and the score of it by the name of each scoring function, both as JSON.

    It is written once: what came of thousands of rows is kept several times.
    """

    generation: msgspec.Raw
    scores: dict[str, msgspec.Raw]

    @property
    def size(self) -> int:
        """How large it is, in bytes."""
        return sum(memoryview(raw).nbytes for raw in (self.generation, *self.scores.values()))


def check_rows(rows: Sequence[Row], scorings: Mapping[str, Scoring]) -> None:
    """Raise ``InvalidParams`` for the first row that cannot be asked, or not be scored."""
    needs = (scoring.function.needs for scoring in scorings.values())
    needed = frozenset[str]().union(*needs)
    for row in rows:
        row.check(needed)


class Evaluator:
    """Asks a candidate and scores what it says.

    ``delays`` are how many seconds to wait before trying a row again whose stack was away, or busy.
    """

    def __init__(
        self,
        candidate: Candidate,
        scorings: Mapping[str, Scoring],
        delays: Sequence[float] = (),
    ) -> None:
        """Nothing is asked."""
        self._candidate = candidate
        self._scorings = scorings
        self._delays = delays

    @property
    def agent_id(self) -> str | None:
        """The agent that was made to answer, if one was."""
        return self._candidate.agent_id

    async def evaluate(self, rows: Sequence[Row]) -> Sequence[Answered]:
        """Return what became of the rows, in order; the first that fails ends all."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(row: Row) -> Answered:
            async with places:
                try:
                    return await self._patiently(row)
                except StackError as exc:
                    exc.message = f"{row.place}: {exc.message}"
                    raise

        tasks = [asyncio.create_task(one(row)) for row in rows]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _patiently(self, row: Row) -> Answered:
        for delay in self._delays:
            try:
                return await self._one(row)
            except _PASSING:
                await asyncio.sleep(delay)
        return await self._one(row)

    async def _one(self, row: Row) -> Answered:
        generation = await self._candidate.answer(row)
        answered = row.values | generation
        scores = {
            name: _json(_weighed(row, await scoring.function.score(answered)))
            for name, scoring in self._scorings.items()
        }
        return Answered(_json(generation), scores)


def _weighed(row: Row, score: dict[str, Json]) -> dict[str, Json]:
    """Keep the weight that a row has with its score, for the weighted average."""
    weight = row.values.get("weight")
    return score if weight is None else score | {"weight": weight}


class _Counted(msgspec.Struct):
    """What of a score is aggregated."""

    score: Json = None
    weight: Json = 1


class Kept(msgspec.Struct):
    """What another needs to go on; ``agent_id`` is the agent that was made to answer, if one was."""

    generations: list[msgspec.Raw]
    scores: dict[str, list[msgspec.Raw]]
    agent_id: str | None = None

    @classmethod
    def of(cls, saved: Json) -> Self:
        """Return it from what was saved."""
        scores = {name: list(map(_json, rows)) for name, rows in saved["scores"].items()}
        return cls(list(map(_json, saved["generations"])), scores, saved["agent_id"])

    @property
    def size(self) -> int:
        """How large the answers and their scores are, in bytes."""
        kept = (self.generations, *self.scores.values())
        return sum(memoryview(raw).nbytes for rows in kept for raw in rows)


class Outcome:
    """What became of all rows so far; ``kept`` goes on from what another has done."""

    def __init__(self, scorings: Mapping[str, Scoring], kept: Kept | None = None) -> None:
        """Begin with nothing, or with what was ``kept``."""
        self._scorings = scorings
        self.kept = kept or Kept([], {name: [] for name in scorings})

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.kept.generations)

    def add(self, answered: Sequence[Answered]) -> None:
        """Add what became of the next rows."""
        for generation, scores in answered:
            self.kept.generations.append(generation)
            for name, score in scores.items():
                self.kept.scores[name].append(score)

    def response(self) -> Json:
        """Return the ``EvaluateResponse``."""
        scores = {name: self._result(name, scoring) for name, scoring in self._scorings.items()}
        return {"generations": self.kept.generations, "scores": scores}

    def _result(self, name: str, scoring: Scoring) -> Json:
        rows = self.kept.scores[name]
        counted = (msgspec.json.decode(row, type=_Counted) for row in rows)
        return {
            "score_rows": rows,
            "aggregated_results": scoring.aggregated(
                [{"score": each.score, "weight": each.weight} for each in counted]
            ),
        }


def _json(value: Json) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
