"""Which operations of Llama Stack's experimental API take which ids: data, as in ``cases``.

What is in a path above the id that a kind is about is the asker's own, ``@own-...``; what is below is of
the owner's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.isolation.cases import TAKES_NO_ID

if TYPE_CHECKING:
    from tests.isolation.cases import Json, Kinds, Table

VARIES = {
    "agent": "@agent",
    "deleted agent": "@agent",
    "agent of a deleted session": "@agent",
    "session": "@session",
    "deleted session": "@session",
    "turn": "@turn",
    "named turn": "@turn",
    "waiting turn": "@waiting",
    "step": "@step",
    "dataset": "@dataset",
    "deleted dataset": "@dataset",
    "new dataset": "@dataset",
    "dataset of a benchmark": "@dataset",
    "validation dataset": "@dataset",
    "benchmark": "@benchmark",
    "deleted benchmark": "@benchmark",
    "new benchmark": "@benchmark",
    "eval job": "@eval-job",
    "training job": "@training-job",
    "training job in the query": "@training-job",
    "ended training job": "@trained",
    "new training job": "@training-job",
    "checkpoint": "@checkpoint",
    "model of a job": "@trained",
}
# Models and tool groups are the stack's, and the same for everybody.
OF_NOBODY = frozenset({"POST /v1alpha/agents", "POST /v1alpha/inference/rerank"})
# Of these the asker gets one of their own.
MAKES_ONES_OWN = frozenset(
    {"new dataset", "new benchmark", "dataset of a benchmark", "new training job"}
)
# What is not there is deleted already, and no turn of the session.
ASKED_IN_VAIN = MAKES_ONES_OWN | {
    "deleted agent",
    "agent of a deleted session",
    "deleted session",
    "deleted dataset",
    "deleted benchmark",
    "named turn",
}

SAID: Json = {"messages": [{"role": "user", "content": "hi"}]}
RESULTS: Json = {"tool_responses": [{"call_id": "c", "tool_name": "t", "content": "done"}]}
FUNCTIONS = ["basic::equality"]
_CANDIDATE = {"type": "agent", "config": {"model": "m", "instructions": "i"}}
CONFIG: Json = {"benchmark_config": {"eval_candidate": _CANDIDATE, "scoring_params": {}}}
_NAMES_DATASET = {
    "benchmark_id": "@new",
    "dataset_id": "@dataset",
    "scoring_functions": FUNCTIONS,
}
_ROWS = {"type": "rows", "rows": [{"a": 1}]}


def _trains(model: str, algorithm: Json) -> Kinds:
    """Return what trains, by what of it is another's; ``model`` is what its name goes by."""
    data: Json = {
        "dataset_id": "@own-dataset",
        "batch_size": 1,
        "shuffle": False,
        "data_format": "instruct",
    }
    more = {"hyperparam_search_config": {}, "logger_config": {}} | algorithm

    def asked(job: str = "@new", trained: str = "@own-checkpoint", **names: str) -> Json:
        config = {"n_epochs": 1, "data_config": data | names}
        return more | {"job_uuid": job, "training_config": config, model: trained}

    return {
        "dataset": asked(dataset_id="@dataset"),
        "validation dataset": asked(validation_dataset_id="@dataset"),
        "checkpoint": asked(trained="@checkpoint"),
        "model of a job": asked(trained="@trained"),
        "new training job": asked(job="@training-job"),
    }


_AGENT = "/v1alpha/agents/{agent_id}"
_SESSION = f"{_AGENT}/session/{{session_id}}"
_TURN = f"{_SESSION}/turn/{{turn_id}}"
_BENCHMARKS = "/v1alpha/eval/benchmarks"
_BENCHMARK = f"{_BENCHMARKS}/{{benchmark_id:path}}"
_JOB = f"{_BENCHMARK}/jobs/{{job_id}}"
_TRAINING = "/v1alpha/post-training"
_OF_A_JOB: Kinds = {"benchmark": None, "eval job": None}
_OF_A_TRAINING: Kinds = {"ended training job": {"job_uuid": "@trained"}}

