"""The examples of a job, written where its worker reads them."""

from __future__ import annotations

import asyncio
from typing import IO, TYPE_CHECKING, Any

import msgspec

from agent.errors import ResourceNotFound
from agent.jobs.progress import JobFailed
from agent.training.rows import reader_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.caller import Caller
    from agent.datasets.datasets import Datasets
    from agent.training.plan import Plan

TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"

HELD_OUT = 10
"""Every so many rows, one is for validation, where no dataset is."""


async def write_examples(datasets: Datasets, caller: Caller, plan: Plan, folder: Path) -> bool:
    """Write what to train on, and what to validate with; returns whether there is any of the latter.

    Raises ``JobFailed`` when a dataset is gone, or has rows that are no examples.
    """
    read = reader_of(plan)
    named = plan.validation_dataset_id
    with (folder / TRAIN).open("wb") as train, (folder / VALIDATION).open("wb") as validation:
        held_out = None if named else validation
        count = await _write(datasets, caller, plan.dataset_id, read, (train, held_out))
        if not count:
            raise JobFailed(f"The dataset {plan.dataset_id} has no rows.")
        if named:
            await _write(datasets, caller, named, read, (validation, None))
        return bool(validation.tell())


async def _write(
    datasets: Datasets,
    caller: Caller,
    dataset_id: str,
    read: Callable[[Any], Any],
    files: tuple[IO[bytes], IO[bytes] | None],
) -> int:
    count = 0
    try:
        async for page in datasets.pages(caller, dataset_id):
            await asyncio.to_thread(_write_page, page, count, read, files)
            count += len(page)
    except ResourceNotFound as exc:
        raise JobFailed(f"The dataset {dataset_id} is not there any more.") from exc
    except _BadRow as exc:
        raise JobFailed(f"Row {exc.index} of the dataset {dataset_id}: {exc.problem}.") from exc
    return count


class _BadRow(Exception):
    """A row is no example."""

    def __init__(self, index: int, problem: str) -> None:
        self.index = index
        self.problem = problem
        super().__init__(problem)


def _write_page(
    rows: Any,
    start: int,
    read: Callable[[Any], Any],
    files: tuple[IO[bytes], IO[bytes] | None],
) -> None:
    train, held_out = files
    for index, row in enumerate(rows, start):
        try:
            example = read(row)
        except JobFailed as exc:
            raise _BadRow(index, exc.message) from exc
        is_held_out = held_out is not None and index % HELD_OUT == HELD_OUT - 1
        file = held_out if held_out is not None and is_held_out else train
        file.write(msgspec.json.encode(example) + b"\n")
