"""What is asked on the walk, the same in both shapes."""

from __future__ import annotations

from typing import Any

type Json = Any

MODEL = "openai/mock-llm"
CONFIG: dict[str, Json] = {
    "model": MODEL,
    "instructions": "You are a test agent.",
    "name": "walker",
    "client_tools": [
        {
            "name": "get_weather",
            "description": "Weather for a city",
            "input_schema": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        }
    ],
    "sampling_params": {"strategy": {"type": "top_p", "temperature": 0.7, "top_p": 0.9}},
    "tool_config": {"tool_choice": "auto"},
}
PAIR = {"prompt": "two", "chosen": "three", "rejected": "four"}
ROWS = [
    {"input_query": "what is up", "expected_answer": "Echo: what is up", **PAIR},
    {"input_query": "two", "expected_answer": "three", **PAIR},
]
BENCHMARK: dict[str, Json] = {
    "eval_candidate": {
        "type": "model",
        "model": MODEL,
        "sampling_params": {"strategy": {"type": "greedy"}, "max_tokens": 64},
    },
    "scoring_params": {},
    "num_examples": 2,
}
TRAINING: dict[str, Json] = {
    "n_epochs": 1,
    "max_steps_per_epoch": 1,
    "gradient_accumulation_steps": 1,
    "data_config": {
        "dataset_id": "walked",
        "batch_size": 1,
        "shuffle": False,
        "data_format": "instruct",
    },
    "optimizer_config": {
        "optimizer_type": "adam",
        "lr": 0.001,
        "weight_decay": 0.0,
        "num_warmup_steps": 0,
    },
}
