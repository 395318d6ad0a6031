"""What is counted of turns and calls, as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from agent.caller import Caller
from agent.metrics import LONGEST, MOST_MODELS, Metrics
from agent.model import SETTLED, Task, TaskState, TaskStatus
from agent.stacks import Inferred, Model, Usage
from rest_compat.lightspeed.shared import Shared
from rest_compat.measured import Measured

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

ANN = Caller("ann")
FOX = {"provider": "openai", "model": "fox"}


def task(
    state: TaskState = TaskState.COMPLETED,
    model: str | None = "openai/fox",
    usage: tuple[int, int] | None = (3, 5),
    task_id: str = "t",
) -> Task:
    """Return a task that has come to rest."""
    known: dict[str, Any] = {}
    if model is not None:
        known["model"] = model
    if usage is not None:
        known["usage"] = dict(zip(("input_tokens", "output_tokens"), usage, strict=True))
    return Task(task_id, "c", TaskStatus(state), metadata=known or None)


def told(metrics: Metrics) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Return all values, by the name of their sample and by their labels."""
    values: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labelled = values.setdefault(sample.name, {})
            labels = frozenset(sample.labels.items())
            assert labels not in labelled, f"{sample} is told twice"
            labelled[labels] = sample.value
    return values


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one value, or None when it is not told."""
    return told(metrics).get(name, {}).get(frozenset(labels.items()))


def ended(*tasks: Task) -> Metrics:
    """Return what is counted of these."""
    metrics = Metrics()
    for each in tasks:
        metrics.turn_ended(ANN, each)
    return metrics


# Turns.


def test_a_turn_counts_with_its_model_and_its_tokens() -> None:
    metrics = ended(task(), task(usage=(10, 20)), task(model="vllm/meta/llama"))
    assert value(metrics, "ls_llm_calls_total", **FOX) == 2
    assert value(metrics, "ls_llm_token_sent_total", **FOX) == 13
    assert value(metrics, "ls_llm_token_received_total", **FOX) == 25
    assert value(metrics, "ls_llm_calls_total", provider="vllm", model="meta/llama") == 1
    assert value(metrics, "a2a_tasks_total", state="completed") == 3


@pytest.mark.parametrize("state", sorted(SETTLED, key=str), ids=lambda state: state.name)
def test_every_way_to_end_is_counted_as_itself(state: TaskState) -> None:
    metrics = ended(task(state))
    states = told(metrics)["a2a_tasks_total"]
    assert {dict(labels)["state"]: number for labels, number in states.items()} == {
        each.name.lower(): float(each is state) for each in SETTLED
    }
    assert value(metrics, "ls_llm_calls_failures_total") == (state is TaskState.FAILED)
    assert value(metrics, "ls_llm_validation_errors_total") == (state is TaskState.REJECTED)


def test_a_turn_that_no_model_answered_costs_nothing_and_is_no_call() -> None:
    metrics = ended(task(TaskState.FAILED, model=None, usage=None))
    assert "ls_llm_calls_total" not in told(metrics)
    assert value(metrics, "ls_llm_calls_failures_total") == 1


def test_a_stack_that_names_no_model_or_no_provider_is_counted_all_the_same() -> None:
    metrics = ended(task(model=None), task(model="solo"), task(usage=None))
    assert value(metrics, "ls_llm_token_sent_total", provider="unknown", model="unknown") == 3
    assert value(metrics, "ls_llm_calls_total", provider="unknown", model="solo") == 1
    assert value(metrics, "ls_llm_calls_total", **FOX) == 1
    assert value(metrics, "ls_llm_token_sent_total", **FOX) == 0


def test_a_task_that_waited_and_then_costs_nothing_more_is_not_counted_again() -> None:
    """Its metadata still has what the turn before cost."""
    metrics = ended(task(TaskState.INPUT_REQUIRED), task(TaskState.CANCELED))
    assert value(metrics, "ls_llm_token_sent_total", **FOX) == 3


@pytest.mark.parametrize("usage", [(3, 5), (4, 4)])
def test_a_task_that_waited_and_goes_on_is_counted_again(usage: tuple[int, int]) -> None:
    metrics = ended(task(TaskState.INPUT_REQUIRED), task(usage=usage))
    assert value(metrics, "ls_llm_token_sent_total", **FOX) == 3 + usage[0]
    other = ended(task(TaskState.INPUT_REQUIRED), task(TaskState.FAILED, task_id="u"))
    assert value(other, "ls_llm_token_sent_total", **FOX) == 6


def test_a_single_question_is_a_call_too() -> None:
    metrics = Metrics()
    metrics.inferred(Inferred("yes", "openai/fox", Usage(3, 5)))
    metrics.inferred(Inferred("yes"))
    metrics.inferred(None)
    assert value(metrics, "ls_llm_token_sent_total", **FOX) == 3
    assert value(metrics, "ls_llm_token_received_total", **FOX) == 5
    assert value(metrics, "ls_llm_calls_total", provider="unknown", model="unknown") == 1
    assert value(metrics, "ls_llm_calls_failures_total") == 1
    assert value(metrics, "a2a_tasks_total", state="failed") == 0


def test_so_many_models_are_told_apart_and_no_more() -> None:
    metrics = ended(*(task(model=f"p/{n}") for n in range(MOST_MODELS + 50)))
    calls = told(metrics)["ls_llm_calls_total"]
    assert len(calls) == MOST_MODELS + 1
    assert value(metrics, "ls_llm_calls_total", provider="other", model="other") == 50
    assert sum(calls.values()) == MOST_MODELS + 50


def test_names_that_come_to_the_same_are_one() -> None:
    """A metric that is told twice is no metric: nothing of the whole page would be read."""
    long = "p/" + "x" * LONGEST
    metrics = ended(task(model=long + "1"), task(model=long + "2"))
    metrics.turn_ended(ANN, task(model="unknown/solo"))
    metrics.turn_ended(ANN, task(model="solo"))
    calls = told(metrics)["ls_llm_calls_total"]
    assert sorted(calls.values()) == [2, 2]


def test_a_name_with_anything_in_it_stays_one_value() -> None:
    name = 'evil"} 1\nls_llm_calls_total{x="\\'
    assert value(ended(task(model=f"p/{name}")), "ls_llm_calls_total", provider="p", model=name)


@pytest.mark.parametrize(("tokens", "counted"), [(10**400, 2**53), (-5, 0)])
def test_tokens_that_cannot_be_are_bounded(tokens: int, counted: int) -> None:
    metrics = ended(task(usage=(tokens, 1)))
    assert value(metrics, "ls_llm_token_sent_total", **FOX) == counted


def test_what_is_told_to_nobody_is_remembered_for_so_many_waiting_tasks_only() -> None:
    waiting = [task(TaskState.INPUT_REQUIRED, task_id=f"t{n}") for n in range(3000)]
    metrics = ended(*waiting)
    assert len(metrics._turns._waiting) <= 1000


# The models that there are.


def test_the_model_of_the_settings_is_one_and_the_others_are_zero() -> None:
    metrics = Metrics()
    models = [
        Model("openai/fox", "openai"),
        Model("openai/hound", "openai"),
        Model("vllm/fox", "vllm"),
        Model("openai/embed", "openai", "embedding"),
    ]
    for default, provider, chosen in (
        ("fox", "openai", ["openai/fox"]),
        ("openai/fox", None, ["openai/fox"]),
        ("fox", None, ["openai/fox", "vllm/fox"]),
        (None, None, []),
        ("nope", "openai", []),
    ):
        metrics.offer(models, default, provider)
        offered = told(metrics)["ls_provider_model_configuration"]
        assert len(offered) == 3
        ones = [dict(labels)["model"] for labels, number in offered.items() if number == 1]
        assert ones == chosen


def test_models_that_are_gone_are_told_no_more_and_not_all_of_too_many_are() -> None:
    metrics = Metrics()
    metrics.offer([Model(f"p/{n}", "p") for n in range(MOST_MODELS * 2)], None, None)
    assert len(told(metrics)["ls_provider_model_configuration"]) == MOST_MODELS
    metrics.offer([Model("p/1", "p")], None, None)
    assert len(told(metrics)["ls_provider_model_configuration"]) == 1


# The registry.


def test_every_server_counts_for_itself_and_the_library_s_own_registry_is_left_alone() -> None:
    first, second = ended(task()), Metrics()
    first.watch("one_of_ours", "Ours", lambda: 7.0)
    assert value(first, "one_of_ours") == 7
    assert "one_of_ours" not in told(second)
    assert "ls_llm_calls_total" not in told(second)
    ours = {family.name for family in REGISTRY.collect()}
    assert not any(name.startswith(("ls_", "a2a_", "one_")) for name in ours)


def test_the_process_and_python_are_told_of() -> None:
    names = told(Metrics()).keys()
    assert {"process_cpu_seconds_total", "process_open_fds", "python_info"} <= names


# Calls of REST.


class Noted(Metrics):
    """Remembers in which order it was told what."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def answered(self, path: str, status: int) -> None:
        """Note it."""
        self.said.append(f"{path} {status}")
        super().answered(path, status)

    def took(self, path: str, seconds: float) -> None:
        """Note it."""
        assert seconds >= 0
        super().took(path, seconds)


