"""The 34 operations of Llama Stack's experimental API."""

from __future__ import annotations

_SESSION = "/v1alpha/agents/{agent_id}/session/{session_id}"
_TURN = f"{_SESSION}/turn/{{turn_id}}"
_BENCHMARK = "/v1alpha/eval/benchmarks/{benchmark_id}"
_JOB = f"{_BENCHMARK}/jobs/{{job_id}}"
_TRAINING = "/v1alpha/post-training"

OPERATIONS = (
    "POST /v1beta/datasetio/append-rows/{dataset_id}",
    "GET /v1beta/datasetio/iterrows/{dataset_id}",
    "GET /v1beta/datasets",
    "POST /v1beta/datasets",
    "GET /v1beta/datasets/{dataset_id}",
    "DELETE /v1beta/datasets/{dataset_id}",
    "GET /v1alpha/agents",
    "POST /v1alpha/agents",
    "GET /v1alpha/agents/{agent_id}",
    "DELETE /v1alpha/agents/{agent_id}",
    "POST /v1alpha/agents/{agent_id}/session",
    f"GET {_SESSION}",
    f"DELETE {_SESSION}",
    "GET /v1alpha/agents/{agent_id}/sessions",
    f"POST {_SESSION}/turn",
    f"GET {_TURN}",
    f"POST {_TURN}/resume",
    f"GET {_TURN}/step/{{step_id}}",
    "GET /v1alpha/eval/benchmarks",
    "POST /v1alpha/eval/benchmarks",
    f"GET {_BENCHMARK}",
    f"DELETE {_BENCHMARK}",
    f"POST {_BENCHMARK}/evaluations",
    f"POST {_BENCHMARK}/jobs",
    f"GET {_JOB}",
    f"DELETE {_JOB}",
    f"GET {_JOB}/result",
    "POST /v1alpha/inference/rerank",
    f"POST {_TRAINING}/supervised-fine-tune",
    f"POST {_TRAINING}/preference-optimize",
    f"GET {_TRAINING}/jobs",
    f"GET {_TRAINING}/job/status",
    f"POST {_TRAINING}/job/cancel",
    f"GET {_TRAINING}/job/artifacts",
)
