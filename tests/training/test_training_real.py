"""Training for real, by the extra ``training``: a tiny model that is made on the spot, on any device."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.caller import Caller
from agent.datasets.datasets import Datasets
from agent.settings import Settings
from agent.training.plan import fine_tuning
from agent.training.request import SupervisedFineTuneRequest
from agent.training.told import Work, write
from agent.training.training import Training
from tests.fakes.engine import until
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.training,
    # What the libraries have to tell each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ANN = Caller(owner="ann")
TALK = [f"What is {n} plus {n}?" for n in range(20)]
LORA = {
    "type": "LoRA",
    "lora_attn_modules": ["q_proj", "v_proj"],
    "apply_lora_to_mlp": True,
    "apply_lora_to_output": False,
    "rank": 4,
    "alpha": 8,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the model ``tiny/llama``: random weights, and a tokenizer of its words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    trained = Tokenizer(models.WordLevel(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<unk>", "<eos>"]
    trained.train_from_iterator(TALK, trainers.WordLevelTrainer(special_tokens=special))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, unk_token=special[0], eos_token=special[1]
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    folder = tmp_path_factory.mktemp("models")
    LlamaForCausalLM(config).save_pretrained(folder / "tiny" / "llama")
    tokenizer.save_pretrained(folder / "tiny" / "llama")
    return folder


@asynccontextmanager
async def made(models: Path, place: Path) -> AsyncIterator[Callable[[], Training]]:
    """Return what makes servers' training by the worker of the extra; Ann has two datasets."""
    section = {"training": {"folder": place, "models": models}}
    settings = Settings.model_validate({"a2a_state": {"memory": True}, "experimental": section})
    async with open_database("sqlite://") as database:
        datasets = Datasets(database, settings)
        asked = [{"input_query": text, "expected_answer": text[::2]} for text in TALK]
        pairs = [{"prompt": text, "chosen": "yes", "rejected": "no, not at all"} for text in TALK]
        for name, rows in (("questions", asked), ("pairs", pairs)):
            source = {"type": "rows", "rows": rows}
            await datasets.register(ANN, purpose="x", source=source, dataset_id=name)
        yield lambda: Training(database, settings, datasets)


@asynccontextmanager
async def opened(training: Training) -> AsyncIterator[Training]:
    """Let it train."""
    await training.open()
    try:
        yield training
    finally:
        await training.close()


@asynccontextmanager
async def running(models: Path, place: Path) -> AsyncIterator[Training]:
    """Run one server's training."""
    async with made(models, place) as make, opened(make()) as training:
        yield training


def request(job: str, dataset: str, **more: Any) -> dict[str, Any]:
    """Return what the two requests have in common: two epochs of two steps."""
    data = {
        "dataset_id": dataset,
        "batch_size": 2,
        "shuffle": True,
        "data_format": "instruct",
    }
    config = {"n_epochs": 2, "max_steps_per_epoch": 2, "data_config": data}
    empty: dict[str, Any] = {"hyperparam_search_config": {}, "logger_config": {}}
    return {"job_uuid": job, "training_config": config, **empty, **more}


async def ended(training: Training, job: str) -> Any:
    """Return the status of a job that has ended."""

    async def has_ended() -> bool:
        return (await training.status(ANN, job))["completed_at"] is not None

    with anyio.fail_after(170):
        await until(has_ended)
    return await training.status(ANN, job)


async def first_checkpoints(training: Training, job: str) -> Any:
    """Return the checkpoints of a job as soon as there are any."""

    async def has_some() -> bool:
        return bool((await training.artifacts(ANN, job))["checkpoints"])

    with anyio.fail_after(100):
        await until(has_some)
    return (await training.artifacts(ANN, job))["checkpoints"]


def check(status: Any, place: Path) -> list[Path]:
    """Return the checkpoints of a job, of which there are two with finite losses."""
    assert status["status"] == "completed", status
    for checkpoint in status["checkpoints"]:
        metrics = checkpoint["training_metrics"]
        assert all(math.isfinite(value) for value in metrics.values())
    assert [each["epoch"] for each in status["checkpoints"]] == [1, 2]
    return [place / each["path"] for each in status["checkpoints"]]


