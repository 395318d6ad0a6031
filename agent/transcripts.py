"""Transcripts of all turns, as files of JSON: written in the background, after a turn has ended."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from a2a_state.histories import ContextKey, ConversationSearch
from agent.backlog import Backlog
from agent.conversation_ids import is_conversation_id
from agent.errors import StateError
from agent.json_file import store_json
from agent.model import INTERRUPTED, TaskState
from agent.public_ids import name_of, named
from agent.transcript import transcript

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from a2a_state.database import Database
    from agent.caller import Caller
    from agent.model import Part, Task
    from agent.settings import Settings

_UNANSWERED = frozenset({TaskState.FAILED, TaskState.CANCELED})

WAITING = 1000
"""Of how many tasks that wait for their users it is known what they have made so far."""

_HASHED = "sha256-"
# Nothing that leads elsewhere, is hidden, or that a file system could refuse.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@=+-]{0,127}", re.ASCII)


class _Ended(msgspec.Struct, frozen=True):
    """A turn that is over."""

    caller: Caller
    task: Task
    earlier: frozenset[str]


class Transcripts:
    """Writes them to ``{folder}/{user}/{conversation}/{unique}.json``. It is a ``TurnListener``."""

    def __init__(self, folder: Path, search: ConversationSearch) -> None:
        """Nothing is made before there is something to write."""
        self._folder = folder
        self._search = search
        self._backlog: Backlog[_Ended] = Backlog("transcripts", self._write)
        # By task, of those that wait: the artifacts of the turns so far.
        self._made: OrderedDict[str, frozenset[str]] = OrderedDict()

    async def open(self) -> None:
        """Start writing."""
        await self._backlog.open()

    async def close(self) -> None:
        """Write what waits, as far as there is time."""
        await self._backlog.close()

    def turn_ended(self, caller: Caller, task: Task) -> None:
        """Have the turn written down, unless it failed: LCS keeps what was answered."""
        earlier = self._made.pop(task.id, frozenset())
        if task.status.state in INTERRUPTED:
            self._made[task.id] = frozenset(each.artifact_id for each in task.artifacts)
            if len(self._made) > WAITING:
                self._made.popitem(last=False)
        if task.status.state not in _UNANSWERED:
            self._backlog.add(_Ended(caller, task, earlier), _size(task))

    def wait_ended(self, caller: Caller, task: Task) -> None:  # noqa: ARG002 - a listener is told
        """Forget what is known of a task that will not go on: its turns are written down."""
        self._made.pop(task.id, None)

    async def _write(self, turns: Sequence[_Ended]) -> None:
        for turn in turns:
            conversation_id = await self._conversation_id(turn.caller, turn.task.context_id)
            await asyncio.to_thread(self._store, turn, conversation_id)

    async def _conversation_id(self, caller: Caller, context_id: str) -> str:
        """Return how REST calls a context, as far as that is known: it may be deleted by now."""
        if is_conversation_id(context_id):
            return context_id
        try:
            key = ContextKey(caller.owner, caller.tenant, context_id)
            context = await named(self._search, key)
        except StateError:
            context = None
        return (context and name_of(context)) or context_id

    def _store(self, turn: _Ended, conversation_id: str) -> None:
        user_id = turn.caller.user_id
        written = transcript(turn.task, turn.earlier, user_id, conversation_id)
        store_json(self._folder / _component(user_id) / _component(conversation_id), written)


def make_transcripts(settings: Settings, database: Database) -> Transcripts | None:
    """Return what writes them; None where none are wanted."""
    collection = settings.user_data_collection
    if not collection.transcripts_enabled or collection.transcripts_storage is None:
        return None
    return Transcripts(collection.transcripts_storage, ConversationSearch(database))


def _component(text: str) -> str:
    """Return the name of a folder: others chose the text, and two texts never have the same."""
    if _PLAIN.fullmatch(text) and not text.startswith(_HASHED):
        return text
    return _HASHED + sha256(text.encode(errors="surrogatepass")).hexdigest()


def _size(task: Task) -> int:
    """Return about how much a task holds, in characters."""
    said = [part for message in task.history for part in message.parts]
    made = [part for artifact in task.artifacts for part in artifact.parts]
    return sum(_length(part) for part in (*said, *made))


def _length(part: Part) -> int:
    if part.data is UNSET:
        return len(part.text or part.raw or part.url or "")
    return len(msgspec.json.encode(part.data))
