"""How good answers are, and what the scores of all come to."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import InvalidParams
from agent.evaluation.config import BasicParams, JudgeParams, RegexParams
from agent.evaluation.scoring.aggregation import AGGREGATIONS, aggregate
from agent.evaluation.scoring.functions import Scoring, make_scorings
from agent.evaluation.scoring.judge import MOST_PLACES, PROMPT_CHARS, TEMPLATE_CHARS
from agent.evaluation.scoring.patterns import Patterns

pytestmark = pytest.mark.anyio

EQUALITY, SUBSET = "basic::equality", "basic::subset_of"
CHOICE = "basic::regex_parser_multiple_choice_answer"
JUDGE, SIMPLE_QA = "llm-as-judge::base", "llm-as-judge::405b-simpleqa"


class Judges:
    """A model that always says the same."""

    def __init__(self, says: str = "Score: 5") -> None:
        self.says = says
        self.asked: list[tuple[str, str | None]] = []

    async def __call__(self, prompt: str, model: str | None) -> str:
        """Judge."""
        self.asked.append((prompt, model))
        return self.says


def scoring(name: str, given: Any = None, judges: Judges | None = None) -> Scoring:
    """Return one function."""
    params = {} if given is None else {name: given}
    return make_scorings([name], params, judges or Judges())[name]


async def score(function: Scoring, expected: Any, generated: str, **columns: Any) -> Any:
    """Return the score of one answer."""
    row = {"expected_answer": expected, "generated_answer": generated, **columns}
    return (await function.function.score(row))["score"]


def rows(*scores: Any) -> list[dict[str, Any]]:
    """Return score rows."""
    return [{"score": each} for each in scores]


@pytest.mark.parametrize(
    ("name", "expected", "generated", "wanted"),
    [
        (EQUALITY, "Paris", "Paris", 1.0),
        (EQUALITY, "Paris", "paris", 0.0),
        (EQUALITY, 4, "4", 1.0),
        (EQUALITY, "", "", 1.0),
        (SUBSET, "Paris", "It is Paris.", 1.0),
        (SUBSET, "Rome", "It is Paris.", 0.0),
        (SUBSET, True, "it is true", 1.0),
        (CHOICE, "B", "Let me see. Answer: B", 1.0),
        (CHOICE, "B", "The best answer is B.", 1.0),
        (CHOICE, "B", "**Answer: (B)**", 1.0),
        (CHOICE, "C", "答案 : C", 1.0),
        (CHOICE, "B", "Answer: A, not B", 0.0),
        (CHOICE, "A", "An answer a day", 0.0),
        (CHOICE, "", "nothing", 0.0),
    ],
)
async def test_an_answer_is_compared_with_the_expected_one(
    name: str, expected: Any, generated: str, wanted: float
) -> None:
    assert await score(scoring(name), expected, generated) == wanted


async def test_patterns_of_the_caller_take_the_place_of_ours() -> None:
    params = RegexParams(parsing_regexes=(r"never", r"= (\w+)"), aggregation_functions=("median",))
    parser = scoring(CHOICE, params)

    assert await score(parser, "42", "x = 42") == 1.0
    assert await score(parser, "42", "Answer: 42") == 0.0
    assert parser.aggregations == ("median",)


async def test_a_pattern_without_a_group_is_all_that_it_matches() -> None:
    assert await Patterns("p", [r"\d+"]).first("it is 42") == "42"


@pytest.mark.parametrize(
    "pattern",
    [r"\(?R\)", r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", r"(?P<x>a{0,9999})", "x{,5}"],
)
def test_patterns_that_people_write_are_taken(pattern: str) -> None:
    Patterns("p", [pattern])


async def test_a_pattern_that_takes_for_ever_is_refused_by_its_place() -> None:
    patterns = Patterns("params.regexes", [r"x", r"(a+)+$", r"b"])
    with pytest.raises(
        InvalidParams, match=r"params\.regexes\[1\]: searching took more than 0.5 s"
    ):
        await patterns.first("a" * 5000 + "b")


@pytest.mark.parametrize(
    ("patterns", "field"),
    [
        (["ok", "("], "p[1]"),
        (["x" * 2001], "p[0]"),
        (["x"] * 101, "p"),
        (["(" * 1500], "p[0]"),
        (["(?R)"], "p[0]"),
        ([r"\\(a(?1))"], "p[0]"),
        (["(?ix)a{1 000 000 000}"], "p[0]"),
        (["a{1000000000}"], "p"),
        (["(?:(?:a{2}){1000,}){1000}", "a"], "p"),
        (["a{9000}"] * 50, "p"),
    ],
)
def test_what_is_no_pattern_is_refused_before_anything_runs(
    patterns: list[str], field: str
) -> None:
    with pytest.raises(InvalidParams) as refused:
        Patterns("p", patterns)
    assert refused.value.field == field


async def test_a_judge_is_asked_with_the_template_and_its_words_are_searched() -> None:
    judges = Judges("I think. Score: 5 of 10")
    template = "{{Q}}: {input_query} {expected_answer} {generated_answer} {other} {input_query.x}"
    params = JudgeParams(
        judge_model="m", prompt_template=template, judge_score_regexes=(r"Score: (\d+)",)
    )
    judge = scoring(JUDGE, params, judges)

    row = {"input_query": "q {expected_answer}", "expected_answer": 4, "generated_answer": "four"}
    assert await judge.function.score(row) == {"score": "5", "judge_feedback": judges.says}
    assert judges.asked == [
        ("{Q}: q {expected_answer} 4 four {other} {input_query.x}", "m"),
    ]
    assert judge.function.needs == {"input_query", "expected_answer"}
    assert judge.aggregated([{"score": "5"}]) == {}


async def test_a_prompt_does_not_grow_beyond_what_a_model_reads() -> None:
    judges = Judges()
    judge = scoring(JUDGE, JudgeParams(prompt_template="{input_query}" * MOST_PLACES), judges)
    row = {"generated_answer": "b", "input_query": "q" * (PROMPT_CHARS // MOST_PLACES)}
    with pytest.raises(InvalidParams, match="prompt_template: a prompt would be longer"):
        await judge.function.score(row)
    assert judges.asked == []


async def test_a_judge_that_says_no_score_gives_none() -> None:
    judge = scoring(SIMPLE_QA, None, Judges("It is hard to say."))
    row = {"input_query": "q", "expected_answer": "a", "generated_answer": "b"}
    scored = await judge.function.score(row)

    assert scored["score"] is None
    counted = judge.aggregated([scored, {"score": "A"}])
    assert counted == {"categorical_count": {"categorical_count": {"A": 1, "None": 1}}}


@pytest.mark.parametrize(
    ("names", "params", "words"),
    [
        (["nope::x"], {}, "nope::x"),
        ([EQUALITY] * 101, {}, "more than 100"),
        ([JUDGE], {}, "prompt_template"),
        (
            [JUDGE],
            {JUDGE: JudgeParams(prompt_template="{input_query}" * (MOST_PLACES + 1))},
            "prompt_template: more than",
        ),
        (
            [JUDGE],
            {JUDGE: JudgeParams(prompt_template="x" * (TEMPLATE_CHARS + 1))},
            "prompt_template: longer than",
        ),
        ([EQUALITY], {EQUALITY: RegexParams()}, "'basic'"),
        ([CHOICE], {CHOICE: BasicParams()}, "'regex_parser'"),
    ],
)
def test_a_function_that_cannot_be_is_refused_by_its_name(
    names: list[str], params: Any, words: str
) -> None:
    with pytest.raises(InvalidParams, match=words):
        make_scorings(names, params, Judges())


@pytest.mark.parametrize(
    ("name", "scores", "wanted"),
    [
        ("average", [1.0, 0.0, None, "3", "x", True], {"average": 1.25}),
        ("average", ["good", None, "nan"], {"average": None}),
        ("average", [], {"average": None}),
        ("average", [1.7e308, "1.7e308"], {"average": None}),
        ("median", ["5", 1, 2], {"median": 2}),
        ("median", [1.7e308, 1.7e308], {"median": None}),
        ("median", [None], {"median": None}),
        (
            "accuracy",
            [1.0, 0.0, 1.0, None],
            {"accuracy": 0.5, "num_correct": 2.0, "num_total": 4},
        ),
        (
            "accuracy",
            ["5", "A", 10**400],
            {"accuracy": 0.0, "num_correct": 0.0, "num_total": 3},
        ),
        ("accuracy", [], {"accuracy": None, "num_correct": 0.0, "num_total": 0}),
        ("categorical_count", ["5", None, "5"], {"categorical_count": {"5": 2, "None": 1}}),
        ("categorical_count", [], {"categorical_count": {}}),
        ("weighted_average", [], {"weighted_average": None}),
        ("weighted_average", ["x", None], {"weighted_average": None}),
        ("weighted_average", [1, 0], {"weighted_average": 0.5}),
    ],
)
def test_scores_are_aggregated_whatever_they_are(
    name: str, scores: list[Any], wanted: dict[str, Any]
) -> None:
    assert aggregate(rows(*scores), [name]) == {name: wanted}


def test_rows_count_as_much_as_they_weigh() -> None:
    weighed: list[dict[str, Any]] = [
        {"score": 1.0, "weight": 3},
        {"score": "0", "weight": "1"},
        {"score": 1.0, "weight": None},
        {"score": 1.0, "weight": -5},
        {"score": None, "weight": 100},
    ]
    assert AGGREGATIONS["weighted_average"](weighed) == {"weighted_average": 0.75}
    heavy = [{"score": 1.0, "weight": 1e308}] * 2
    assert AGGREGATIONS["weighted_average"](heavy) == {"weighted_average": None}
