"""Evaluations, as they are asked for and answered."""

# The documentation of models is that of the API: their fields tell what they are.
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue, model_validator

from agent.evaluation.evaluation import CALL_ROWS
from agent.evaluation.scoring.judge import TEMPLATE_CHARS
from rest_compat.llama_stack.agents_config import (
    AgentConfig,
    JsonObject,
    Name,
    SamplingParams,
)
from rest_compat.llama_stack.benchmarks_models import ScoringFunctions

MOST_PATTERNS = 100

type AggregationFunctionType = Literal[
    "average", "weighted_average", "median", "categorical_count", "accuracy"
]
Patterns = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=MOST_PATTERNS)]


class SystemMessage(BaseModel):
    """A system message providing instructions or context to the model."""

    role: Literal["system"] = "system"
    content: JsonValue = Field(description="Text, or items of text.")


class ModelCandidate(BaseModel):
    """A model candidate for evaluation."""

    type: Literal["model"]
    model: Name = Field(description="The model ID to evaluate.")
    sampling_params: SamplingParams = Field(
        default_factory=SamplingParams, description="The sampling parameters for the model."
    )
    system_message: SystemMessage | None = Field(
        default=None, description="What the model is told before anything else."
    )


class AgentCandidate(BaseModel):
    """An agent candidate for evaluation: it is made for that, and deleted afterwards."""

    type: Literal["agent"]
    config: AgentConfig = Field(description="The configuration for the agent candidate.")


class BasicScoringFnParams(BaseModel):
    """Parameters for basic scoring function configuration."""

    type: Literal["basic"]
    aggregation_functions: list[AggregationFunctionType] | None = None


class RegexParserScoringFnParams(BaseModel):
    """Parameters for regex parser scoring function configuration."""

    type: Literal["regex_parser"]
    parsing_regexes: Patterns = Field(
        default_factory=list, description="Regexes to extract the answer from generated response"
    )
    aggregation_functions: list[AggregationFunctionType] | None = None


class LLMAsJudgeScoringFnParams(BaseModel):
    """Parameters for LLM-as-judge scoring function configuration."""

    type: Literal["llm_as_judge"]
    judge_model: Name | None = Field(
        default=None, description="The model that judges; that of the settings if none is named."
    )
    prompt_template: Annotated[str, Field(max_length=TEMPLATE_CHARS)] | None = Field(
        default=None,
        description="What the judge is asked, with {input_query}, {expected_answer} and "
        "{generated_answer} of the row.",
    )
    judge_score_regexes: Patterns = Field(
        default_factory=list, description="Regexes to extract the score from what the judge says"
    )
    aggregation_functions: list[AggregationFunctionType] | None = None


ScoringFnParams = Annotated[
    LLMAsJudgeScoringFnParams | RegexParserScoringFnParams | BasicScoringFnParams,
    Field(discriminator="type"),
]


class BenchmarkConfig(BaseModel):
    """A benchmark configuration for evaluation."""

    eval_candidate: Annotated[ModelCandidate | AgentCandidate, Field(discriminator="type")] = Field(
        description="The candidate to evaluate."
    )
    scoring_params: dict[str, ScoringFnParams] | None = Field(
        default=None, description="Parameters of scoring functions, by the id of the function."
    )
    num_examples: int | None = Field(
        default=None,
        ge=-1,
        description="How many rows of the dataset to evaluate: all of them without it, or with -1.",
    )

    def as_given(self) -> dict[str, Any]:
        """Return it without what is left out."""
        return self.model_dump(mode="json", exclude_none=True)


class RunEvalRequest(BaseModel):
    """An evaluation to be run; a ``BenchmarkConfig`` by itself is accepted as well."""

    benchmark_config: BenchmarkConfig = Field(description="The configuration for the benchmark.")

    @model_validator(mode="before")
    @classmethod
    def _is_wrapped(cls, value: Any) -> Any:
        return _wrapped(value)


class EvaluateRowsRequest(BaseModel):
    """Rows to be evaluated; a ``BenchmarkConfig`` by itself evaluates the first rows of the dataset."""

    input_rows: Annotated[list[JsonObject], Field(max_length=CALL_ROWS)] | None = Field(
        default=None, description="The rows to evaluate; those of the benchmark's dataset without."
    )
    scoring_functions: ScoringFunctions | None = Field(
        default=None, description="The scoring functions to use; those of the benchmark without."
    )
    benchmark_config: BenchmarkConfig = Field(description="The configuration for the benchmark.")

    @model_validator(mode="before")
    @classmethod
    def _is_wrapped(cls, value: Any) -> Any:
        return _wrapped(value)


class Job(BaseModel):
    """A job execution instance with status tracking."""

    job_id: str = Field(description="Unique identifier for the job")
    status: Literal["completed", "in_progress", "failed", "scheduled", "cancelled"] = Field(
        description="Current execution status of the job"
    )


class ScoringResult(BaseModel):
    """The scores of all rows, and what they come to."""

    score_rows: list[dict[str, JsonValue]]
    aggregated_results: dict[str, JsonValue] = Field(
        description="By the name of the aggregation function; over nothing the values are null."
    )


class EvaluateResponse(BaseModel):
    """The response from an evaluation."""

    generations: list[dict[str, JsonValue]]
    scores: dict[str, ScoringResult]


def _wrapped(value: Any) -> Any:
    """Some send the configuration by itself."""
    if isinstance(value, dict) and "benchmark_config" not in value and "eval_candidate" in value:
        return {"benchmark_config": value}
    return value
