"""Recorded requests, made again of this server, and how the answers differ."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.contract.shapes import different, events_of, lines_of, order_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from tests.contract.recordings import Recorded

CONVERSATION = re.compile(r"\b[0-9a-f]{48}\b")
QUERY = {"query": "rest sample", "no_tools": True}


class Replay:
    """Makes requests one after the other; ids that the recording has stand for ids of this server."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._ids: dict[str, str] = {}

    async def differences(self, recorded: Iterable[Recorded]) -> dict[str, str]:
        """Return what is answered otherwise, by request and place."""
        found: dict[str, str] = {}
        for each in recorded:
            answer = await self._ask(each)
            for place, said in compared(each, answer).items():
                found[f"{each.name}: {place}"] = said
        return found

    async def _ask(self, each: Recorded) -> httpx.Response:
        for known in CONVERSATION.findall(f"{each.path} {each.body}"):
            if known not in self._ids:
                self._ids[known] = await self._conversation()
        body = None if each.body is None else self._own(each.body)
        headers = {} if body is None else {"content-type": "application/json"}
        return await self._http.request(
            each.method, self._own(each.path), content=body, headers=headers
        )

    def _own(self, text: str) -> str:
        return CONVERSATION.sub(lambda found: self._ids[found[0]], text)

    async def _conversation(self) -> str:
        answer = await self._http.post("/v1/query", json=QUERY)
        conversation_id: str = answer.json()["conversation_id"]
        return conversation_id


def compared(recorded: Recorded, answer: httpx.Response) -> dict[str, str]:
    """Return how an answer differs from the recorded one."""
    if answer.status_code != recorded.status:
        return {"status": f"{answer.status_code} instead of {recorded.status}"}
    found: dict[str, str] = {}
    content_type = answer.headers["content-type"]
    if content_type != recorded.content_type:
        found["content type"] = f"{content_type} instead of {recorded.content_type}"
    kind = recorded.content_type.partition(";")[0]
    if kind == "application/json":
        return found | different(shape_of(answer.json()), shape_of(whole(recorded.text)))
    if kind == "text/event-stream":
        return found | _events(answer.text, recorded.text)
    mine, theirs = (_words(recorded, text) for text in (answer.text, recorded.text))
    return found if mine == theirs else found | {"text": f"{mine} instead of {theirs}"}


def whole(text: str) -> Any:
    """Read JSON; what was cut off in a list ends with the last item that is whole."""
    try:
        return json.loads(text)
    except ValueError:
        end = text.rindex("},{") + 1
        return json.loads(f"{text[:end]}]}}")


def _events(ours: str, theirs: str) -> dict[str, str]:
    found: dict[str, str] = {}
    mine, others = events_of(ours), events_of(theirs)
    if order_of(mine) != order_of(others):
        found["events"] = f"{order_of(mine)} instead of {order_of(others)}"
    for name in {each["event"] for each in mine} & {each["event"] for each in others}:
        shapes = [
            shape_of([each for each in events if each["event"] == name])
            for events in (mine, others)
        ]
        found |= {f"{name} {place}": said for place, said in different(*shapes).items()}
    return found


def _words(recorded: Recorded, text: str) -> list[str]:
    if recorded.path == "/metrics":
        # What Python's library has of its own says nothing about LCS.
        return sorted(set(re.findall(r"^# TYPE (ls_\S+ \S+)$", text, re.MULTILINE)))
    if recorded.content_type.startswith("text/html"):
        return sorted(link.removeprefix("/") for link in re.findall(r'href="([^"]+)"', text))
    return lines_of(text)
