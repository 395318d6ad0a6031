"""The scoring functions by name: those of Llama Stack's providers ``basic`` and ``llm-as-judge``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent.errors import InvalidParams
from agent.evaluation.scoring.aggregation import aggregate
from agent.evaluation.scoring.basic import ANSWER_LETTER, Equality, RegexParser, SubsetOf
from agent.evaluation.scoring.judge import SIMPLE_QA, SIMPLE_QA_GRADE, Judge, Template
from agent.evaluation.scoring.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.evaluation.config import JudgeParams, Params, RegexParams
    from agent.evaluation.scoring.judge import Ask

type Json = Any

EQUALITY, SUBSET_OF = "basic::equality", "basic::subset_of"
MULTIPLE_CHOICE = "basic::regex_parser_multiple_choice_answer"
JUDGE, JUDGE_SIMPLE_QA = "llm-as-judge::base", "llm-as-judge::405b-simpleqa"
MOST = 100

# The parameters that each takes, and how its scores are aggregated when nothing else is said.
_KINDS = {
    EQUALITY: ("basic", ("accuracy",)),
    SUBSET_OF: ("basic", ("accuracy",)),
    MULTIPLE_CHOICE: ("regex_parser", ("accuracy",)),
    JUDGE: ("llm_as_judge", ()),
    JUDGE_SIMPLE_QA: ("llm_as_judge", ("categorical_count",)),
}


class ScoringFunction(Protocol):
    """Tells how good one answer is; ``needs`` are the columns that it reads beside the answer."""

    @property
    def needs(self) -> frozenset[str]:
        """See the class."""

    async def score(self, row: dict[str, Json]) -> dict[str, Json]:
        """Return ``{"score", ...}`` of a row with its ``generated_answer``."""


class Scoring(NamedTuple):
    """A scoring function, and how the scores of all rows are put together."""

    function: ScoringFunction
    aggregations: tuple[str, ...]

    def aggregated(self, rows: Sequence[dict[str, Json]]) -> Json:
        """Return what the scores of all rows come to."""
        return aggregate(rows, self.aggregations)


def make_scorings(
    names: Sequence[str], params: Mapping[str, Params], ask: Ask
) -> dict[str, Scoring]:
    """Return the functions of these names; raises ``InvalidParams`` for one that is not there.

    ``ask`` asks the models that judge.
    """
    if len(names) > MOST:
        raise InvalidParams("scoring_functions", f"more than {MOST}")
    unknown = [name for name in names if name not in _KINDS]
    if unknown:
        known = ", ".join(_KINDS)
        problem = f"there is no scoring function {unknown[0][:200]!r}; there are {known}"
        raise InvalidParams("scoring_functions", problem)
    return {name: _scoring(name, params.get(name), ask) for name in names}


def _scoring(name: str, given: Params | None, ask: Ask) -> Scoring:
    kind, aggregations = _KINDS[name]
    field = f"scoring_params.{name}"
    if given is not None:
        if given.type != kind:
            raise InvalidParams(f"{field}.type", f"the function takes parameters of type {kind!r}")
        if given.aggregation_functions is not None:
            aggregations = given.aggregation_functions
    return Scoring(_function(name, field, given, ask), tuple(dict.fromkeys(aggregations)))


def _function(name: str, field: str, given: Any, ask: Ask) -> ScoringFunction:
    if name == EQUALITY:
        return Equality()
    if name == SUBSET_OF:
        return SubsetOf()
    if name == MULTIPLE_CHOICE:
        return _regex_parser(field, given)
    return _judge(name, field, given, ask)


def _regex_parser(field: str, given: RegexParams | None) -> RegexParser:
    patterns = given.parsing_regexes if given is not None else ()
    return RegexParser(Patterns(f"{field}.parsing_regexes", patterns or (ANSWER_LETTER,)))


def _judge(name: str, field: str, given: JudgeParams | None, ask: Ask) -> Judge:
    is_simple_qa = name == JUDGE_SIMPLE_QA
    template = given.prompt_template if given is not None else None
    patterns = given.judge_score_regexes if given is not None else ()
    if template is None:
        if not is_simple_qa:
            raise InvalidParams(f"{field}.prompt_template", "the function needs one")
        template = SIMPLE_QA
    if not patterns and is_simple_qa:
        patterns = (SIMPLE_QA_GRADE,)
    model = given.judge_model if given is not None else None
    return Judge(
        ask,
        model,
        Template(f"{field}.prompt_template", template),
        Patterns(f"{field}.judge_score_regexes", patterns),
    )