class Place:
    """A route, as far as its path goes."""

    def __init__(self, path: str) -> None:
        self.path = path


async def call(app: Any, metrics: Metrics, said: list[str] | None = None) -> None:
    """Call a measured application once."""
    heard: list[str] = [] if said is None else said

    async def send(message: Any) -> None:
        heard.append(message["type"])

    async def receive() -> Any:
        await anyio.sleep_forever()

    await Measured(app, metrics)({"type": "http", "path": "/secret/7"}, receive, send)


def answering(*steps: Any, path: str | None = "/v1/things/{thing}") -> Callable[..., Any]:
    """Return an application that sends these messages; exceptions are raised."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if path is not None:
            scope["route"] = Place(path)
        for step in steps:
            if isinstance(step, Exception):
                raise step
            await send(step)

    return app


START = {"type": "http.response.start", "status": 200, "headers": []}
MORE = {"type": "http.response.body", "body": b"a", "more_body": True}
LAST = {"type": "http.response.body", "body": b"b"}


async def test_a_call_is_counted_by_its_route_and_never_by_its_path() -> None:
    metrics = Metrics()
    await call(answering(START, LAST), metrics)
    await call(answering(START | {"status": 404}, LAST, path=None), metrics)
    calls = told(metrics)["ls_rest_api_calls_total"]
    assert {frozenset(labels) for labels in calls} == {
        frozenset({("path", "/v1/things/{thing}"), ("status_code", "200")}),
        frozenset({("path", "other"), ("status_code", "404")}),
    }
    assert "secret" not in metrics.text().decode()
    assert value(metrics, "ls_response_duration_seconds_count", path="other") == 1


async def test_a_stream_is_counted_when_its_last_byte_is_sent() -> None:
    metrics, said = Noted(), ["sent"]
    metrics.said = said
    await call(answering(START, MORE, MORE, LAST), metrics, said)
    assert said == ["sent", START["type"], *[LAST["type"]] * 3, "/v1/things/{thing} 200"]


async def test_what_breaks_is_counted_as_far_as_it_was_answered() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="broken"):
        await call(answering(START, MORE, ValueError("broken")), metrics)
    with pytest.raises(ValueError, match="broken"):
        await call(answering(ValueError("broken")), metrics)
    calls = told(metrics)["ls_rest_api_calls_total"]
    assert list(calls.values()) == [1]


async def test_reading_the_metrics_is_measured_and_not_counted() -> None:
    """As with LCS."""
    metrics = Metrics()
    await call(answering(START, LAST, path="/metrics"), metrics)
    assert "ls_rest_api_calls_total" not in told(metrics)
    assert value(metrics, "ls_response_duration_seconds_count", path="/metrics") == 1


# What is asked once for all.


async def test_an_error_is_shared_as_an_answer_is_and_not_for_ever() -> None:
    now, asked = [0.0], []

    async def ask() -> int:
        asked.append(now[0])
        if len(asked) == 1:
            raise ValueError("away")
        return len(asked)

    shared = Shared(ask, 60.0, lambda: now[0])
    for _ in range(2):
        with pytest.raises(ValueError, match="away"):
            await shared.get()
    now[0] = 60.0
    assert [await shared.get(), await shared.get()] == [2, 2]
    assert asked == [0.0, 60.0]


def test_an_answer_that_no_model_gave_is_no_call() -> None:
    metrics = Metrics()
    metrics.inferred(Inferred("topic", None, Usage(0, 0)))
    assert "ls_llm_calls_total" not in told(metrics)
    metrics.inferred(Inferred("topic", None, None))
    assert value(metrics, "ls_llm_calls_total", provider="unknown", model="unknown") == 1


def test_a_task_that_waited_and_ended_is_no_call_of_a_model() -> None:
    metrics = Metrics()
    metrics.turn_ended(ANN, task(TaskState.INPUT_REQUIRED))
    metrics.wait_ended(ANN, task(TaskState.CANCELED))
    assert value(metrics, "ls_llm_calls_total", **FOX) == 1
    assert value(metrics, "a2a_tasks_total", state="canceled") == 1
    assert value(metrics, "ls_llm_token_sent_total", **FOX) == 3
