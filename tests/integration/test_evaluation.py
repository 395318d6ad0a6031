"""Evaluations: rows at once, and datasets as jobs that survive their process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from sqlalchemy import update

from a2a_state.job_table import jobs
from a2a_state.jobs import EVAL, Job, Jobs
from agent.auth.access import WITHOUT_RULES
from agent.caller import Caller
from agent.clock import now
from agent.errors import (
    InvalidParams,
    PermissionDenied,
    QuotaExceeded,
    ResourceNotFound,
    StackUnavailable,
    TurnFailed,
)
from agent.evaluation.benchmarks import NewBenchmark
from agent.evaluation.dataset_job import HOURS, ROWS
from agent.evaluation.evaluation import CALL_ROWS, Evaluation
from agent.inferences import Inferences
from agent.stacks.single_turn import Declined
from tests.fakes.engine import until
from tests.fakes.evaluated import (
    AGENT,
    CANDIDATE,
    CONFIG,
    MODEL,
    EchoAgents,
    ModelStack,
    RowsOfDatasets,
    echo,
    memory,
    row,
)
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from agent.stacks import Inference

pytestmark = pytest.mark.anyio

ANN, BOB = Caller("ann", actions=WITHOUT_RULES), Caller("bob", actions=WITHOUT_RULES)
EQUALITY = "basic::equality"
ALL_RIGHT = {"accuracy": {"accuracy": 1.0, "num_correct": 3.0, "num_total": 3}}


def read(answer: Any) -> Any:
    """Return an answer that holds JSON as clients read it."""
    return msgspec.json.decode(msgspec.json.encode(answer))


class World:
    """An evaluation with what it works on."""

    def __init__(
        self, database: Database, stack: ModelStack | None = None, rows: int = 3, **settings: Any
    ) -> None:
        self.database = database
        self.jobs = Jobs(database)
        self.stack = stack or ModelStack()
        self.agents = EchoAgents()
        self.datasets = RowsOfDatasets(ds=[row(number) for number in range(rows)])
        given = memory(**settings)
        inferences = Inferences(self.stack, given.limits, None)
        agents: Any = self.agents
        self.evaluation = Evaluation(database, given, self.datasets, agents, inferences, self.stack)

    async def register(self, *functions: str, dataset: str = "ds") -> None:
        """Register "bm" for Ann."""
        new = NewBenchmark(
            benchmark_id="bm", dataset_id=dataset, scoring_functions=functions or (EQUALITY,)
        )
        await self.evaluation.benchmarks.register(ANN, new)

    async def rows(self, rows: Any, config: Any = None, *functions: str) -> Any:
        """Evaluate rows."""
        names = functions or (EQUALITY,)
        return read(await self.evaluation.evaluate_rows(ANN, "bm", rows, names, config or CONFIG))

    async def result(self, job_id: str) -> Any:
        """Return what came of a job."""
        return read(await self.evaluation.result(ANN, "bm", job_id))

    async def ended(self, job_id: str) -> str:
        """Return the status of a job that has ended."""
        status = ""

        async def is_over() -> bool:
            nonlocal status
            status = (await self.evaluation.status(ANN, "bm", job_id))["status"]
            return status not in {"scheduled", "in_progress"}

        with anyio.fail_after(20):
            await until(is_over)
        return status


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """Return a database in memory."""
    async with open_database("sqlite://") as opened:
        yield opened


@pytest.fixture
async def world(database: Database) -> World:
    """Return a world with a benchmark of three rows, where no job runs."""
    made = World(database)
    await made.register()
    return made


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[Evaluation]:
    """Run jobs."""
    await world.evaluation.open()
    try:
        yield world.evaluation
    finally:
        await world.evaluation.close()


async def test_rows_are_answered_in_order_and_scored(world: World) -> None:
    rows = [row(number) for number in range(6)] + [row(6, expected_answer="else")]
    got = await world.rows(rows, None, EQUALITY, "basic::subset_of")

    assert got["generations"] == [{"generated_answer": f"Echo: q{number}"} for number in range(7)]
    assert [each["score"] for each in got["scores"][EQUALITY]["score_rows"]] == [1.0] * 6 + [0.0]
    assert got["scores"][EQUALITY]["aggregated_results"]["accuracy"]["num_correct"] == 6.0
    assert set(got["scores"]) == {EQUALITY, "basic::subset_of"}


async def test_the_model_is_told_all_that_the_candidate_and_the_row_say(world: World) -> None:
    candidate = CANDIDATE | {
        "sampling_params": {
            "strategy": {"type": "top_p", "temperature": 0.5, "top_p": 0.9},
            "max_tokens": 8,
            "stop": ["END"],
        },
        "system_message": {"role": "system", "content": "Be short."},
    }
    chat = [
        {"role": "system", "content": "In French."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "salut"},
        {"role": "user", "content": "more"},
    ]
    rows = [{"chat_completion_input": chat, "expected_answer": "x"}]
    await world.rows(rows, {"eval_candidate": candidate})

    asked = world.stack.asked[0]
    assert (asked.owner, asked.model) == ("ann", MODEL)
    assert asked.instructions == "Be short.\n\nIn French."
    assert asked.text == "user: hi\n\nassistant: salut\n\nuser: more"
    assert asked.sampling is not None
    assert (asked.sampling.strategy, asked.sampling.top_p) == ("top_p", 0.9)
    assert (asked.sampling.max_tokens, asked.sampling.stop) == (8, ("END",))


async def test_an_agent_answers_in_sessions_that_are_gone_afterwards(world: World) -> None:
    got = await world.rows([row(0), row(1)], AGENT)

    answer = {"generated_answer": "Echo: q0", "context": "a passage"}
    assert got["generations"][0] == answer
    assert got["scores"][EQUALITY]["aggregated_results"]["accuracy"]["accuracy"] == 1.0
    assert (world.agents.made, world.agents.left) == (3, set())


async def test_what_a_shield_says_in_place_of_an_answer_is_the_answer(database: Database) -> None:
    def reply(asked: Inference) -> str:
        if asked.text == "q0":
            raise Declined("No.")
        return echo(asked)

    world = World(database, ModelStack(reply))
    await world.register()
    got = await world.rows([row(0), row(1)])
    assert [each["generated_answer"] for each in got["generations"]] == ["No.", "Echo: q1"]


@pytest.mark.parametrize("params", [{}, {"sampling_params": {"strategy": {"type": "greedy"}}}])
async def test_a_greedy_answer_is_asked_for_at_temperature_zero(world: World, params: Any) -> None:
    await world.rows([row(0)], {"eval_candidate": {"type": "model", "model": MODEL} | params})
    (asked,) = world.stack.asked
    assert asked.sampling is not None
    assert asked.sampling.temperature == 0


OTHER = "mock/other"


@pytest.mark.parametrize(
    ("lacks", "config"),
    [
        ("query", CONFIG),
        ("agents", AGENT),
        ("model_override", {"eval_candidate": CANDIDATE | {"model": OTHER}}),
        (
            "model_override",
            CONFIG
            | {
                "scoring_params": {
                    "llm-as-judge::base": {
                        "type": "llm_as_judge",
                        "judge_model": OTHER,
                        "prompt_template": "x",
                    }
                }
            },
        ),
    ],
)
async def test_who_may_not_ask_may_not_evaluate(world: World, lacks: str, config: Any) -> None:
    may = Caller("ann", actions=WITHOUT_RULES - {lacks})
    functions = ("llm-as-judge::base",) if "scoring_params" in config else (EQUALITY,)
    with pytest.raises(PermissionDenied):
        await world.evaluation.evaluate_rows(may, "bm", [row(0)], functions, config)
    assert (world.stack.asked, world.agents.made) == ([], 0)


@pytest.mark.parametrize("settings", [{}, {"inference": {"default_model": MODEL}}])
async def test_who_may_not_choose_a_model_evaluates_the_default_one(
    database: Database, settings: Any
) -> None:
    world = World(database, **settings)
    await world.register()
    may = Caller("ann", actions=WITHOUT_RULES - {"model_override"})
    for name in (MODEL, MODEL.removeprefix("mock/")):
        config = {"eval_candidate": CANDIDATE | {"model": name}}
        await world.evaluation.evaluate_rows(may, "bm", [row(0)], (), config)


async def test_an_agent_of_a_job_is_made_by_who_may_what_its_caller_may(world: World) -> None:
    may = Caller("ann", actions=frozenset({"eval", "query", "agents"}))
    async with opened(world) as evaluation:
        begun = await evaluation.run_eval(may, "bm", AGENT)
        assert await world.ended(begun["job_id"]) == "completed"
    assert world.agents.makers == [may]


async def test_no_rows_are_no_answers_and_no_error(world: World) -> None:
    got = await world.rows([], AGENT)
    nothing = {"accuracy": {"accuracy": None, "num_correct": 0.0, "num_total": 0}}
    assert got == {
        "generations": [],
        "scores": {EQUALITY: {"score_rows": [], "aggregated_results": nothing}},
    }
    assert world.agents.made == 0


async def test_a_model_judges_with_an_average_over_what_are_numbers(database: Database) -> None:
    def reply(asked: Inference) -> str:
        return "Score: 4" if "right" in asked.text else echo(asked)

    world = World(database, ModelStack(reply))
    await world.register()
    judge = {
        "type": "llm_as_judge",
        "judge_model": MODEL,
        "prompt_template": "{expected_answer} {generated_answer}",
        "judge_score_regexes": [r"Score: (\d)"],
        "aggregation_functions": ["average", "median"],
    }
    config = CONFIG | {"scoring_params": {"llm-as-judge::base": judge}}
    rows = [row(0, expected_answer="right"), row(1)]
    got = (await world.rows(rows, config, "llm-as-judge::base"))["scores"]["llm-as-judge::base"]

    assert got["score_rows"][0] == {"score": "4", "judge_feedback": "Score: 4"}
    assert got["score_rows"][1]["score"] is None
    assert got["aggregated_results"] == {"average": {"average": 4.0}, "median": {"median": 4.0}}


@pytest.mark.parametrize(
    ("rows", "config", "functions", "words"),
    [
        ([row(0), {"a": 1}], CONFIG, (), r"input_rows\[1\]"),
        ([{"input_query": "q"}], CONFIG, (), r"input_rows\[0\].expected_answer"),
        ([row(0)], CONFIG, ("nope::x",), "nope::x"),
        ([row(0)] * (CALL_ROWS + 1), CONFIG, (), "input_rows: more than"),
        ([row(0)], {"eval_candidate": {"type": "nope"}}, (), "benchmark_config"),
        ([row(0)], CONFIG | {"num_examples": -2}, (), "num_examples"),
        ([row(0)], {"eval_candidate": {"type": "agent", "config": {}}}, (), "config.model"),
    ],
)
async def test_what_cannot_be_evaluated_is_refused_before_a_model_is_asked(
    world: World, rows: Any, config: Any, functions: tuple[str, ...], words: str
) -> None:
    with pytest.raises(InvalidParams, match=words):
        await world.rows(rows, config, *functions)
    assert world.stack.asked == []


async def test_what_is_not_there_is_not_found_whoever_has_it(world: World) -> None:
    unknown = {"eval_candidate": CANDIDATE | {"model": "no/such"}}
    evaluation = world.evaluation
    for call in (
        world.rows([row(0)], unknown),
        evaluation.run_eval(ANN, "bm", unknown),
        evaluation.run_eval(ANN, "other", CONFIG),
        evaluation.run_eval(BOB, "bm", CONFIG),
        evaluation.evaluate_rows(BOB, "bm", [], [], CONFIG),
        evaluation.status(ANN, "bm", "no\0job"),
        evaluation.benchmarks.find(ANN, "no\0benchmark"),
    ):
        with pytest.raises(ResourceNotFound):
            await call

    job = await evaluation.run_eval(ANN, "bm", CONFIG)
    for caller, benchmark in ((ANN, "other"), (BOB, "bm")):
        for ask in (evaluation.status, evaluation.result, evaluation.cancel):
            with pytest.raises(ResourceNotFound, match="Job not found"):
                await ask(caller, benchmark, job["job_id"])


async def test_a_dataset_is_looked_for_when_it_is_needed(database: Database) -> None:
    world = World(database)
    await world.register(dataset="gone")
    with pytest.raises(ResourceNotFound, match="Dataset not found"):
        await world.evaluation.run_eval(ANN, "bm", CONFIG)


async def test_without_rows_of_the_caller_those_of_the_dataset_are_evaluated(world: World) -> None:
    config = CONFIG | {"num_examples": 2}
    got = read(await world.evaluation.evaluate_rows(ANN, "bm", None, None, config))
    assert len(got["generations"]) == 2
    assert set(got["scores"]) == {EQUALITY}


@pytest.mark.parametrize(("examples", "count"), [(None, 23), (-1, 23), (12, 12), (0, 0)])
async def test_a_job_evaluates_the_dataset(
    database: Database, examples: int | None, count: int
) -> None:
    world = World(database, rows=23)
    await world.register()
    config = CONFIG if examples is None else CONFIG | {"num_examples": examples}
    async with opened(world) as evaluation:
        begun = await evaluation.run_eval(ANN, "bm", config)
        assert begun["status"] == "scheduled"
        assert await world.ended(begun["job_id"]) == "completed"
        got = await world.result(begun["job_id"])
        await evaluation.cancel(ANN, "bm", begun["job_id"])
        assert await world.ended(begun["job_id"]) == "completed"

    assert [each["generated_answer"] for each in got["generations"]] == [
        f"Echo: q{number}" for number in range(count)
    ]
    assert got["scores"][EQUALITY]["aggregated_results"]["accuracy"]["num_total"] == count


async def test_a_job_of_an_agent_leaves_nothing_behind(world: World) -> None:
    async with opened(world) as evaluation:
        begun = await evaluation.run_eval(ANN, "bm", AGENT)
        assert await world.ended(begun["job_id"]) == "completed"
        got = await world.result(begun["job_id"])
    assert got["scores"][EQUALITY]["aggregated_results"] == ALL_RIGHT
    assert world.agents.left == set()


async def test_what_a_process_made_for_a_job_before_it_died_is_deleted_by_the_next(
    world: World,
) -> None:
    begun = await world.evaluation.run_eval(ANN, "bm", AGENT)
    dead = await world.jobs.claim(EVAL, "dead", now(), now() - 1)
    assert dead is not None
    made = await world.agents.create(ANN, {})
    await world.jobs.save(dead, {"generations": [], "scores": {EQUALITY: []}} | made)
    async with opened(world):
        assert await world.ended(begun["job_id"]) == "completed"
    assert world.agents.left == set()


async def test_a_result_that_is_not_there_says_why(database: Database) -> None:
    def reply(asked: Inference) -> str:
        raise TurnFailed(f"No answer to {asked.text}.")

    world = World(database, ModelStack(reply))
    await world.register()
    begun = await world.evaluation.run_eval(ANN, "bm", CONFIG)
    with pytest.raises(InvalidParams, match="its status is scheduled"):
        await world.evaluation.result(ANN, "bm", begun["job_id"])
    async with opened(world) as evaluation:
        assert await world.ended(begun["job_id"]) == "failed"
        with pytest.raises(InvalidParams, match=r"job failed: rows\[(\d)\]: No answer to q\1"):
            await evaluation.result(ANN, "bm", begun["job_id"])


async def test_a_bad_row_of_a_dataset_fails_the_job_before_a_model_is_asked(world: World) -> None:
    world.datasets.datasets["ds"] += [row(number) for number in range(20)] + [{"a": 1}]
    async with opened(world) as evaluation:
        begun = await evaluation.run_eval(ANN, "bm", CONFIG)
        assert await world.ended(begun["job_id"]) == "failed"
        with pytest.raises(InvalidParams, match=r"rows\[23\]"):
            await evaluation.result(ANN, "bm", begun["job_id"])
    assert world.stack.asked == []


async def test_a_dataset_is_evaluated_as_far_as_one_job_may(world: World) -> None:
    world.datasets.datasets["ds"] = [row(0)] * (ROWS + 1)
    with pytest.raises(InvalidParams, match="num_examples"):
        await world.evaluation.run_eval(ANN, "bm", CONFIG | {"num_examples": ROWS + 1})
    async with opened(world) as evaluation:
        begun = await evaluation.run_eval(ANN, "bm", CONFIG)
        assert await world.ended(begun["job_id"]) == "failed"
        with pytest.raises(InvalidParams, match="say num_examples"):
            await evaluation.result(ANN, "bm", begun["job_id"])


async def test_a_job_that_is_canceled_stops_asking(database: Database) -> None:
    world = World(database, ModelStack(holding=frozenset({"q1"})))
    await world.register()
    async with opened(world) as evaluation:
        begun = await evaluation.run_eval(ANN, "bm", CONFIG)
        await world.stack.is_held.wait()
        assert (await evaluation.status(ANN, "bm", begun["job_id"]))["status"] == "in_progress"
        await evaluation.cancel(ANN, "bm", begun["job_id"])
        assert await world.ended(begun["job_id"]) == "cancelled"
        with pytest.raises(InvalidParams, match="its status is cancelled"):
            await evaluation.result(ANN, "bm", begun["job_id"])
    assert world.stack.given_up == 1


async def test_another_process_goes_on_with_the_rows_that_are_left(database: Database) -> None:
    """The first stops within its second chunk of ten rows: the first chunk is not asked again."""
    first = World(database, ModelStack(holding=frozenset({"q15"})), rows=23)
    await first.register()
    async with opened(first) as evaluation:
        begun = await evaluation.run_eval(ANN, "bm", CONFIG)
        await first.stack.is_held.wait()

    second = World(database, rows=23)
    async with opened(second):
        assert await second.ended(begun["job_id"]) == "completed"
        got = await second.result(begun["job_id"])

    assert sorted(second.stack.texts) == sorted(f"q{number}" for number in range(10, 23))
    accuracy = {"accuracy": 1.0, "num_correct": 23.0, "num_total": 23}
    assert got["scores"][EQUALITY]["aggregated_results"] == {"accuracy": accuracy}


async def test_a_job_has_its_time_whoever_runs_it(world: World) -> None:
    begun = await world.evaluation.run_eval(ANN, "bm", CONFIG)
    long_ago = now() - HOURS * 3_600_000
    assert await world.jobs.claim(EVAL, "dead", now(), now() - 1) is not None
    early = update(jobs).values(started_at=long_ago)
    await world.database.write(lambda c: c.execute(early))
    async with opened(world) as evaluation:
        assert await world.ended(begun["job_id"]) == "failed"
        with pytest.raises(InvalidParams, match="took more than 24 hours"):
            await evaluation.result(ANN, "bm", begun["job_id"])


async def test_a_job_waits_for_a_stack_that_is_away(database: Database) -> None:
    failures = iter([StackUnavailable()])

    def reply(asked: Inference) -> str:
        for failure in failures:
            raise failure
        return echo(asked)

    world = World(database, ModelStack(reply))
    await world.register()
    with pytest.raises(StackUnavailable):
        await world.rows([row(0)])
    failures = iter([StackUnavailable()])
    async with opened(world) as evaluation:
        begun = await evaluation.run_eval(ANN, "bm", CONFIG)
        assert await world.ended(begun["job_id"]) == "completed"


async def test_a_job_that_another_version_wrote_fails_in_words(world: World) -> None:
    job = Job(
        owner="ann",
        tenant="",
        kind=EVAL,
        job_id="old",
        subject="bm",
        request={"x": 1},
        created_at=now(),
    )
    await world.jobs.add(job, 20)
    async with opened(world) as evaluation:
        assert await world.ended("old") == "failed"
        with pytest.raises(InvalidParams, match="An internal error ended the job"):
            await evaluation.result(ANN, "bm", "old")


async def test_benchmarks_are_each_caller_s_own_and_not_replaced(world: World) -> None:
    benchmarks = world.evaluation.benchmarks
    new = NewBenchmark(
        benchmark_id="bm", dataset_id="else", scoring_functions=(), metadata={"x": 1}
    )
    with pytest.raises(InvalidParams, match="already exists"):
        await benchmarks.register(ANN, new)
    for _ in range(2):
        await world.register()
    await benchmarks.register(BOB, new)
    assert [each["dataset_id"] for each in (await benchmarks.list(ANN))["data"]] == ["ds"]
    assert (await benchmarks.list(Caller("ann", "tenant")))["data"] == []

    await benchmarks.unregister(ANN, "bm")
    await benchmarks.unregister(ANN, "bm")
    assert (await benchmarks.list(ANN))["data"] == []
    assert (await benchmarks.find(BOB, "bm")).metadata == {"x": 1}


async def test_a_caller_has_so_many_benchmarks(database: Database) -> None:
    world = World(database, experimental={"datasets": {"per_owner": 1}})
    await world.register()
    new = NewBenchmark(benchmark_id="more", dataset_id="ds", scoring_functions=())
    with pytest.raises(QuotaExceeded, match="have 1 benchmarks"):
        await world.evaluation.benchmarks.register(ANN, new)
    await world.evaluation.benchmarks.register(ANN.within("tenant"), new)
    assert len((await world.evaluation.benchmarks.list(ANN))["data"]) == 1
