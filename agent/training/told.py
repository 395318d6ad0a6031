"""What a worker is given and what it tells: one line of JSON each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.training.plan import Plan  # noqa: TC001 - msgspec resolves the annotations of fields

if TYPE_CHECKING:
    from collections.abc import Callable


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is given; all that is not the plan are paths of files and folders.

    ``resume`` is a checkpoint of this very job, and ``adapter`` one of an earlier job.
    """

    plan: Plan
    base: str
    adapter: str | None
    resume: str | None
    output: str
    train: str
    validation: str | None


class _Told(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    pass


class Started(_Told, frozen=True):
    """The model is loaded; ``resources`` are simple values."""

    resources: dict[str, str | int | float | bool]


class Stepped(_Told, frozen=True):
    """So many steps of all are done."""

    step: int
    steps: int


class Metrics(msgspec.Struct, frozen=True):
    """Mean losses of an epoch."""

    train_loss: float
    validation_loss: float


class Saved(_Told, frozen=True):
    """A checkpoint is complete: a folder in the output folder."""

    name: str
    epoch: int
    metrics: Metrics | None = None


class Failed(_Told, frozen=True):
    """The job cannot go on; ``reason`` is written for the caller."""

    reason: str


class Ended(_Told, frozen=True):
    """All is done."""


type Told = Started | Stepped | Saved | Failed | Ended

read_told: Callable[[bytes], Told] = msgspec.json.Decoder(Told).decode
write = msgspec.json.encode
