"""A Llama Stack from 0.4 on whose model does what it is told: it calls a tool, or repeats what it hears."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, override

from tests.fakes.responses import (
    Event,
    FakeResponses,
    Script,
    added,
    answer,
    call,
    created,
    done,
    final,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_CALL = re.compile(r"CALL (\S+) (\{.*\})")


class EchoResponses(FakeResponses):
    """``CALL tool {...}`` is a call, of the result of a tool it says so, and everything else is echoed."""

    def __init__(self) -> None:
        super().__init__()
        self.shields, self.stores = [], []

    @override
    async def _create_response(self, request: Request) -> Response:
        self.scripts.append(Script(_events(request.state.body["input"])))
        return await super()._create_response(request)


def _events(given: Any) -> list[Event]:
    last = given[-1] if isinstance(given, list) else {"content": given}
    if "output" in last:
        return _spoken(f"Tool said: {last['output']}")
    content = last["content"]
    said = content if isinstance(content, str) else "".join(part["text"] for part in content)
    if wanted := _CALL.search(said):
        item = call(wanted[1], wanted[2])
        return [created(), added(item), done(item), final("completed", item)]
    return _spoken(f"Echo: {said}")


def _spoken(text: str) -> list[Event]:
    return answer(*re.findall(r"\S+\s*", text))
