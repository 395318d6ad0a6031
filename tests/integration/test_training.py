"""Training jobs in worker processes, which here only say that they train."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.caller import Caller
from agent.datasets.datasets import Datasets
from agent.errors import InvalidParams, NotProvided, ResourceNotFound, TooManyTasks
from agent.jobs.progress import JobFailed
from agent.settings import Settings
from agent.training.process import LOG_BYTES, told_by
from agent.training.told import Started
from agent.training.training import Training, worker_of_extra
from agent.training.weights import folder_of_job, folder_of_owner
from tests.fakes.engine import until
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

ANN, BOB = Caller(owner="ann"), Caller(owner="bob")
FAKE = Path(__file__).parents[1] / "training" / "fake_worker.py"
COMMAND = (sys.executable, "-I", "-S", str(FAKE))
KINDS = ("good", "waiting", "deaf", "hopeless", "broken", "silent", "babbling", "endless", "naming")
LORA = {
    "type": "LoRA",
    "lora_attn_modules": ["q_proj"],
    "apply_lora_to_mlp": False,
    "apply_lora_to_output": False,
    "rank": 8,
    "alpha": 16,
}
NONE = {"torch": "is there"}.get
ROWS = [{"prompt": f"{n}?", "completion": "yes"} for n in range(25)]


class Place:
    """A folder with models, where servers train one after the other."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.checkpoints = folder / "checkpoints"
        for name in KINDS:
            model = folder / "models" / "org" / name
            model.mkdir(parents=True)
            (model / "config.json").write_text("{}")
        section = {
            "training": {"folder": self.checkpoints, "models": folder / "models"},
            "jobs": {"waiting_per_owner": 3},
        }
        self.settings = Settings.model_validate({"experimental": section})
        self.database = database
        self.datasets = Datasets(database, self.settings)

    def training(self) -> Training:
        """Return the training of a server."""
        return Training(self.database, self.settings, self.datasets, command=COMMAND)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Training]:
        """Run a server's training."""
        training = self.training()
        await training.open()
        try:
            with anyio.fail_after(20):
                yield training
        finally:
            await training.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Return a place with a dataset of Ann's."""
    async with open_database("sqlite://") as database:
        place = Place(database, tmp_path)
        await register(place, "rows", ROWS)
        yield place


async def register(place: Place, dataset_id: str, rows: Any) -> None:
    """Give Ann a dataset."""
    source = {"type": "rows", "rows": rows}
    await place.datasets.register(ANN, purpose="x", source=source, dataset_id=dataset_id)


def asked(model: str = "org/good", job: str = "job", **more: Any) -> dict[str, Any]:
    """Return a request for fine-tuning."""
    data = {
        "dataset_id": more.pop("dataset_id", "rows"),
        "batch_size": 2,
        "shuffle": False,
        "data_format": "instruct",
    }
    return {
        "job_uuid": job,
        "model": model,
        "training_config": {"n_epochs": 2, "data_config": data | more.pop("data", {})},
        "hyperparam_search_config": {},
        "logger_config": {},
        **more,
    }


async def ended(training: Training, job: str = "job") -> Any:
    """Return the status of a job that has ended."""

    async def has_ended() -> bool:
        return (await training.status(ANN, job))["completed_at"] is not None

    await until(has_ended)
    return await training.status(ANN, job)


async def training_at(training: Training, job: str = "job", epochs: int = 1) -> Any:
    """Return the status of a job that has trained so many epochs."""

    async def is_there() -> bool:
        return len((await training.artifacts(ANN, job))["checkpoints"]) >= epochs

    await until(is_there)
    return await training.status(ANN, job)


def made_in(place: Place) -> set[str]:
    """Return the names of what is in the folders of all attempts."""
    return {path.name for path in place.checkpoints.glob("*/*/*/*")}


