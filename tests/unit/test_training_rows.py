"""Rows of datasets as examples to train on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.jobs.progress import JobFailed
from agent.training.plan import Plan, fine_tuning
from agent.training.request import SupervisedFineTuneRequest
from agent.training.rows import reader_of

ASKED = {"role": "user", "content": "Where?"}
SAID = {"role": "assistant", "content": "There."}


def read(row: Any, method: str = "sft", data_format: str = "instruct") -> Any:
    """Read a row for a plan."""
    data = {"dataset_id": "d", "batch_size": 1, "shuffle": False, "data_format": data_format}
    plan: Plan = fine_tuning(
        SupervisedFineTuneRequest.model_validate({"n_epochs": 1, "data_config": data, "model": "m"})
    )
    return reader_of(msgspec.structs.replace(plan, method=method))(row)


@pytest.mark.parametrize(
    "row",
    [
        {
            "chat_completion_input": msgspec.json.encode([ASKED]).decode(),
            "expected_answer": "There.",
        },
        {"chat_completion_input": [ASKED], "input_query": "Who?", "expected_answer": "There."},
        {"input_query": "Where?", "expected_answer": [SAID]},
        {"prompt": "Where?", "completion": "There."},
    ],
)
def test_instructions_are_read_in_all_their_forms(row: Any) -> None:
    """Texts, messages, and messages written as text."""
    assert read(row) == {"prompt": [ASKED], "completion": [SAID]}


def test_a_text_that_only_looks_like_messages_is_a_text() -> None:
    """It is what somebody said."""
    text = '[{"a": 1}] and [{"role"'
    for said in (text, '[{"a": 1}]', '[{"a": ' + "[" * 100_000):
        example = read({"prompt": said, "completion": "x"})
        assert example["prompt"] == [{"role": "user", "content": said}]


def test_a_dialog_is_trained_by_what_was_said_last() -> None:
    """All before is the prompt."""
    row = {"dialog": [ASKED, SAID, ASKED, SAID]}
    assert read(row, data_format="dialog") == {"prompt": [ASKED, SAID, ASKED], "completion": [SAID]}


def test_preferences_are_pairs_of_answers() -> None:
    """Each a text, or messages of which the last is the answer."""
    row = {"prompt": "Where?", "chosen": "There.", "rejected": [ASKED, SAID]}
    assert read(row, "dpo") == {"prompt": [ASKED], "chosen": [SAID], "rejected": [SAID]}


@pytest.mark.parametrize(
    ("row", "data_format", "problem"),
    [
        ({"prompt": "x"}, "instruct", "expected_answer or completion"),
        ("text", "instruct", "chat_completion_input"),
        ({"prompt": 7, "completion": "x"}, "instruct", "text or a list"),
        ({"prompt": [{"role": "cat", "content": ""}], "completion": "x"}, "instruct", "role"),
        ({"prompt": ["x"], "completion": "x"}, "instruct", "role"),
        ({"prompt": [{"role": "user", "content": 1}], "completion": "x"}, "instruct", "content"),
        ({"dialog": [SAID]}, "dialog", "must end"),
        ({"dialog": [SAID, ASKED]}, "dialog", "must end"),
    ],
)
def test_what_a_row_lacks_is_told(row: Any, data_format: str, problem: str) -> None:
    """In words for whoever made the dataset."""
    with pytest.raises(JobFailed, match=problem):
        read(row, data_format=data_format)
