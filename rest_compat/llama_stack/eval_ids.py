"""The ids in the paths of the eval API: those of benchmarks may hold slashes."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from rest_compat.llama_stack.agents_config import NAME_CHARS
from rest_compat.llama_stack.agents_ids import printable

_Id = Annotated[str, AfterValidator(printable)]
BenchmarkId = Annotated[_Id, Path(max_length=NAME_CHARS, description="The ID of the benchmark.")]
JobId = Annotated[_Id, Path(max_length=NAME_CHARS, description="The ID of the job.")]
