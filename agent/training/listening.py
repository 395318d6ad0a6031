"""What a trainer says of its progress, told in our words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from agent.training.told import Metrics, Saved, Stepped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.training.told import Told

# What a trainer needs to go on from a checkpoint, and nobody else: twice the size of what is trained.
_TO_GO_ON = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth")


class Diverged(Exception):
    """The loss is no number any more."""


class Listener(TrainerCallback):  # type: ignore[misc]
    """Hears a trainer, whose epochs end with losses, a validation and a checkpoint, in this order."""

    def __init__(self, tell: Callable[[Told], None], output: Path) -> None:
        """``output`` is where the checkpoints are."""
        self._tell = tell
        self._output = output
        self._train_loss = math.nan
        self._validation_loss: float | None = None
        self._last = ""

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Tell of a step."""
        self._tell(Stepped(state.global_step, state.max_steps))

    def on_log(
        self, _args: Any, _state: Any, _control: Any, logs: dict[str, Any], **_: Any
    ) -> None:
        """Keep the loss; raises ``Diverged``."""
        if "loss" in logs:
            self._train_loss = _number(logs["loss"])

    def on_evaluate(
        self, _args: Any, _state: Any, _control: Any, metrics: dict[str, Any], **_: Any
    ) -> None:
        """Keep the loss; raises ``Diverged``."""
        self._validation_loss = _number(metrics["eval_loss"])

    def on_save(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Tell of a checkpoint, from which alone training goes on from now."""
        name = f"checkpoint-{state.global_step}"
        if name == self._last:
            return
        loss = self._validation_loss
        metrics = None if loss is None else Metrics(self._train_loss, loss)
        self._tell(Saved(name, round(state.epoch), metrics))
        self.finish()
        self._last = name

    def finish(self) -> None:
        """Leave of the last checkpoint what is of use to others."""
        if self._last:
            for name in _TO_GO_ON:
                (self._output / self._last / name).unlink(missing_ok=True)


def _number(loss: float) -> float:
    if not math.isfinite(loss):
        raise Diverged
    return float(loss)