def is_alive(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_job_runs_and_shows_what_it_has_made(place: Place) -> None:
    """Checkpoints with metrics, by paths that tell nothing of the server."""
    async with place.running() as training:
        assert await training.supervised_fine_tune(ANN, asked()) == {"job_uuid": "job"}
        status = await ended(training)
        artifacts = await training.artifacts(ANN, "job")
    assert status["status"] == "completed"
    assert status["scheduled_at"] <= status["started_at"] <= status["completed_at"]
    assert status["resources_allocated"]["steps_done"] == 2
    assert artifacts == {"job_uuid": "job", "checkpoints": status["checkpoints"]}
    first, second = status["checkpoints"]
    assert (first["identifier"], first["post_training_job_id"]) == ("job-1", "job")
    assert (place.checkpoints / second["path"] / "config.json").is_file()
    metrics = first["training_metrics"]
    assert (metrics["epoch"], metrics["train_loss"], metrics["validation_loss"]) == (1, 2.5, 1000)
    assert 1e300 < metrics["perplexity"] < float("inf")


async def test_every_tenth_row_is_held_out_where_nothing_is_to_validate_with(place: Place) -> None:
    """And nothing of the rows stays when the job has ended."""
    await register(place, "other", ROWS[:3])
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked())
        resources = (await ended(training))["resources_allocated"]
        assert (resources["train"], resources["validation"]) == (23, 2)
        more = asked(job="two", data={"validation_dataset_id": "other"})
        await training.supervised_fine_tune(ANN, more)
        resources = (await ended(training, "two"))["resources_allocated"]
        assert (resources["train"], resources["validation"]) == (25, 3)
        await training.supervised_fine_tune(ANN, asked(job="three", dataset_id="other"))
        resources = (await ended(training, "three"))["resources_allocated"]
        assert (resources["train"], resources["validation"]) == (3, 0)
    assert not list(place.checkpoints.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("hopeless", "The model is made of cheese."),
        ("broken", "The training process broke (it ended with 1)."),
        ("silent", "The training process ended before it was done."),
        ("babbling", "The training process told what is not understood."),
        ("endless", "The training process told too much at once."),
    ],
)
async def test_a_job_that_fails_says_why(
    place: Place, kind: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What the worker said by itself is in the log of the server alone; nothing stays of the job."""
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked(f"org/{kind}"))
        status = await ended(training)
    assert (status["status"], status["resources_allocated"]) == ("failed", {"error": reason})
    assert ("['secret of the worker']" in caplog.text) == (kind == "broken")
    assert made_in(place) == set()


async def test_rows_that_are_no_examples_fail_the_job(place: Place) -> None:
    """The row is named, and so is what it lacks; a dataset without rows is told of, too."""
    await register(place, "bad", [*ROWS, {"prompt": "x"}])
    await register(place, "none", [])
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked(dataset_id="bad"))
        reason = (await ended(training))["resources_allocated"]["error"]
        assert reason.startswith("Row 25 of the dataset bad: it has nothing in expected_answer")
        await training.supervised_fine_tune(ANN, asked(job="two", dataset_id="none"))
        reason = (await ended(training, "two"))["resources_allocated"]["error"]
        assert reason == "The dataset none has no rows."


async def test_what_is_gone_when_a_job_begins_fails_it(place: Place) -> None:
    """It was there when the job was asked for."""
    training = place.training()
    await training.supervised_fine_tune(ANN, asked("org/silent", "model"))
    await training.supervised_fine_tune(ANN, asked(job="rows"))
    await place.datasets.unregister(ANN, "rows")
    training_folder = place.settings.experimental.training.models
    assert training_folder is not None
    (training_folder / "org" / "silent" / "config.json").unlink()
    async with place.running() as training:
        of_model, of_rows = await ended(training, "model"), await ended(training, "rows")
    assert "model org/silent is not there" in of_model["resources_allocated"]["error"]
    assert "dataset rows is not there" in of_rows["resources_allocated"]["error"]


async def test_a_canceled_job_has_no_process_any_more(place: Place) -> None:
    """Nor has what its worker has started; what it has made stays, and canceling again is no error."""
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked("org/waiting"))
        pids = (await training_at(training))["resources_allocated"]
        assert is_alive(pids["pid"])
        await training.cancel(ANN, "job")
        status = await ended(training)
        await training.cancel(ANN, "job")
    assert (status["status"], len(status["checkpoints"])) == ("cancelled", 1)
    assert made_in(place) == {"checkpoint-1", "log.txt"}
    assert not is_alive(pids["pid"])
    assert not is_alive(pids["child"])


async def test_a_job_that_waits_is_canceled_at_once(place: Place) -> None:
    """It has never begun; what a server that died has left of it goes, but for checkpoints."""
    training = place.training()
    await training.supervised_fine_tune(ANN, asked())
    job = place.checkpoints / folder_of_owner("ann", "") / folder_of_job("job")
    for name in ("a/train.jsonl", "b/train.jsonl", "b/cache/x", "b/checkpoint-1/x"):
        (job / name).parent.mkdir(parents=True, exist_ok=True)
        (job / name).touch()
    await training.cancel(ANN, "job")
    status = await training.status(ANN, "job")
    assert (status["status"], status["started_at"]) == ("cancelled", None)
    assert made_in(place) == {"checkpoint-1"}


async def test_a_job_that_has_ended_is_not_canceled(place: Place) -> None:
    """Who asks is told how it ended."""
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked())
        await ended(training)
        with pytest.raises(InvalidParams, match="completed"):
            await training.cancel(ANN, "job")


async def test_another_server_goes_on_from_the_last_checkpoint(place: Place) -> None:
    """The one that stops takes its worker with it, and the earlier checkpoints stay."""
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked("org/waiting"))
        pids = (await training_at(training))["resources_allocated"]
    assert not is_alive(pids["pid"])
    async with place.running() as training:
        status = await ended(training)
    assert status["status"] == "completed"
    assert status["resources_allocated"]["resumed"] is True
    assert [each["epoch"] for each in status["checkpoints"]] == [1, 2]
    assert len({Path(each["path"]).parent for each in status["checkpoints"]}) == 2


async def test_what_a_job_has_made_is_the_model_of_another(place: Place) -> None:
    """By the identifier of a checkpoint, or the last one by the job's; only for whoever made it."""
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked(job="first"))
        status = await ended(training, "first")
        for checkpoint in status["checkpoints"]:
            # So that the fake worker knows what to do.
            path = place.checkpoints / checkpoint["path"]
            (path / "adapter_config.json").write_text('{"base_model_name_or_path": "x/good"}')
        with pytest.raises(InvalidParams, match="adapted by LoRA already"):
            await training.supervised_fine_tune(ANN, asked("first", "lora", algorithm_config=LORA))
        for name in ("first", "first-1"):
            await training.supervised_fine_tune(ANN, asked(name, f"of-{name}"))
            assert (await ended(training, f"of-{name}"))["status"] == "completed"
        for caller, name in ((BOB, "first-1"), (ANN, "first-9"), (ANN, "first-")):
            with pytest.raises(ResourceNotFound):
                await training.supervised_fine_tune(caller, asked(name, "x"))


