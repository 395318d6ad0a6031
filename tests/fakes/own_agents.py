"""The agents API on an engine of its own, with the state in memory, and somebody who asks it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio
import msgspec

from agent.agents.base import NewTurn
from agent.agents.own_agents import OwnAgents
from agent.caller import Caller
from agent.engine import make_engine
from agent.errors import InvalidParams
from agent.histories import Histories
from agent.outgoing.fetch import Fetched
from agent.settings import Settings
from tests.fakes.scripted_stack import STACK, Script, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from agent.agents.base import TurnStream
    from agent.engine import Engine

type Json = Any

MAY = frozenset({"model_override"})
ANN = Caller("ann", actions=MAY)


class Pages:
    """What is found under URLs; nothing else is."""

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        """Keep the pages."""
        self._pages = pages

    async def get(
        self,
        url: str,
        max_bytes: int,
        *,
        field: str = "url",
        count: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Return a page."""
        if url not in self._pages:
            raise InvalidParams(field, "cannot be fetched")
        page = self._pages[url][:max_bytes]
        if count is not None:
            count(len(page))
        return Fetched(page, "text/plain")


class Begun:
    """A turn of which the first chunk has been read."""

    def __init__(self, stream: TurnStream) -> None:
        """Read nothing yet."""
        self._stream = stream
        self._chunks = stream.chunks()

    async def chunks(self) -> AsyncIterator[Json]:
        """See ``TurnStream``."""
        yield self._first
        async for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        """See ``TurnStream``."""
        await self._stream.aclose()

    async def begin(self) -> Self:
        """Read the first chunk."""
        self._first = await anext(self._chunks)
        return self


class Asker:
    """Somebody who uses the API."""

    def __init__(self, engine: Engine, api: OwnAgents, caller: Caller = ANN) -> None:
        """Nothing is asked yet."""
        self.engine = engine
        self.api = api
        self.caller = caller

    def by(self, owner: str, tenant: str = "") -> Asker:
        """Return somebody else."""
        return Asker(self.engine, self.api, Caller(owner, tenant, MAY))

    async def agent(self, **config: Json) -> str:
        """Make an agent; returns its id."""
        given = {"model": "tiny", "instructions": "Be brief.", **config}
        made = await self.api.create(self.caller, given)
        return str(made["agent_id"])

    async def session(self, agent_id: str, name: str = "talk") -> str:
        """Begin a session; returns its id."""
        made = await self.api.create_session(self.caller, agent_id, name)
        return str(made["session_id"])

    async def begin(
        self, agent_id: str, session_id: str, *messages: Json, **turn: Json
    ) -> TurnStream:
        """Begin a turn; a text is the message of a user."""
        said = tuple(
            {"role": "user", "content": each} if isinstance(each, str) else each
            for each in messages
        )
        new = NewTurn(messages=said, **turn)
        stream = await self.api.create_turn(self.caller, agent_id, session_id, new)
        return await Begun(stream).begin()

    async def say(
        self, agent_id: str, session_id: str, *messages: Json, **turn: Json
    ) -> list[Json]:
        """Make a turn; returns the payloads of its chunks."""
        return await payloads(await self.begin(agent_id, session_id, *messages, **turn))

    async def resume(
        self, agent_id: str, session_id: str, turn_id: str, responses: Sequence[Json]
    ) -> list[Json]:
        """Go on with a turn; returns the payloads of its chunks."""
        stream = await self.api.resume_turn(self.caller, agent_id, session_id, turn_id, responses)
        return await payloads(stream)

    async def turns(self, agent_id: str, session_id: str) -> list[Json]:
        """Return the turns of a session, each of which is what it is by itself."""
        shown = await self.api.get_session(self.caller, agent_id, session_id, None)
        for turn in shown["turns"]:
            alone = await self.api.get_turn(self.caller, agent_id, session_id, turn["turn_id"])
            assert alone == turn
        return list(shown["turns"])


async def payloads(stream: TurnStream) -> list[Json]:
    """Return the payloads of a stream, which can be written as JSON, and close it."""
    try:
        chunks = [msgspec.json.encode(chunk) async for chunk in stream.chunks()]
    finally:
        await stream.aclose()
    return [msgspec.json.decode(chunk)["event"]["payload"] for chunk in chunks]


def kinds(told: Sequence[Json]) -> list[str]:
    """Return event types, with the types of steps."""
    return [
        payload["event_type"] + (f" {payload['step_type']}" if "step_type" in payload else "")
        for payload in told
    ]


@asynccontextmanager
async def asking(
    pages: Mapping[str, bytes] | None = None, **sections: Json
) -> AsyncIterator[Asker]:
    """Run an engine with these settings; all that is done with it has to end in time."""
    settings = Settings.model_validate({"a2a_state": {"memory": True}} | sections)
    engine = make_engine(settings, ("text/plain", "image/png"))
    histories = Histories(engine.database, engine.service, settings.limits)
    api = OwnAgents(settings, engine, histories, Pages(pages or {}))
    async with engine.running():
        with anyio.fail_after(15):
            yield Asker(engine, api)


@asynccontextmanager
async def asking_scripted(
    script: Script, pages: Mapping[str, bytes] | None = None, **sections: Json
) -> AsyncIterator[Asker]:
    """Run an engine whose stack does what a script says."""
    async with AsyncExitStack() as opened:
        name = opened.enter_context(scripted(script))
        yield await opened.enter_async_context(asking(pages, name=name, stack=STACK, **sections))
