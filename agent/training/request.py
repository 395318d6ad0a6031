"""What callers ask of training, in Llama Stack 0.3.5's shapes and in those of the specification before."""

from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, model_validator

type Count = Annotated[int, Field(ge=1, le=1_000_000)]
type Name = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
type Fraction = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class DataConfig(BaseModel):
    """The rows to train on; without a validation dataset, every tenth row is held out for that."""

    dataset_id: Name
    batch_size: Count
    shuffle: bool
    data_format: Literal["instruct", "dialog"]
    validation_dataset_id: Name | None = None
    packed: bool | None = False
    train_on_input: bool | None = False


class OptimizerConfig(BaseModel):
    """How weights are changed; ``num_warmup_steps`` raise the learning rate up to ``lr``."""

    optimizer_type: Literal["adam", "adamw", "sgd"]
    lr: Fraction
    weight_decay: Fraction
    num_warmup_steps: Annotated[int, Field(ge=0)]


class EfficiencyConfig(BaseModel):
    """What spares memory."""

    enable_activation_checkpointing: bool | None = False
    enable_activation_offloading: bool | None = False
    memory_efficient_fsdp_wrap: bool | None = False
    fsdp_cpu_offload: bool | None = False


class TrainingConfig(BaseModel):
    """How long to train, and on what; a step is one change of the weights."""

    n_epochs: Annotated[int, Field(ge=1, le=100)]
    max_steps_per_epoch: Count = 1
    gradient_accumulation_steps: Count = 1
    max_validation_steps: Count | None = 1
    data_config: DataConfig | None = None
    optimizer_config: OptimizerConfig | None = None
    efficiency_config: EfficiencyConfig | None = None
    dtype: str | None = "bf16"


class LoraFinetuningConfig(BaseModel):
    """Low-rank adaptation."""

    type: Literal["LoRA"]
    lora_attn_modules: Annotated[list[Name], Field(max_length=100)]
    apply_lora_to_mlp: bool
    apply_lora_to_output: bool
    rank: Annotated[int, Field(ge=1, le=4096)]
    alpha: Annotated[int, Field(ge=1, le=65536)]
    use_dora: bool | None = False
    quantize_base: bool | None = False


class QATFinetuningConfig(BaseModel):
    """Quantisation-aware training."""

    type: Literal["QAT"]
    quantizer_name: str
    group_size: int


class DPOAlignmentConfig(BaseModel):
    """Direct preference optimisation."""

    beta: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    loss_type: Literal["sigmoid", "hinge", "ipo", "kto_pair"] = "sigmoid"


_TRAINING = frozenset(TrainingConfig.model_fields)
_ALIGNMENT = frozenset(DPOAlignmentConfig.model_fields)


class _Request(BaseModel):
    """What both requests have."""

    job_uuid: Name
    training_config: TrainingConfig
    hyperparam_search_config: dict[str, Any]
    logger_config: dict[str, Any]


class SupervisedFineTuneRequest(_Request):
    """Train a model on examples; ``checkpoint_dir`` is not heeded: the server decides where it writes.

    A ``TrainingConfig`` by itself is understood, too, with the other members beside its own. Without a
    model the only one that may be trained is meant.
    """

    model: Name | None = None
    algorithm_config: (
        Annotated[LoraFinetuningConfig | QATFinetuningConfig, Field(discriminator="type")] | None
    ) = None
    checkpoint_dir: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, body: Any) -> Any:
        return _wrap(body, "training_config", _TRAINING, "n_epochs")


class PreferenceOptimizeRequest(_Request):
    """Train a model to prefer some answers to others.

    A ``DPOAlignmentConfig`` by itself is understood, too, with the other members beside its own.
    """

    finetuned_model: Name
    algorithm_config: DPOAlignmentConfig

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, body: Any) -> Any:
        return _wrap(body, "algorithm_config", _ALIGNMENT, "beta")


def _wrap(body: Any, member: str, names: frozenset[str], sign: str) -> Any:
    """Return a body that is what belongs into its ``member`` as the whole request."""
    if not isinstance(body, dict) or member in body or sign not in body:
        return body
    rest = {name: value for name, value in body.items() if name not in names}
    inner = {name: value for name, value in body.items() if name in names}
    absent = {"job_uuid": str(uuid4()), "hyperparam_search_config": {}, "logger_config": {}}
    return {**absent, **rest, member: inner}
