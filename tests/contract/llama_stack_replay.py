"""Recorded requests, made again of this server, and how the answers differ.

Ids that a recorded answer has stand for those that this server gave at the same place.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.contract.shapes import Rules, Shape, different, events_of, shape_of
from tests.fakes.engine import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import httpx

    from tests.contract.llama_stack_recordings import Recorded

_IDS = frozenset(
    {"agent_id", "session_id", "turn_id", "step_id", "call_id", "job_id", "identifier"}
)
_SAME = frozenset(
    {
        *("event_type", "step_type", "role", "stop_reason", "type", "violation_level"),
        *("parse_status", "status", "purpose", "provider_type", "touchpoint"),
    }
)

_SHORT = 7
_RULES = Rules(_SAME, frozenset({"metadata", "input_schema", "scores"}))


class Replay:
    """Makes requests one after the other. ``names`` are texts of the recording, and what they are here.

    ``chunks`` are those of all streams, but for errors.
    """

    def __init__(self, http: httpx.AsyncClient, names: Mapping[str, str]) -> None:
        self._http = http
        self._own = dict(names)
        self.chunks: list[Any] = []

    async def differences(self, recorded: Iterable[Recorded]) -> dict[str, str]:
        """Return what is answered otherwise, by request and place."""
        found: dict[str, str] = {}
        for each in recorded:
            headers = {} if each.body is None else {"content-type": "application/json"}
            body = None if each.body is None else self._ours(each.body)
            path = self._ours(each.path)
            answer = await self._http.request(each.method, path, content=body, headers=headers)
            self._learn(each.text, answer.text)
            self.chunks += (event for event in events_of(answer.text) if "event" in event)
            if each.method == "POST" and answer.is_success and (job := _job(path, answer)):
                await self._ended(job)
            for place, said in compared(each, answer).items():
                found[f"{each.name}: {place}"] = said
        return found

    def _ours(self, text: str) -> str:
        for theirs, ours in self._own.items():
            if len(theirs) > _SHORT:
                text = text.replace(theirs, ours)
            else:
                # The number of a job: only where it is one.
                text = re.sub(rf"(?<=/jobs/){theirs}(?=/|$)", ours, text)
        return text

    async def _ended(self, path: str) -> None:
        """Wait for a job, so that it always answers the same; the recorded server was as fast."""

        async def has_ended() -> bool:
            status = (await self._http.get(path)).json()["status"]
            return status not in ("scheduled", "in_progress")

        await until(has_ended)

    def _learn(self, theirs: str, ours: str) -> None:
        """Remember which ids of theirs are which of ours."""
        pairs = zip(_values(theirs), _values(ours), strict=False)
        for their_value, our_value in pairs:
            known = dict(_ids(our_value))
            for place, their_id in _ids(their_value):
                if place in known and known[place] != their_id:
                    self._own.setdefault(their_id, known[place])


def _job(path: str, answer: httpx.Response) -> str | None:
    """Return where the status is of a job that a request has begun."""
    if path.endswith("/jobs"):
        return f"{path}/{answer.json()['job_id']}"
    training, _, operation = path.rpartition("/")
    if operation in ("supervised-fine-tune", "preference-optimize"):
        return f"{training}/job/status?job_uuid={answer.json()['job_uuid']}"
    return None


def _values(text: str) -> list[Any]:
    """Return the JSON of an answer; of a stream the last event, which has it all."""
    if text.startswith("data: "):
        return events_of(text)[-1:]
    try:
        return [json.loads(text)]
    except ValueError:
        return []


def _ids(value: Any, place: str = "$") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, member in value.items():
            if key in _IDS and isinstance(member, str):
                yield f"{place}.{key}", member
            else:
                yield from _ids(member, f"{place}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _ids(item, f"{place}[{index}]")


def compared(recorded: Recorded, answer: httpx.Response) -> dict[str, str]:
    """Return how an answer differs from the recorded one."""
    if answer.status_code != recorded.status:
        return {"status": f"{answer.status_code} instead of {recorded.status}"}
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind != recorded.content_type:
        return {"content type": f"{kind} instead of {recorded.content_type}"}
    if kind == "text/event-stream":
        return _streams(events_of(answer.text), events_of(recorded.text))
    if not recorded.text:
        return {"body": "some instead of none"} if answer.text else {}
    found = different(_shape(answer.json()), _shape(json.loads(recorded.text)))
    return {f"error {place}": said for place, said in found.items()} if answer.is_error else found


def _streams(ours: list[Any], theirs: list[Any]) -> dict[str, str]:
    mine, others = _order(ours), _order(theirs)
    if mine != others:
        return {"order": f"{mine} instead of {others}"}
    shapes: tuple[Shape, Shape] = ({}, {})
    for shape, events in zip(shapes, (ours, theirs), strict=True):
        for event in events:
            name = _name(event)
            for place, kinds in _shape(event).items():
                shape.setdefault(f"{name} {place}", set()).update(kinds)
    return different(*shapes)


def _name(event: Any) -> str:
    payload = event["event"]["payload"] if "event" in event else {"event_type": "error"}
    return ".".join(filter(None, (payload.get("step_type"), payload["event_type"])))


def _order(events: list[Any]) -> str:
    """Return the names in their order; of several deltas in a row the first is told."""
    names = [_name(event) for event in events]
    return " ".join(
        name
        for at, name in enumerate(names)
        if at == 0 or names[at - 1] != name or not name.endswith("step_progress")
    )


def _shape(value: Any) -> Shape:
    return shape_of(value, _RULES)
