"""Training itself: transformers, peft and trl, on one device. Imported by the worker alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from agent.training.listening import Diverged, Listener
from agent.training.told import Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.training.plan import Lora, Plan
    from agent.training.told import Told, Work

MOST_TOKENS = 2048
"""How long an example may be; the end of a longer one is cut off."""

_SEED = 42
_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
_FEED_FORWARD = ("mlp", "feed_forward", "ffn", "fc1", "fc2")
# What callers know by another name, from the library that Llama Stack trained with first.
_OTHER_NAMES = {"output_proj": "o_proj"}
# For models that were never taught to talk.
_TEMPLATE = (
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


class Hopeless(Exception):
    """Training cannot go on; the message is written for the caller."""


def tune(work: Work, tell: Callable[[Told], None]) -> None:
    """Train as the plan says; raises ``Hopeless``."""
    torch.manual_seed(_SEED)
    plan = work.plan
    tokenizer, model = _load(work)
    if plan.lora is not None:
        model = _adapted(model, plan.lora)
    tell(Started(_resources(plan, model)))
    listener = Listener(tell, Path(work.output))
    trainer = _trainer(work, tokenizer, model, listener)
    if not len(trainer.train_dataset):
        raise Hopeless("No example is left: the prompts alone are as long as the model can read.")
    try:
        trainer.train(resume_from_checkpoint=work.resume)
    except torch.OutOfMemoryError as exc:
        raise Hopeless("The device has too little memory for this training.") from exc
    except Diverged as exc:
        raise Hopeless("The training diverged: the loss is no number any more.") from exc
    listener.finish()
    shutil.rmtree(Path(work.output) / "runs", ignore_errors=True)


def _load(work: Work) -> tuple[Any, Any]:
    # A model that is trained in full keeps more digits than it computes with.
    is_small = work.plan.lora is not None or work.adapter is not None
    dtype = _dtype(work.plan) if is_small else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(work.adapter or work.base)
        model = AutoModelForCausalLM.from_pretrained(work.base, dtype=dtype)
        if work.adapter is not None:
            model = PeftModel.from_pretrained(model, work.adapter, is_trainable=True)
    except (OSError, ValueError, KeyError) as exc:
        raise Hopeless("The model or its tokenizer cannot be loaded.") from exc
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise Hopeless("The tokenizer of the model has no token that ends a text.")
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _TEMPLATE
    return tokenizer, model


def _dtype(plan: Plan) -> torch.dtype:
    """Return what is computed with: processors know only one that is worth it."""
    dtype: torch.dtype = getattr(torch, plan.dtype)
    return dtype if torch.cuda.is_available() else torch.float32


def _adapted(model: Any, lora: Lora) -> Any:
    names = _targets(model, lora)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=names,
        use_dora=lora.dora,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _targets(model: Any, lora: Lora) -> list[str]:
    """Return the full names of the layers that get adapters."""
    wanted = {_OTHER_NAMES.get(name, name) for name in lora.attention}
    output = model.get_output_embeddings()
    found, names = set(), []
    for name, module in model.named_modules():
        if module is output or not isinstance(module, torch.nn.Linear | Conv1D):
            continue
        last = name.rpartition(".")[2]
        if any(part in _FEED_FORWARD for part in name.split(".")):
            is_wanted = lora.mlp
        else:
            is_wanted = last in wanted
            found.add(last)
        if is_wanted:
            names.append(name)
    if unknown := sorted(wanted - found):
        raise Hopeless(f"The model has no attention module {unknown[0][:100]}.")
    return names


def _resources(plan: Plan, model: Any) -> dict[str, str | int | float | bool]:
    parameters = [(each.numel(), each.requires_grad) for each in model.parameters()]
    return {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "dtype": str(_dtype(plan)).removeprefix("torch."),
        "parameters": sum(count for count, _ in parameters),
        "trainable_parameters": sum(count for count, is_trained in parameters if is_trained),
    }


def _trainer(work: Work, tokenizer: Any, model: Any, listener: Listener) -> Any:
    plan = work.plan
    of_epoch = plan.max_steps_per_epoch * plan.gradient_accumulation_steps * plan.batch_size
    train = _examples(work.train, of_epoch, shuffle=plan.shuffle)
    validation = None
    if work.validation is not None:
        validation = _examples(work.validation, plan.max_validation_steps * plan.batch_size)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = _OPTIMIZERS[plan.optimizer](trained, lr=plan.lr, weight_decay=plan.weight_decay)
    longest = getattr(model.config, "max_position_embeddings", None) or MOST_TOKENS
    common = _arguments(work, validates=validation is not None)
    common["max_length"] = min(longest, MOST_TOKENS)
    given = {
        "model": model,
        "processing_class": tokenizer,
        "train_dataset": train,
        "eval_dataset": validation,
        "callbacks": [listener],
        "optimizers": (optimizer, None),
    }
    if plan.preference is not None:
        preference = msgspec.structs.asdict(plan.preference)
        return DPOTrainer(args=DPOConfig(**common, **preference), **given)
    return SFTTrainer(
        args=SFTConfig(
            completion_only_loss=not plan.train_on_input,
            packing=plan.packed,
            # The other ways need kernels that few devices have.
            packing_strategy="wrapped",
            **common,
        ),
        **given,
    )


def _examples(path: str, most: int, *, shuffle: bool = False) -> Any:
    with Path(path).open("rb") as file:
        rows = Dataset.from_list([msgspec.json.decode(line) for line in file])
    if shuffle:
        rows = rows.shuffle(seed=_SEED)
    return rows.select(range(min(most, len(rows))))


def _arguments(work: Work, *, validates: bool) -> dict[str, Any]:
    plan = work.plan
    dtype = _dtype(plan)
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": work.output,
        "num_train_epochs": plan.n_epochs,
        "per_device_train_batch_size": plan.batch_size,
        "per_device_eval_batch_size": plan.batch_size,
        "gradient_accumulation_steps": plan.gradient_accumulation_steps,
        "learning_rate": plan.lr,
        "weight_decay": plan.weight_decay,
        "warmup_steps": plan.num_warmup_steps,
        "gradient_checkpointing": plan.activation_checkpointing,
        "train_sampling_strategy": "random" if plan.shuffle else "sequential",
        "bf16": on_gpu and dtype == torch.bfloat16,
        "fp16": on_gpu and dtype == torch.float16,
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        # Else a loss that is no number would be left out of the mean.
        "logging_nan_inf_filter": False,
        "eval_strategy": "epoch" if validates else "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": _SEED,
    }
