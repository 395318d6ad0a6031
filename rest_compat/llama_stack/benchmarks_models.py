"""Benchmarks, as they are registered and answered."""

# The documentation of models is that of the API: their fields tell what they are.
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from rest_compat.llama_stack.agents_config import NAME_CHARS, JsonObject
from rest_compat.llama_stack.agents_ids import printable

MOST_FUNCTIONS = 100

Id = Annotated[str, Field(min_length=1, max_length=NAME_CHARS), AfterValidator(printable)]
ScoringFunctions = Annotated[list[Id], Field(max_length=MOST_FUNCTIONS)]


def _no_job(text: str) -> str:
    """Refuse what a path would take for the job of another benchmark."""
    if "/jobs/" in text:
        raise ValueError("must not have /jobs/ in it")
    return text


class RegisterBenchmarkRequest(BaseModel):
    """A benchmark to be registered."""

    benchmark_id: Annotated[Id, AfterValidator(_no_job)] = Field(
        description="The ID of the benchmark to register."
    )
    dataset_id: Id = Field(description="The ID of the dataset to use for the benchmark.")
    scoring_functions: ScoringFunctions = Field(
        description="The scoring functions to use for the benchmark."
    )
    provider_benchmark_id: Id | None = Field(
        default=None, description="What the provider calls the benchmark."
    )
    provider_id: Id | None = Field(default=None, description="The ID of the provider.")
    metadata: JsonObject | None = Field(
        default=None, description="The metadata to use for the benchmark."
    )


class Benchmark(BaseModel):
    """A benchmark resource for evaluating model performance."""

    identifier: str
    provider_resource_id: str | None = None
    provider_id: str
    type: Literal["benchmark"] = "benchmark"
    dataset_id: str
    scoring_functions: list[str]
    metadata: JsonObject


class ListBenchmarksResponse(BaseModel):
    """All benchmarks of the caller, the oldest first."""

    data: list[Benchmark]
