"""The 34 operations of Llama Stack's experimental API, by what they are about."""

from __future__ import annotations

from typing import Literal, NamedTuple

type Group = Literal["agents", "datasets", "eval", "inference", "post_training"]

_AGENT = "/v1alpha/agents/{agent_id}"
_SESSION = f"{_AGENT}/session/{{session_id}}"
_TURN = f"{_SESSION}/turn/{{turn_id}}"
_BENCHMARKS = "/v1alpha/eval/benchmarks"
_BENCHMARK = f"{_BENCHMARKS}/{{benchmark_id}}"
_JOB = f"{_BENCHMARK}/jobs/{{job_id}}"
_TRAINING = "/v1alpha/post-training"
RERANK = "/v1alpha/inference/rerank"

_PATHS: dict[Group, tuple[tuple[str, str], ...]] = {
    "agents": (
        ("GET", "/v1alpha/agents"),
        ("POST", "/v1alpha/agents"),
        ("GET", _AGENT),
        ("DELETE", _AGENT),
        ("POST", f"{_AGENT}/session"),
        ("GET", f"{_AGENT}/sessions"),
        ("GET", _SESSION),
        ("DELETE", _SESSION),
        ("POST", f"{_SESSION}/turn"),
        ("GET", _TURN),
        ("POST", f"{_TURN}/resume"),
        ("GET", f"{_TURN}/step/{{step_id}}"),
    ),
    "datasets": (
        ("GET", "/v1beta/datasets"),
        ("POST", "/v1beta/datasets"),
        ("GET", "/v1beta/datasets/{dataset_id}"),
        ("DELETE", "/v1beta/datasets/{dataset_id}"),
        ("GET", "/v1beta/datasetio/iterrows/{dataset_id}"),
        ("POST", "/v1beta/datasetio/append-rows/{dataset_id}"),
    ),
    "eval": (
        ("GET", _BENCHMARKS),
        ("POST", _BENCHMARKS),
        ("GET", _BENCHMARK),
        ("DELETE", _BENCHMARK),
        ("POST", f"{_BENCHMARK}/evaluations"),
        ("POST", f"{_BENCHMARK}/jobs"),
        ("GET", _JOB),
        ("DELETE", _JOB),
        ("GET", f"{_JOB}/result"),
    ),
    "inference": (("POST", RERANK),),
    "post_training": (
        ("POST", f"{_TRAINING}/supervised-fine-tune"),
        ("POST", f"{_TRAINING}/preference-optimize"),
        ("GET", f"{_TRAINING}/jobs"),
        ("GET", f"{_TRAINING}/job/status"),
        ("GET", f"{_TRAINING}/job/artifacts"),
        ("POST", f"{_TRAINING}/job/cancel"),
    ),
}


class Operation(NamedTuple):
    """One of them; ``path`` is a template as in Llama Stack's specification."""

    method: str
    path: str
    group: Group

    @property
    def runs_models(self) -> bool:
        """Whether it is an evaluation, whose candidates are models and agents."""
        return self.group == "eval" and self.path.startswith(f"{_BENCHMARK}/")


OPERATIONS = tuple(
    Operation(method, path, group) for group, listed in _PATHS.items() for method, path in listed
)

PATHS: dict[Group, frozenset[str]] = {
    group: frozenset(path for _, path in listed) for group, listed in _PATHS.items()
}
