"""What a worker is told to do: a request, checked for what this engine can."""

from __future__ import annotations

from typing import Literal

import msgspec

from agent.errors import InvalidParams
from agent.training.request import (
    DataConfig,
    EfficiencyConfig,
    LoraFinetuningConfig,
    OptimizerConfig,
    PreferenceOptimizeRequest,
    SupervisedFineTuneRequest,
    TrainingConfig,
)

_DTYPES = {
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp16": "float16",
    "float16": "float16",
    "fp32": "float32",
    "float32": "float32",
}
_ADAM = OptimizerConfig(optimizer_type="adamw", lr=2e-5, weight_decay=0.01, num_warmup_steps=0)
_NOT_HERE = "this server's training engine does not support it"
_OFFLOADING = ("enable_activation_offloading", "memory_efficient_fsdp_wrap", "fsdp_cpu_offload")


class Lora(msgspec.Struct, frozen=True):
    """Which layers get adapters, and of what size."""

    attention: list[str]
    mlp: bool
    rank: int
    alpha: int
    dora: bool


class Preference(msgspec.Struct, frozen=True):
    """How much answers are preferred to others."""

    beta: float
    loss_type: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One job: ``model`` is as the caller named it, or empty; ``dtype`` is as torch names it."""

    method: Literal["sft", "dpo"]
    model: str
    dataset_id: str
    validation_dataset_id: str | None
    data_format: str
    batch_size: int
    shuffle: bool
    packed: bool
    train_on_input: bool
    n_epochs: int
    max_steps_per_epoch: int
    gradient_accumulation_steps: int
    max_validation_steps: int
    optimizer: str
    lr: float
    weight_decay: float
    num_warmup_steps: int
    dtype: str
    activation_checkpointing: bool
    lora: Lora | None = None
    preference: Preference | None = None


def fine_tuning(request: SupervisedFineTuneRequest) -> Plan:
    """Return the plan of a supervised fine-tuning; raises ``InvalidParams`` for what is not supported."""
    algorithm = request.algorithm_config
    if algorithm is not None and not isinstance(algorithm, LoraFinetuningConfig):
        raise InvalidParams("algorithm_config.type", f"QAT: {_NOT_HERE}")
    plan = _plan(request, "sft", request.model or "")
    return plan if algorithm is None else msgspec.structs.replace(plan, lora=_lora(algorithm))


def preference(request: PreferenceOptimizeRequest) -> Plan:
    """Return the plan of a preference optimisation; raises ``InvalidParams`` for what is not supported."""
    algorithm = request.algorithm_config
    if algorithm.loss_type == "kto_pair":
        raise InvalidParams("algorithm_config.loss_type", f"kto_pair: {_NOT_HERE}")
    plan = _plan(request, "dpo", request.finetuned_model)
    if plan.packed:
        raise InvalidParams("training_config.data_config.packed", "pairs of answers are not packed")
    wanted = Preference(algorithm.beta, algorithm.loss_type)
    return msgspec.structs.replace(plan, preference=wanted)


def _lora(config: LoraFinetuningConfig) -> Lora:
    if config.quantize_base:
        raise InvalidParams("algorithm_config.quantize_base", _NOT_HERE)
    if config.apply_lora_to_output:
        raise InvalidParams("algorithm_config.apply_lora_to_output", _NOT_HERE)
    if not (config.lora_attn_modules or config.apply_lora_to_mlp):
        raise InvalidParams("algorithm_config.lora_attn_modules", "names no module to adapt")
    return Lora(
        attention=config.lora_attn_modules,
        mlp=config.apply_lora_to_mlp,
        rank=config.rank,
        alpha=config.alpha,
        dora=bool(config.use_dora),
    )


def _plan(
    request: SupervisedFineTuneRequest | PreferenceOptimizeRequest,
    method: Literal["sft", "dpo"],
    model: str,
) -> Plan:
    if request.hyperparam_search_config:
        raise InvalidParams("hyperparam_search_config", f"{_NOT_HERE}; leave it empty")
    config = request.training_config
    data = _data(config)
    optimizer = config.optimizer_config or _ADAM
    return Plan(
        method=method,
        model=model,
        dataset_id=data.dataset_id,
        validation_dataset_id=data.validation_dataset_id,
        data_format=data.data_format,
        batch_size=data.batch_size,
        shuffle=data.shuffle,
        packed=bool(data.packed),
        train_on_input=bool(data.train_on_input),
        n_epochs=config.n_epochs,
        max_steps_per_epoch=config.max_steps_per_epoch,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        max_validation_steps=config.max_validation_steps or 1,
        optimizer=optimizer.optimizer_type,
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
        num_warmup_steps=optimizer.num_warmup_steps,
        dtype=_dtype(config),
        activation_checkpointing=_checks(config.efficiency_config),
    )


def _data(config: TrainingConfig) -> DataConfig:
    if config.data_config is None:
        raise InvalidParams("training_config.data_config", "is required: it names the dataset")
    return config.data_config


def _dtype(config: TrainingConfig) -> str:
    name = _DTYPES.get(config.dtype or "bf16")
    if name is None:
        raise InvalidParams("training_config.dtype", f"must be one of {', '.join(_DTYPES)}")
    return name


def _checks(config: EfficiencyConfig | None) -> bool:
    if config is None:
        return False
    for name in _OFFLOADING:
        if getattr(config, name):
            raise InvalidParams(f"training_config.efficiency_config.{name}", _NOT_HERE)
    return bool(config.enable_activation_checkpointing)