@pytest.mark.parametrize(
    "name", ["org", "org/none", "../models/org/good", "/etc", "org/../org/good", "org//good"]
)
async def test_a_model_that_is_not_in_the_folder_is_not_found(place: Place, name: str) -> None:
    """Whatever the name looks like."""
    with pytest.raises(ResourceNotFound, match="Model"):
        await place.training().supervised_fine_tune(ANN, asked(name))


async def test_a_model_that_is_not_named_is_the_only_one(place: Place) -> None:
    """Where there are several, or none, one must be named."""
    folder = place.settings.experimental.training.models
    assert folder is not None
    training = place.training()
    unnamed = asked()
    del unnamed["model"]
    with pytest.raises(InvalidParams, match="named") as caught:
        await training.supervised_fine_tune(ANN, unnamed)
    assert caught.value.field == "model"
    for name in KINDS[1:]:
        (folder / "org" / name / "config.json").unlink()
    (folder / "org" / ".hidden").mkdir()
    (folder / "org" / ".hidden" / "config.json").touch()
    async with place.running() as running:
        await running.supervised_fine_tune(ANN, unnamed)
        assert (await ended(running))["status"] == "completed"
    (folder / "org" / "good" / "config.json").unlink()
    with pytest.raises(InvalidParams):
        await training.supervised_fine_tune(ANN, unnamed | {"job_uuid": "b"})


