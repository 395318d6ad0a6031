"""Turns that a Llama Stack runs for its own agents, within this server's limits and quotas."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.agents.forwarded_urls import inlined
from agent.agents.late_turn import LateTurn
from agent.agents.urls import Urls, named_in
from agent.errors import InvalidParams, ResourceNotFound, StackTimeout, TurnFailed
from agent.metering import CHARACTERS, FILE_TOKENS
from agent.stacks import Inference, Json
from agent.stacks.agents_api_agent import mcp_headers, provider_data
from agent.stacks.agents_api_events import TurnReader
from agent.stacks.agents_api_wire import read
from agent.stacks.forward import About
from agent.stacks.mcp_access import CredentialsNeeded, forgetting, usable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.agents.base import NewTurn
    from agent.agents.fetch import Fetch
    from agent.agents.serial import Serial
    from agent.caller import Caller
    from agent.inferences import Hear, Inferences
    from agent.settings import Settings
    from agent.stacks.forward import Forward

_ITERATIONS = 10  # what is said of them is not shown: the server's own events are passed on


class Place(NamedTuple):
    """A session of an agent, both by the server's ids."""

    agent_id: str
    session_id: str

    @property
    def path(self) -> str:
        """Where the session is."""
        return f"/v1alpha/agents/{self.agent_id}/session/{self.session_id}"

    @property
    def about(self) -> About:
        """What is not there when the session is not."""
        return About("session", self.session_id)


class ForwardedTurns:
    """Runs turns, one after the other in each session: the server would run them side by side."""

    def __init__(
        self,
        forward: Forward,
        settings: Settings,
        inferences: Inferences,
        serial: Serial,
        fetch: Fetch,
    ) -> None:
        """Keep them."""
        self._forward = forward
        self._urls = Urls(fetch, settings.limits)
        self._settings = settings
        self._inferences = inferences
        self._serial = serial

    def create(self, caller: Caller, place: Place, turn: NewTurn) -> LateTurn:
        """Return a turn that is to begin."""
        body: dict[str, Json] = {"messages": list(turn.messages), "stream": True}
        if turn.documents:
            body["documents"] = list(turn.documents)
        if turn.toolgroups is not None:
            body["toolgroups"] = list(turn.toolgroups)
        if turn.tool_config is not None:
            body["tool_config"] = turn.tool_config
        return LateTurn(self._run(caller, place, None, body))

    def resume(
        self, caller: Caller, place: Place, turn_id: str, tool_responses: Sequence[Json]
    ) -> LateTurn:
        """Return what is to go on with a turn."""
        body = {"tool_responses": list(tool_responses), "stream": True}
        return LateTurn(self._run(caller, place, turn_id, body))

    async def _run(
        self, caller: Caller, place: Place, turn_id: str | None, body: dict[str, Json]
    ) -> AsyncGenerator[Json]:
        with self._inferences.hold(caller.user_id, len(msgspec.json.encode(body))) as hold:
            contents = await self._urls.read(caller.user_id, dict(named_in(body)), hold.grow)
            body = inlined(body, contents)
            async with self._serial.turn(caller.owner, caller.tenant, place.session_id):
                hold.end()  # it is counted as what is asked from here on
                async with aclosing(self._sent(caller, place, turn_id, body)) as chunks:
                    async for chunk in chunks:
                        yield chunk

    async def _sent(
        self, caller: Caller, place: Place, turn_id: str | None, body: dict[str, Json]
    ) -> AsyncGenerator[Json]:
        held, path = 0, f"{place.path}/turn"
        if turn_id is not None or self._inferences.charges:
            session = await self._forward.call("GET", place.path, place.about)
            held = _held(session)
            if turn_id is not None:
                _check(session, turn_id, body["tool_responses"])
                path += f"/{turn_id}/resume"
        asked = Inference(text=_text(body), instructions="", owner=caller.user_id)
        size = len(msgspec.json.encode(body))
        async with self._inferences.admitted(asked, held=held, size=size) as hear:
            shown = await self._shown(caller)
            with forgetting(value for headers in shown.values() for value in headers.values()):
                sent = self._forward.stream(path, place.about, body, provider_data(shown))
                async with aclosing(self._read(sent, hear)) as chunks:
                    async for chunk in chunks:
                        yield chunk

    async def _shown(self, caller: Caller) -> dict[str, dict[str, str]]:
        """Return what MCP servers of the settings are shown, as far as the caller gave what they want."""
        shown: dict[str, dict[str, str]] = {}
        for server in self._settings.mcp_servers:
            try:
                servers = await usable([server], caller.credentials)
            except CredentialsNeeded:
                continue  # the turn may do without; else the server says that its tool fails
            shown |= await mcp_headers(servers, caller.credentials)
        return shown

    async def _read(self, sent: AsyncGenerator[Json], hear: Hear) -> AsyncGenerator[Json]:
        """Pass chunks on until the turn has ended, and have them counted."""
        reader = TurnReader((), _ITERATIONS)
        ends_at = asyncio.get_running_loop().time() + self._settings.limits.turn_seconds
        async with aclosing(sent):
            while not reader.ended:
                try:
                    async with asyncio.timeout_at(ends_at):
                        chunk = await anext(sent)
                except StopAsyncIteration as exc:
                    raise TurnFailed("The stack broke off the answer.") from exc
                except TimeoutError as exc:
                    raise StackTimeout from exc
                for event in reader.read(chunk):
                    hear(event)
                yield chunk


class _Call(msgspec.Struct):
    call_id: str = ""


class _Said(msgspec.Struct):
    content: Json = None
    tool_calls: list[_Call] | None = None


class _Step(msgspec.Struct):
    tool_responses: Json = None


class _Turn(msgspec.Struct):
    turn_id: str
    output_message: _Said
    input_messages: Json = None
    steps: list[_Step] = []


class _Session(msgspec.Struct):
    turns: list[_Turn] = []


def _check(session: Json, turn_id: str, tool_responses: Sequence[Json]) -> None:
    """Raise unless the session's last turn is this one, and waits for exactly these.

    The server checks nothing: it goes on with the last turn, whatever it is given.
    """
    turns = read(session, _Session).turns
    turn = next((each for each in turns if each.turn_id == turn_id), None)
    if turn is None:
        raise ResourceNotFound("turn", turn_id)
    if turn is not turns[-1]:
        raise InvalidParams("turn_id", "the session has gone on since this turn")
    wanted = sorted(call.call_id for call in turn.output_message.tool_calls or ())
    if not wanted:
        raise InvalidParams("turn_id", "the turn does not wait for anything")
    if sorted(each["call_id"] for each in tool_responses) != wanted:
        raise InvalidParams(
            "tool_responses", "must answer exactly the calls that the turn waits for"
        )


def _held(session: Json) -> int:
    """Estimate how many tokens a session holds."""
    turns = read(session, _Session).turns
    said = [[turn.input_messages, turn.output_message.content] for turn in turns]
    found = [step.tool_responses for turn in turns for step in turn.steps]
    return len(_text([said, found])) // CHARACTERS


def _text(value: Json) -> str:
    """Return the texts of messages, documents and results; a picture is as long as its tokens."""
    match value:
        case str():
            return value
        case list():
            return "".join(map(_text, value))
        case {"type": "image"}:
            return " " * (FILE_TOKENS * CHARACTERS)
        case {"text": str(text)}:
            return text
        case dict():
            named = ("messages", "documents", "tool_responses", "content", "context")
            return "".join(_text(value[name]) for name in named if name in value)
    return ""
