"""What callers ask of training, and what of that this engine can."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent.errors import InvalidParams
from agent.training.plan import Lora, fine_tuning, preference
from agent.training.request import PreferenceOptimizeRequest, SupervisedFineTuneRequest

DATA = {"dataset_id": "d", "batch_size": 2, "shuffle": True, "data_format": "dialog"}
CONFIG = {"n_epochs": 3, "data_config": DATA}
EMPTY: dict[str, Any] = {"hyperparam_search_config": {}, "logger_config": {}}
TUNE = {"job_uuid": "job-1", "training_config": CONFIG, "model": "m", **EMPTY}
ALIGN = {
    "job_uuid": "job-1",
    "training_config": CONFIG,
    "finetuned_model": "m",
    "algorithm_config": {"beta": 0.1, "loss_type": "hinge"},
    **EMPTY,
}
LORA = {
    "type": "LoRA",
    "lora_attn_modules": ["q_proj"],
    "apply_lora_to_mlp": False,
    "apply_lora_to_output": False,
    "rank": 8,
    "alpha": 16,
}


def test_what_is_left_out_has_a_default() -> None:
    """The specification's, and a small learning rate where there is no optimizer."""
    plan = fine_tuning(SupervisedFineTuneRequest.model_validate(TUNE))
    assert (plan.max_steps_per_epoch, plan.max_validation_steps, plan.dtype) == (1, 1, "bfloat16")
    assert (plan.optimizer, plan.lr, plan.lora, plan.packed) == ("adamw", 2e-5, None, False)


def test_an_adapter_is_planned_as_asked() -> None:
    """LoRA."""
    plan = fine_tuning(SupervisedFineTuneRequest.model_validate(TUNE | {"algorithm_config": LORA}))
    assert plan.lora == Lora(["q_proj"], mlp=False, rank=8, alpha=16, dora=False)


def test_a_training_config_by_itself_is_a_request() -> None:
    """The members of the request may stand beside its own, and the id is made up."""
    assert SupervisedFineTuneRequest.model_validate(CONFIG).model is None
    request = SupervisedFineTuneRequest.model_validate({**CONFIG, "model": "m", "dtype": "fp32"})
    assert request.job_uuid
    plan = fine_tuning(request)
    assert (plan.model, plan.n_epochs, plan.dtype, plan.dataset_id) == ("m", 3, "float32", "d")


def test_an_alignment_config_by_itself_is_a_request() -> None:
    """What it lacks stands beside it."""
    body = {"beta": 0.2, "finetuned_model": "m", "training_config": CONFIG, "job_uuid": "j"}
    request = PreferenceOptimizeRequest.model_validate(body)
    wanted = preference(request).preference
    assert request.job_uuid == "j"
    assert wanted is not None
    assert (wanted.beta, wanted.loss_type) == (0.2, "sigmoid")


def test_a_request_is_forwarded_as_it_was_said() -> None:
    """What was not said is not made up, and what nobody knows is left out."""
    request = SupervisedFineTuneRequest.model_validate(TUNE | {"later": 1})
    assert request.model_dump(mode="json", exclude_unset=True) == TUNE


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"job_uuid": "a\n"}, ("job_uuid",)),
        ({"job_uuid": ""}, ("job_uuid",)),
        ({"model": "a\x00b"}, ("model",)),
        ({"training_config": CONFIG | {"n_epochs": 0}}, ("training_config", "n_epochs")),
        ({"training_config": CONFIG | {"n_epochs": 10**9}}, ("training_config", "n_epochs")),
        (
            {"training_config": CONFIG | {"data_config": DATA | {"data_format": "csv"}}},
            ("training_config", "data_config", "data_format"),
        ),
        ({"algorithm_config": {"type": "other"}}, ("algorithm_config",)),
        ({"algorithm_config": LORA | {"rank": 0}}, ("algorithm_config", "LoRA", "rank")),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], loc: tuple[str, ...]) -> None:
    """As Llama Stack names it."""
    with pytest.raises(ValidationError) as caught:
        SupervisedFineTuneRequest.model_validate(TUNE | change)
    assert caught.value.errors()[0]["loc"] == loc


def test_a_body_that_is_no_request_at_all_is_refused() -> None:
    """Not wrapped into anything."""
    with pytest.raises(ValidationError):
        SupervisedFineTuneRequest.model_validate(["n_epochs"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"training_config": {"n_epochs": 1}}, "training_config.data_config"),
        ({"training_config": CONFIG | {"dtype": "int3"}}, "training_config.dtype"),
        (
            {
                "training_config": CONFIG
                | {"efficiency_config": {"enable_activation_offloading": True}}
            },
            "training_config.efficiency_config.enable_activation_offloading",
        ),
        ({"hyperparam_search_config": {"lr": [1, 2]}}, "hyperparam_search_config"),
        (
            {"algorithm_config": {"type": "QAT", "quantizer_name": "q", "group_size": 1}},
            "algorithm_config.type",
        ),
        ({"algorithm_config": LORA | {"quantize_base": True}}, "algorithm_config.quantize_base"),
        (
            {"algorithm_config": LORA | {"lora_attn_modules": [], "apply_lora_to_output": False}},
            "algorithm_config.lora_attn_modules",
        ),
    ],
)
def test_what_this_engine_cannot_do_is_refused(change: dict[str, Any], field: str) -> None:
    """Rather than left out."""
    with pytest.raises(InvalidParams) as caught:
        fine_tuning(SupervisedFineTuneRequest.model_validate(TUNE | change))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algorithm_config": {"beta": 1, "loss_type": "kto_pair"}}, "algorithm_config.loss_type"),
        (
            {"training_config": CONFIG | {"data_config": DATA | {"packed": True}}},
            "training_config.data_config.packed",
        ),
    ],
)
def test_preferences_that_cannot_be_trained_are_refused(change: Any, field: str) -> None:
    """Rather than trained in another way."""
    with pytest.raises(InvalidParams) as caught:
        preference(PreferenceOptimizeRequest.model_validate(ALIGN | change))
    assert caught.value.field == field


def test_activations_may_be_computed_again_to_spare_memory() -> None:
    """The one of the efficiency settings that works on any device."""
    efficient = {"efficiency_config": {"enable_activation_checkpointing": True}}
    body = TUNE | {"training_config": CONFIG | efficient}
    assert fine_tuning(SupervisedFineTuneRequest.model_validate(body)).activation_checkpointing