async def test_a_job_is_its_owners_alone(place: Place) -> None:
    """To others it is not there, and its id is free."""
    training = place.training()
    await training.supervised_fine_tune(ANN, asked())
    assert await training.list(ANN) == {"data": [{"job_uuid": "job"}]}
    for caller in (BOB, Caller(owner="ann", tenant="other")):
        assert await training.list(caller) == {"data": []}
        for answers in (training.status, training.artifacts, training.cancel):
            with pytest.raises(ResourceNotFound):
                await answers(caller, "job")
    with pytest.raises(ResourceNotFound, match="Dataset"):
        await training.supervised_fine_tune(BOB, asked())


async def test_an_id_is_taken_once(place: Place) -> None:
    """And only so many jobs wait."""
    training = place.training()
    for job in ("a", "b", "c"):
        await training.supervised_fine_tune(ANN, asked(job=job))
    with pytest.raises(InvalidParams, match="already exists"):
        await training.supervised_fine_tune(ANN, asked(job="a"))
    with pytest.raises(TooManyTasks):
        await training.supervised_fine_tune(ANN, asked(job="d"))


async def test_without_the_extra_only_starting_is_not_provided(place: Place) -> None:
    """What is wrong with the request is told first."""
    training = Training(
        place.database, place.settings, place.datasets, command=worker_of_extra(NONE)
    )
    await training.open()
    try:
        with pytest.raises(NotProvided, match=r"llamastack-a2a\[training\]"):
            await training.supervised_fine_tune(ANN, asked())
        with pytest.raises(InvalidParams):
            await training.supervised_fine_tune(ANN, asked() | {"model": ""})
        assert await training.list(ANN) == {"data": []}
    finally:
        await training.close()


async def test_a_worker_knows_nothing_that_is_secret(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither our keys nor our settings are in its environment, and it fetches nothing."""
    for name in ("OPENAI_API_KEY", "LLAMASTACK_A2A__NAME", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    async with place.running() as training:
        await training.supervised_fine_tune(ANN, asked("org/naming"))
        environment = (await ended(training))["resources_allocated"]
    assert "secret" not in environment.values()
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["PATH"] == os.environ["PATH"]


async def test_a_worker_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """After a while."""
    with anyio.fail_after(10):
        async with aclosing(told_by(COMMAND, b'{"base": "deaf"}', tmp_path, 0.1)) as told:
            started = await anext(told)
    assert isinstance(started, Started)
    pid = started.resources["pid"]
    assert isinstance(pid, int)
    assert not is_alive(pid)


async def test_a_worker_is_gone_however_often_it_is_given_up(tmp_path: Path) -> None:
    """Nobody goes on, and removes its files, before."""
    pids: list[Any] = []

    async def listen() -> None:
        async with aclosing(told_by(COMMAND, b'{"base": "deaf"}', tmp_path, 0.2)) as told:
            async for started in told:
                assert isinstance(started, Started)
                pids.append(started.resources["pid"])

    async def has_begun() -> bool:
        return bool(pids)

    with anyio.fail_after(10):
        listening = asyncio.create_task(listen())
        await until(has_begun)
        while not listening.done():
            listening.cancel()
            await asyncio.sleep(0.01)
    assert not is_alive(pids[0])


async def test_a_log_is_only_so_long(tmp_path: Path) -> None:
    """What is more is read and forgotten: the worker does not wait for anybody."""
    with anyio.fail_after(10):
        assert len([each async for each in told_by(COMMAND, b'{"base": "chatty"}', tmp_path)]) == 1
    assert (tmp_path / "log.txt").stat().st_size == LOG_BYTES


async def test_a_worker_that_cannot_be_started_fails_the_job(tmp_path: Path) -> None:
    """Nothing of the reason is told, which names our files."""
    with pytest.raises(JobFailed, match="cannot be started"):
        await anext(told_by([str(tmp_path / "none")], b"{}", tmp_path))
