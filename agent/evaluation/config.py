"""Llama Stack's ``BenchmarkConfig``: what is read of it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from agent.agent_options import SamplingParams
from agent.errors import InvalidParams
from agent.stacks import Sampling

GREEDY = Sampling(strategy="greedy", temperature=0.0)
"""The same again is answered the same, as far as the model does so."""

type Json = Any
type Aggregation = Literal["average", "weighted_average", "median", "categorical_count", "accuracy"]


class SystemMessage(msgspec.Struct, frozen=True):
    """What a model is told before anything else."""

    content: Json


class ModelCandidate(msgspec.Struct, frozen=True, tag_field="type", tag="model"):
    """A model that is to be evaluated."""

    model: str
    sampling_params: SamplingParams = SamplingParams()
    system_message: SystemMessage | None = None

    @property
    def sampling(self) -> Sampling:
        """How its answers are drawn: greedy is said, as no temperature would be that of the server."""
        sampling = self.sampling_params.sampling
        if sampling.strategy != GREEDY.strategy or sampling.temperature is not None:
            return sampling
        return msgspec.structs.replace(sampling, temperature=GREEDY.temperature)


class AgentCandidate(msgspec.Struct, frozen=True, tag_field="type", tag="agent"):
    """An agent that is to be evaluated; ``config`` is an ``AgentConfig``."""

    config: dict[str, Json]


class _Params(msgspec.Struct, frozen=True, kw_only=True):
    aggregation_functions: tuple[Aggregation, ...] | None = None

    @property
    def type(self) -> str:
        """What kind of function takes them."""
        return str(self.__struct_config__.tag)


class BasicParams(_Params, frozen=True, kw_only=True, tag_field="type", tag="basic"):
    """For functions that compare."""


class RegexParams(_Params, frozen=True, kw_only=True, tag_field="type", tag="regex_parser"):
    """For functions that take something out of the answer first."""

    parsing_regexes: tuple[str, ...] = ()


class JudgeParams(_Params, frozen=True, kw_only=True, tag_field="type", tag="llm_as_judge"):
    """For functions that ask a model."""

    judge_model: str | None = None
    prompt_template: str | None = None
    judge_score_regexes: tuple[str, ...] = ()


type Params = BasicParams | RegexParams | JudgeParams


class BenchmarkConfig(msgspec.Struct, frozen=True):
    """Who is evaluated, and how; ``num_examples`` None, or -1, is all rows."""

    eval_candidate: ModelCandidate | AgentCandidate
    scoring_params: dict[str, BasicParams | RegexParams | JudgeParams] | None = None
    num_examples: int | None = None

    @property
    def most_rows(self) -> int | None:
        """How many rows of the dataset to read; None is all of them."""
        return None if self.num_examples == -1 else self.num_examples


def read_config(written: Json) -> BenchmarkConfig:
    """Return the configuration; raises ``InvalidParams`` for what is none."""
    try:
        config = msgspec.convert(written, BenchmarkConfig)
    except msgspec.ValidationError as exc:
        # Its messages say which field and what was expected: nothing of the value.
        raise InvalidParams("benchmark_config", str(exc)) from exc
    if config.num_examples is not None and config.num_examples < -1:
        raise InvalidParams("benchmark_config.num_examples", "less than -1")
    return config
