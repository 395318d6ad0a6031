"""The events of a turn -> A2A events: what one turn has said so far, as a task tells it. No I/O."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from agent import stacks
from agent.errors import InvalidAgentResponse
from agent.model import (
    Artifact,
    ArtifactUpdate,
    Event,
    Json,
    Message,
    Metadata,
    Part,
    Role,
    StatusUpdate,
    TaskState,
    TaskStatus,
    timestamp,
)
from agent.parts import JSON, TEXT, accepted, write_parts
from agent.stacks.response_format import RESPONSE_FORMAT, json_of, response_format

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from agent.stacks import TurnEvent, TurnRequest

ANSWER = "answer"
CUT_OFF = "The answer was cut off: the model reached its limit of tokens."
NOT_JSON = "The answer is not the JSON that was asked for."
_STOPPED_SHORT = {"out_of_tokens": CUT_OFF}


class Translation:
    """The translation of one turn: ``translate`` its events in their order, until it is ``settled``."""

    def __init__(self, request: TurnRequest, taken: Collection[str]) -> None:
        """Say nothing yet; raises ``InvalidParams`` for a form of the answer that is none."""
        self._request = request
        self._taken = taken
        self._answer = self._unused(ANSWER)
        self._takes_text = accepted(TEXT, request.accepted_output_modes)
        self._takes_data = accepted(JSON, request.accepted_output_modes)
        self._working = False
        self._text: list[str] = []
        self._begun: set[str] = set()
        # Texts beside the answer, which are closed with it; a dict for its order.
        self._open: dict[str, None] = {}
        self._citations: list[stacks.Citation] = []
        self._tool_calls: dict[str, Json] = {}
        self._tool_results: list[Json] = []
        self._round = 0
        self._usage: stacks.Usage | None = None
        self._structured = response_format(request.metadata) is not None
        self.settled = False

    def translate(self, event: TurnEvent) -> Iterator[Event]:  # noqa: C901 - one case a line or two
        """Give what one event means; raises ``InvalidAgentResponse`` for what is none."""
        match event:
            case stacks.TextDelta(text, artifact_id):
                yield from self._start()
                yield from self._delta(text, artifact_id or self._answer)
            case stacks.TurnStarted(str(turn_id), model):
                known = {"turn_id": turn_id}
                yield from self._start({**known, "model": model} if model else known)
            case stacks.ArtifactPart():
                yield from self._start()
                yield from self._artifact(event)
            case stacks.StepStarted() | stacks.StepEnded():
                yield self._step(event)
            case stacks.Citation():
                self._citations.append(event)
            case stacks.Usage():
                self._add(event)
            case stacks.TurnCompleted(stop_reason, text):
                yield from self._complete(stop_reason, text)
            case stacks.InputRequired(text, data):
                yield from self._interrupt(TaskState.INPUT_REQUIRED, text, data)
            case stacks.AuthRequired(text, data):
                yield from self._interrupt(TaskState.AUTH_REQUIRED, text, data)
            case stacks.Rejected(text) | stacks.Failed(text):
                refused = isinstance(event, stacks.Rejected)
                yield self.ended(TaskState.REJECTED if refused else TaskState.FAILED, text)
            case stacks.DirectMessage(parts):
                yield from self._direct(parts)
            case _ if type(event) is not stacks.StepRecorded:  # that is for the agents API alone
                raise InvalidAgentResponse

    def ended(
        self, state: TaskState, text: str = "", *, data: Json = None, metadata: Metadata = None
    ) -> StatusUpdate:
        """The status that settles the task; ``text`` and ``data`` go into its message."""
        self.settled = True
        parts = [Part(text=text)] if text else []
        if data is not None:
            parts.append(Part(data=data, media_type=JSON))
        known = dict(metadata or {})
        if self._usage is not None:
            known["usage"] = msgspec.structs.asdict(self._usage)
        return self._status(state, self._message(parts) if parts else None, known or None)

    def _start(self, metadata: Metadata = None) -> Iterator[StatusUpdate]:
        if not self._working or metadata:
            self._working = True
            yield self._status(TaskState.WORKING, None, metadata)

    def _step(self, event: stacks.StepStarted | stacks.StepEnded) -> StatusUpdate:
        self._working = True
        begins = isinstance(event, stacks.StepStarted)
        step = {"kind": event.kind, "state": "started" if begins else "ended"}
        if event.name:
            step["name"] = event.name
        if event.detail is not None:
            step["detail"] = event.detail
        if event.kind == "tool_execution":
            self._tool(event.name, event.detail, begins=begins)
        elif event.kind == "inference" and begins:
            self._round += 1
        return self._status(TaskState.WORKING, None, {"step": step})

    def _tool(self, name: str, detail: Json, *, begins: bool) -> None:
        """Keep what a tool was asked, and what it said in which round of the model."""
        if detail is None:
            return
        call_id = str(detail.get("call_id", "")) if isinstance(detail, dict) else ""
        if begins:
            self._tool_calls[call_id] = detail
            return
        called = self._tool_calls.pop(call_id, None)
        about = {"arguments", "type"} & called.keys() if isinstance(called, dict) else ()
        self._tool_results.append(
            {
                "tool_name": name,
                "result": detail,
                **{key: called[key] for key in sorted(about)},
                "round": max(self._round, 1),
            }
        )

    def _delta(self, text: str, artifact_id: str) -> Iterator[ArtifactUpdate]:
        if artifact_id == self._answer:
            self._text.append(text)
        else:
            self._open[artifact_id] = None
        if self._takes_text and not (self._structured and artifact_id == self._answer):
            append = artifact_id in self._begun
            self._begun.add(artifact_id)
            yield self._update(Artifact(artifact_id, [Part(text=text)]), append=append)

    def _artifact(self, event: stacks.ArtifactPart) -> Iterator[ArtifactUpdate]:
        parts = [part for part in write_parts(event.parts) if self._accepts(part)]
        if not parts:
            return
        append = event.append and event.artifact_id in self._begun
        self._begun.add(event.artifact_id)
        if event.last:
            self._open.pop(event.artifact_id, None)
        artifact = Artifact(event.artifact_id, parts, name=event.name)
        yield self._update(artifact, append=append, last=event.last)

    def _complete(self, stop_reason: str, text: str | None) -> Iterator[Event]:
        yield from self._start()
        metadata: dict[str, Json] = {"stop_reason": stop_reason}
        data: Json = UNSET
        if self._structured:
            data = json_of("".join(self._text) if text is None else text)
            if data is UNSET and not self._takes_text:
                yield self.ended(TaskState.FAILED, NOT_JSON, metadata=metadata)
                return
            if data is UNSET:
                metadata[RESPONSE_FORMAT] = {"met": False}
        yield from self._whole_answer(text, data)
        yield from self._data_artifact(
            "citations", "Citations", [_plain(citation) for citation in self._citations]
        )
        yield from self._data_artifact("tool_results", "Tool results", self._tool_results)
        said = _STOPPED_SHORT.get(stop_reason, "")
        yield self.ended(TaskState.COMPLETED, said, metadata=metadata)

    def _whole_answer(self, text: str | None, data: Json = UNSET) -> Iterator[ArtifactUpdate]:
        """Close all text: nothing is said twice unless the stack corrects what it streamed."""
        whole = "".join(self._text) if text is None else text
        if data is UNSET and not self._takes_text and whole:
            data = {"text": whole}
        if self._takes_text:
            for artifact_id in self._open:
                yield self._update(Artifact(artifact_id, [Part(text="")]), append=True, last=True)
        if data is not UNSET and self._takes_data:
            part = Part(data=data, media_type=JSON)
            yield self._update(Artifact(self._answer, [part]), last=True)
        elif self._takes_text:
            yield from self._rest("" if self._structured else "".join(self._text), whole)

    def _rest(self, streamed: str, whole: str) -> Iterator[ArtifactUpdate]:
        """End the text of the answer, of which a part may have been streamed."""
        if whole != streamed and (whole or self._answer in self._begun):
            append = bool(streamed) and whole.startswith(streamed)
            rest = whole[len(streamed) :] if append else whole
            yield self._update(Artifact(self._answer, [Part(text=rest)]), append=append, last=True)
        elif self._answer in self._begun:
            yield self._update(Artifact(self._answer, [Part(text="")]), append=True, last=True)

    def _data_artifact(
        self, artifact_id: str, name: str, items: list[Json]
    ) -> Iterator[ArtifactUpdate]:
        if items and self._takes_data:
            part = Part(data={artifact_id: items}, media_type=JSON)
            artifact = Artifact(self._unused(artifact_id), [part], name=name)
            yield self._update(artifact, last=True)

    def _unused(self, name: str) -> str:
        """What was said before a question stays as it is: what follows has artifacts of its own."""
        if name not in self._taken:
            return name
        names = (f"{name}-{number}" for number in range(2, len(self._taken) + 3))
        return next(one for one in names if one not in self._taken)

    def _interrupt(self, state: TaskState, text: str, data: Json) -> Iterator[Event]:
        yield from self._start()
        yield from self._whole_answer(None)
        yield self.ended(state, text, data=data)

    def _direct(self, parts: tuple[stacks.Part, ...]) -> Iterator[Event]:
        self.settled = True
        if self._working:
            # Too late for a message without a task: it becomes the last word of this one.
            message = self._message(write_parts(parts))
            yield self._status(TaskState.COMPLETED, message, None)
        else:
            yield Message(
                message_id=str(uuid.uuid4()),
                role=Role.AGENT,
                parts=write_parts(parts),
                context_id=self._request.context_id,
            )

    def _add(self, usage: stacks.Usage) -> None:
        spent = self._usage or stacks.Usage(0, 0)
        self._usage = stacks.Usage(
            spent.input_tokens + usage.input_tokens, spent.output_tokens + usage.output_tokens
        )

    def _accepts(self, part: Part) -> bool:
        media_type = part.media_type or ("text/plain" if part.text is not None else JSON)
        return accepted(media_type, self._request.accepted_output_modes)

    def _message(self, parts: list[Part]) -> Message:
        return Message(
            message_id=str(uuid.uuid4()),
            role=Role.AGENT,
            parts=parts,
            context_id=self._request.context_id,
            task_id=self._request.task_id,
        )

    def _status(
        self, state: TaskState, message: Message | None, metadata: Metadata
    ) -> StatusUpdate:
        return StatusUpdate(
            self._request.task_id,
            self._request.context_id,
            TaskStatus(state, message, timestamp()),
            metadata,
        )

    def _update(
        self, artifact: Artifact, *, append: bool = False, last: bool = False
    ) -> ArtifactUpdate:
        return ArtifactUpdate(
            self._request.task_id, self._request.context_id, artifact, append, last
        )


def _plain(citation: stacks.Citation) -> Json:
    return {k: v for k, v in msgspec.structs.asdict(citation).items() if v is not None}
