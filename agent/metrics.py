"""What is counted for Prometheus: LCS's metrics, by its names, and ours of the tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from agent.model import INTERRUPTED, SETTLED, TaskState
from agent.stacks import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    from agent.caller import Caller
    from agent.model import Task
    from agent.stacks import Inferred, Model

MOST_MODELS = 200
"""How many models are told apart: each is a line of every metric that has it."""

LONGEST = 200
"""Characters of a label's value."""

OTHER = "other"
UNKNOWN = "unknown"
_WAITING = 1000
_MOST_TOKENS = 2**53
_ON_A_MODEL = ("provider", "model")

type Labels = tuple[str, str]
"""A provider, and its model."""

type Tokens = tuple[int, int]
"""What went into a model, and what came out of it."""


class Metrics:
    """Counts in memory what has happened in this process; what is only so at the moment is asked for.

    A turn counts in a microsecond: nothing is formatted before somebody reads it. It is a ``TurnListener``.
    """

    def __init__(self) -> None:
        """Nothing has happened; the registry is this server's own."""
        # Takes a tenth of a second, which commands that serve nothing do not spend.
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            GCCollector,
            Histogram,
            PlatformCollector,
            ProcessCollector,
        )

        self.registry = CollectorRegistry()
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)
        self._calls = Counter(
            "ls_rest_api_calls",
            "REST API calls counter",
            ["path", "status_code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ls_response_duration_seconds", "Response durations", ["path"], registry=self.registry
        )
        self._turns = _Turns()
        self.registry.register(self._turns)
        self.requests: dict[str, dict[str, int]] = {}
        """How often each operation of A2A was asked for, by the binding: whoever counts adds to it."""
        self.registry.register(_Requests(self.requests))

    def turn_ended(self, caller: Caller, task: Task) -> None:  # noqa: ARG002 - a listener is told
        """Count a turn, what it cost and how it ended."""
        self._turns.count(task)

    def wait_ended(self, caller: Caller, task: Task) -> None:  # noqa: ARG002 - a listener is told
        """Count a task that ended without another turn."""
        self._turns.end(task)

    def inferred(self, answer: Inferred | None) -> None:
        """Count a question to a model outside of any conversation; None is one that it did not answer."""
        if answer is None:
            self._turns.failures += 1
        elif answer.model is not None or answer.usage != Usage(0, 0):
            # Else no model was asked: the stack has found the words by itself.
            usage = answer.usage
            spent = (usage.input_tokens, usage.output_tokens) if usage else None
            self._turns.asked(answer.model, spent)

    def answered(self, path: str, status: int) -> None:
        """Count a call of REST; ``path`` is one of the routes', else there were as many as callers like."""
        self._calls.labels(path, str(status)).inc()

    def took(self, path: str, seconds: float) -> None:
        """Count how long a call of REST took, up to the last byte of its answer."""
        self._seconds.labels(path).observe(seconds)

    def watch(self, name: str, says: str, read: Callable[[], float]) -> None:
        """Have a gauge whose value is read when somebody wants to know."""
        from prometheus_client import Gauge

        Gauge(name, says, registry=self.registry).set_function(read)

    def offer(self, models: Iterable[Model], default: str | None, provider: str | None) -> None:
        """Tell which models there are to choose from; ``default`` is the one that answers unasked."""
        offered: dict[Labels, float] = {}
        for model in models:
            if model.model_type == "llm" and len(offered) < MOST_MODELS:
                chosen = is_meant(model, default, provider)
                offered[model.provider_id[:LONGEST], model.identifier[:LONGEST]] = float(chosen)
        self._turns.offered = offered

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        from prometheus_client import generate_latest

        written: bytes = generate_latest(self.registry)
        return written


def is_meant(model: Model, default: str | None, provider: str | None) -> bool:
    """Whether the settings mean this model, which they may name with its provider or without."""
    names = {model.identifier, model.identifier.removeprefix(f"{model.provider_id}/")}
    return default in names and provider in {None, model.provider_id}


class _Model:
    """What was asked of one model."""

    __slots__ = ("calls", "received", "sent", "since")

    def __init__(self) -> None:
        self.calls = self.sent = self.received = 0
        self.since = time.time()


class _Turns:
    """Counts turns, as a collector of the Prometheus client."""

    def __init__(self) -> None:
        self.offered: dict[Labels, float] = {}
        self.failures = 0
        self._since = time.time()
        self._models: dict[Labels, _Model] = {}
        self._named: dict[str, _Model] = {}
        self._ended = dict.fromkeys(sorted(SETTLED, key=lambda state: state.value), 0)
        # What tasks that wait have been counted with.
        self._waiting: dict[str, Tokens] = {}

    def count(self, task: Task) -> None:
        state, known = task.status.state, task.metadata or {}
        self._ended[state] += 1
        if state is TaskState.FAILED:
            self.failures += 1
        spent = self._spent(task.id, state, known.get("usage"))
        name = known.get("model")
        if name is not None or spent is not None:
            self.asked(name, spent)

    def end(self, task: Task) -> None:
        self._ended[task.status.state] += 1
        self._waiting.pop(task.id, None)

    def asked(self, name: str | None, spent: Tokens | None) -> None:
        """Count a call of a model."""
        model = self._named.get(name or UNKNOWN) or self._model(name or UNKNOWN)
        model.calls += 1
        if spent is not None:
            sent, received = spent
            model.sent += sent if 0 <= sent <= _MOST_TOKENS else _bounded(sent)
            model.received += received if 0 <= received <= _MOST_TOKENS else _bounded(received)

    def _spent(self, task_id: str, state: TaskState, usage: Any) -> Tokens | None:
        """Return what the turn cost; a task that waited still says what its turn before did."""
        if usage is None:
            return None
        spent = usage["input_tokens"], usage["output_tokens"]
        if state is not TaskState.COMPLETED and state in INTERRUPTED:
            if len(self._waiting) >= _WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[task_id] = spent
        elif self._waiting:
            before = self._waiting.pop(task_id, None)
            if before == spent and state is not TaskState.COMPLETED:
                return None
        return spent

    def _model(self, name: str) -> _Model:
        """Return what is known of ``provider/model``; a stack may name any number of them."""
        if len(self._named) >= MOST_MODELS:
            return self._models.setdefault((OTHER, OTHER), _Model())
        model = self._named[name] = self._models.setdefault(_labels(name), _Model())
        return model

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metrics as they stand."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        configuration = GaugeMetricFamily(
            "ls_provider_model_configuration",
            "LLM provider/models combinations defined in configuration",
            labels=_ON_A_MODEL,
        )
        for labels, value in self.offered.items():
            configuration.add_metric(labels, value)
        yield configuration
        yield self._of_models("ls_llm_calls", "LLM calls counter", "calls")
        for name, says, number in (
            ("ls_llm_calls_failures", "LLM calls failures", self.failures),
            ("ls_llm_validation_errors", "LLM validation errors", self._ended[TaskState.REJECTED]),
        ):
            yield CounterMetricFamily(name, says, number, created=self._since)
        yield self._of_models("ls_llm_token_sent", "LLM tokens sent", "sent")
        yield self._of_models("ls_llm_token_received", "LLM tokens received", "received")
        tasks = CounterMetricFamily(
            "a2a_tasks", "Tasks that have come to rest in a state", labels=["state"]
        )
        for state, number in self._ended.items():
            label = state.value.removeprefix("TASK_STATE_").lower()
            tasks.add_metric([label], number, created=self._since)
        yield tasks

    def _of_models(self, name: str, says: str, counted: str) -> CounterMetricFamily:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(name, says, labels=_ON_A_MODEL)
        for labels, counts in self._models.items():
            family.add_metric(labels, getattr(counts, counted), created=counts.since)
        return family


class _Requests:
    """Tells what is counted of A2A, as a collector of the Prometheus client."""

    def __init__(self, requests: dict[str, dict[str, int]]) -> None:
        self._requests = requests
        self._since = time.time()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the one metric; what nobody asked for is left out."""
        from prometheus_client.core import CounterMetricFamily

        asked = CounterMetricFamily(
            "a2a_requests", "Requests for operations of A2A", labels=("binding", "method")
        )
        for binding, counts in self._requests.items():
            for method, number in counts.items():
                if number:
                    asked.add_metric((binding, method), number, created=self._since)
        yield asked


def _labels(name: str) -> Labels:
    provider, _, model = name[:LONGEST].partition("/")
    return (provider, model) if model else (UNKNOWN, provider)


def _bounded(tokens: int) -> int:
    return min(max(tokens, 0), _MOST_TOKENS)
