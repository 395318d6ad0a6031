"""Stands for a worker: does what the name of the model says, and trains nothing. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

EPOCHS = 10


def tell(event: str, **more: Any) -> None:
    """Write a line."""
    print(json.dumps({"event": event, **more}), flush=True)  # noqa: T201 - how workers tell


def save(work: Any, epoch: int, **more: Any) -> None:
    """Make a checkpoint."""
    checkpoint = Path(work["output"], f"checkpoint-{epoch}")
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    tell("saved", name=checkpoint.name, epoch=epoch, **more)


def good(work: Any) -> None:
    """Train two epochs, or one more than were trained before."""
    lines = {
        name: Path(work[name]).read_text().count("\n") if work[name] else 0
        for name in ("train", "validation")
    }
    tell("started", resources={"device": "cpu", **lines, "resumed": work["resume"] is not None})
    begin = 2 if work["resume"] else 1
    for epoch in range(begin, 3):
        tell("stepped", step=epoch, steps=2)
        save(work, epoch, metrics={"train_loss": 2.5, "validation_loss": 1000.0})
    tell("ended")


def waiting(work: Any) -> None:
    """Train one epoch and no more, unless that was done before; a process of its own waits with it."""
    if work["resume"]:
        good(work)
        return
    with subprocess.Popen(["sleep", "1000"]) as child:
        tell("started", resources={"pid": os.getpid(), "child": child.pid})
        save(work, 1)
        sys.stdin.read()


def tiny(work: Any) -> None:
    """Train as many epochs as are wanted, unless they are too many: these never end."""
    wanted = work["plan"]["n_epochs"]
    if wanted > EPOCHS:
        waiting(work)
        return
    tell("started", resources={"device": "cpu"})
    for epoch in range(1, wanted + 1):
        tell("stepped", step=epoch, steps=wanted)
        save(work, epoch, metrics={"train_loss": 2.5, "validation_loss": 2.0})
    tell("ended")


def deaf(_: Any) -> None:
    """Never end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell("started", resources={"pid": os.getpid()})
    while True:
        signal.pause()


def hopeless(_: Any) -> None:
    """Give up."""
    tell("failed", reason="The model is made of cheese.")
    sys.exit(1)


def broken(_: Any) -> None:
    """Break."""
    sys.exit("secret of the worker")


def silent(_: Any) -> None:
    """End before all is done."""


def babbling(_: Any) -> None:
    """Tell what nobody understands."""
    print("tokens: 12", flush=True)  # noqa: T201 - how workers tell


def endless(_: Any) -> None:
    """Tell too much at once."""
    print("x" * 100_000, flush=True)  # noqa: T201 - how workers tell


def chatty(_: Any) -> None:
    """Log more than anybody wants to read."""
    for _ in range(5000):
        sys.stderr.write("x" * 1000 + "\n")
    tell("ended")


def naming(_: Any) -> None:
    """Tell of the environment."""
    tell("started", resources=dict(os.environ))
    tell("ended")


if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    globals()[Path(asked["base"]).name](asked)
