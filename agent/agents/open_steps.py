"""Steps that have begun and not ended, as payloads of chunks tell of them. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.agents.wire import INFERENCE, SHIELD, TOOL, call_of

if TYPE_CHECKING:
    from agent.agents.base import Json
    from agent.stacks import StepEnded, StepStarted


class Kept:
    """A step that the stack keeps."""

    def __init__(self, kind: str, step_id: str) -> None:
        """``kind`` is its type."""
        self.kind = kind
        self.step_id = step_id

    def start(self, metadata: Json = None) -> Json:
        """Return the payload that says that it begins."""
        return {
            "event_type": "step_start",
            "step_type": self.kind,
            "step_id": self.step_id,
            "metadata": metadata or {},
        }

    def progress(self, delta: Json) -> Json:
        """Return the payload that says what is new."""
        return {
            "event_type": "step_progress",
            "step_type": self.kind,
            "step_id": self.step_id,
            "delta": delta,
        }

    def running(self, call: Json) -> Json:
        """Return the payload that says that a tool runs."""
        return self.progress(_called(call, "in_progress"))

    def called(self, call: Json) -> Json:
        """Return the payload that says what the model has called."""
        return self.progress(_called(call, "succeeded"))


class Inferring(Kept):
    """The model speaks: ``texts`` are what it has said."""

    def __init__(self, step_id: str, started_at: str) -> None:
        """Nothing is said."""
        super().__init__(INFERENCE, step_id)
        self.started_at = started_at
        self.texts: list[str] = []


class Tooling(Kept):
    """A tool runs."""

    def __init__(self, step_id: str, started_at: str, call: Json) -> None:
        """``call`` is what it was called with."""
        super().__init__(TOOL, step_id)
        self.started_at = started_at
        self.call = call


class Shielding(Kept):
    """A shield looks; ``violation`` is what it has found: ``{"level", "type"}``."""

    def __init__(self, step_id: str, started_at: str) -> None:
        """Nothing is found."""
        super().__init__(SHIELD, step_id)
        self.started_at = started_at
        self.violation: Json = {}


def call_id_of(event: StepStarted | StepEnded) -> str | None:
    """Return the id of the call that a step is about; None for a step that is no call."""
    if event.kind not in (TOOL, "memory_retrieval"):
        return None
    detail = event.detail if isinstance(event.detail, dict) else {}
    return str(detail.get("call_id", ""))


def call_in(event: StepStarted) -> Json:
    """Return the call that begins with a step."""
    detail = event.detail if isinstance(event.detail, dict) else {}
    return call_of(call_id_of(event) or "", event.name, detail.get("arguments", {}))


def _called(call: Json, parse_status: str) -> Json:
    return {"type": "tool_call", "tool_call": call, "parse_status": parse_status}