async def test_an_adapter_is_trained_and_then_taught_preferences(
    models: Path, tmp_path: Path
) -> None:
    """LoRA, then DPO of what came of it: the weights differ each time, and load again."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    async with running(models, tmp_path) as training:
        asked = request("lora", "questions", model="tiny/llama", algorithm_config=LORA)
        await training.supervised_fine_tune(ANN, asked)
        adapters = check(await ended(training, "lora"), tmp_path)
        wanted = {"beta": 0.1, "loss_type": "sigmoid"}
        asked = request("dpo", "pairs", finetuned_model="lora", algorithm_config=wanted)
        await training.preference_optimize(ANN, asked)
        adapters += check(await ended(training, "dpo"), tmp_path)

    base = AutoModelForCausalLM.from_pretrained(models / "tiny" / "llama")
    weights = []
    for adapter in adapters:
        AutoTokenizer.from_pretrained(adapter)
        loaded = PeftModel.from_pretrained(base, adapter)
        weights.append([each.clone() for each in loaded.parameters()])
        base = loaded.unload()
    same = [
        all(a.equal(b) for a, b in zip(x, y, strict=True)) for x, y in itertools.pairwise(weights)
    ]
    assert same == [False, False, False]


async def test_all_weights_are_trained_without_an_algorithm(models: Path, tmp_path: Path) -> None:
    """Full fine-tuning, and full preference optimisation of what came of it; both load again."""
    from transformers import AutoModelForCausalLM

    async with running(models, tmp_path) as training:
        asked = request("full", "questions", model="tiny/llama")
        asked["training_config"]["optimizer_config"] = {
            "optimizer_type": "adam",
            "lr": 0.01,
            "weight_decay": 0.0,
            "num_warmup_steps": 1,
        }
        asked["training_config"]["data_config"] |= {"packed": True, "train_on_input": True}
        await training.supervised_fine_tune(ANN, asked)
        checkpoints = check(await ended(training, "full"), tmp_path)
        wanted = {"beta": 0.1, "loss_type": "ipo"}
        asked = request("dpo", "pairs", finetuned_model="full-1", algorithm_config=wanted)
        await training.preference_optimize(ANN, asked)
        checkpoints += check(await ended(training, "dpo"), tmp_path)
    for checkpoint in checkpoints:
        AutoModelForCausalLM.from_pretrained(checkpoint)


async def test_training_goes_on_from_the_last_checkpoint(models: Path, tmp_path: Path) -> None:
    """A server stops while it trains, and the next one goes on: no epoch is trained twice."""
    asked = request("long", "questions", model="tiny/llama", algorithm_config=LORA)
    asked["training_config"]["n_epochs"] = 40
    async with made(models, tmp_path) as make:
        async with opened(make()) as training:
            await training.supervised_fine_tune(ANN, asked)
            before = await first_checkpoints(training, "long")
        async with opened(make()) as training:
            status = await ended(training, "long")
    assert status["status"] == "completed", status
    assert [each["epoch"] for each in status["checkpoints"]] == list(range(1, 41))
    assert status["checkpoints"][: len(before)] == before
    assert len({each["path"].rpartition("/")[0] for each in status["checkpoints"]}) == 2


async def test_a_module_that_the_model_does_not_have_is_told_of(
    models: Path, tmp_path: Path
) -> None:
    """What is wrong is only known once the model is loaded: the job fails, and says why."""
    async with running(models, tmp_path) as training:
        wanted = LORA | {"lora_attn_modules": ["c_attn"]}
        asked = request("bad", "questions", model="tiny/llama", algorithm_config=wanted)
        await training.supervised_fine_tune(ANN, asked)
        status = await ended(training, "bad")
    assert status["status"] == "failed"
    reason = status["resources_allocated"]["error"]
    assert reason == "The model has no attention module c_attn."


async def test_a_training_that_diverges_fails(models: Path, tmp_path: Path) -> None:
    """Its weights are of no use, so they are no checkpoint."""
    sgd = {"optimizer_type": "sgd", "lr": 1e30, "weight_decay": 0, "num_warmup_steps": 0}
    async with running(models, tmp_path) as training:
        asked = request("wild", "questions", model="tiny/llama")
        asked["training_config"]["optimizer_config"] = sgd
        await training.supervised_fine_tune(ANN, asked)
        status = await ended(training, "wild")
    assert (status["status"], status["checkpoints"]) == ("failed", [])
    assert "diverged" in status["resources_allocated"]["error"]


def test_a_worker_ends_with_the_server_that_started_it(tmp_path: Path) -> None:
    """Its standard input has ended then: it does not even load the model."""
    asked = SupervisedFineTuneRequest.model_validate(request("x", "questions", model="m"))
    work = Work(
        plan=fine_tuning(asked),
        base=str(tmp_path),
        adapter=None,
        resume=None,
        output=str(tmp_path),
        train="",
        validation=None,
    )
    command = [sys.executable, "-m", "agent.training.worker"]
    ended = subprocess.run(command, input=write(work) + b"\n", timeout=60, check=False)
    assert ended.returncode == 2