ROUTES: Table = {
    "GET /v1alpha/openapi.json": TAKES_NO_ID,
    "GET /v1alpha/agents": TAKES_NO_ID,
    "POST /v1alpha/agents": TAKES_NO_ID,
    f"GET {_AGENT}": {"agent": None},
    f"DELETE {_AGENT}": {"deleted agent": None},
    f"GET {_AGENT}/sessions": {"agent": None},
    f"POST {_AGENT}/session": {"agent": {"session_name": "mine"}},
    f"GET {_SESSION}": {"agent": None, "session": None, "named turn": {"turn_ids": "@turn"}},
    f"DELETE {_SESSION}": {"agent of a deleted session": None, "deleted session": None},
    f"POST {_SESSION}/turn": {"agent": SAID, "session": SAID},
    f"GET {_TURN}": {"agent": None, "session": None, "turn": None},
    f"POST {_TURN}/resume": {"agent": RESULTS, "session": RESULTS, "waiting turn": RESULTS},
    f"GET {_TURN}/step/{{step_id}}": {"agent": None, "session": None, "turn": None, "step": None},
    "GET /v1beta/datasets": TAKES_NO_ID,
    "POST /v1beta/datasets": {
        "new dataset": {
            "dataset_id": "@dataset",
            "purpose": "eval/question-answer",
            "source": _ROWS,
        }
    },
    "GET /v1beta/datasets/{dataset_id:path}": {"dataset": None},
    "DELETE /v1beta/datasets/{dataset_id:path}": {"deleted dataset": None},
    "GET /v1beta/datasetio/iterrows/{dataset_id:path}": {"dataset": None},
    "POST /v1beta/datasetio/append-rows/{dataset_id:path}": {"dataset": _ROWS},
    f"GET {_BENCHMARKS}": TAKES_NO_ID,
    f"POST {_BENCHMARKS}": {
        "new benchmark": _NAMES_DATASET | {"benchmark_id": "@benchmark"},
        # That it is there is asked when it is read.
        "dataset of a benchmark": _NAMES_DATASET,
    },
    f"GET {_BENCHMARK}": {"benchmark": None},
    f"DELETE {_BENCHMARK}": {"deleted benchmark": None},
    f"POST {_BENCHMARK}/evaluations": {"benchmark": CONFIG | {"input_rows": []}},
    f"POST {_BENCHMARK}/jobs": {"benchmark": CONFIG},
    f"GET {_JOB}": _OF_A_JOB,
    f"DELETE {_JOB}": _OF_A_JOB,
    f"GET {_JOB}/result": _OF_A_JOB,
    "POST /v1alpha/inference/rerank": TAKES_NO_ID,
    f"POST {_TRAINING}/supervised-fine-tune": _trains("model", {}),
    f"POST {_TRAINING}/preference-optimize": _trains(
        "finetuned_model", {"algorithm_config": {"beta": 0.1}}
    ),
    f"GET {_TRAINING}/jobs": TAKES_NO_ID,
    f"GET {_TRAINING}/job/status": _OF_A_TRAINING,
    f"GET {_TRAINING}/job/artifacts": _OF_A_TRAINING,
    f"POST {_TRAINING}/job/cancel": {
        "training job": {"job_uuid": "@training-job"},
        "training job in the query": None,
    },
}
_PARAMETERS = {
    "{agent_id}": "@agent",
    "{session_id}": "@session",
    "{turn_id}": "@turn",
    "{step_id}": "@step",
    "{dataset_id:path}": "@dataset",
    "{benchmark_id:path}": "@benchmark",
    "{job_id}": "@eval-job",
}


def path_of(named: str, kind: str) -> str:
    """Put the placeholders into the path of an operation."""
    if named.endswith("/resume"):
        named = named.replace("{turn_id}", "@waiting")
    for parameter, placeholder in _PARAMETERS.items():
        named = named.replace(parameter, placeholder)
    steps = named.split("/")
    varied = VARIES[kind]
    above = steps[: steps.index(varied)] if varied in steps else steps
    own = [step.replace("@", "@own-") for step in above]
    query = f"?job_uuid={varied}" if kind.endswith("in the query") else ""
    return "/".join(own + steps[len(above) :]) + query
