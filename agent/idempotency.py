"""The same message is the same task: what a caller sends again does not run again (design rule 5.6)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from typing import TYPE_CHECKING

import msgspec

from a2a_state.journal import Entry
from a2a_state.message_keys import MessageKey
from agent.clock import now
from agent.errors import AgentError, InvalidParams, KeyReused, TaskTaken
from agent.model import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2a_state.journal import Journal
    from a2a_state.message_keys import MessageKeys
    from agent.caller import Caller
    from agent.model import SendRequest

# Only ids that are unique by construction: callers and test kits reuse others, such as `msg-1`.
_UNIQUE = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # a UUID
    r"|[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"  # a ULID
)
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode_message = msgspec.json.Decoder(Message).decode


class Idempotency:
    """Knows which messages were sent before."""

    def __init__(self, journal: Journal, keys: MessageKeys) -> None:
        """Keys are added through the journal, with whatever else is written at that moment."""
        self._journal = journal
        self._keys = keys
        self._forgetting: set[asyncio.Task[None]] = set()

    def key(self, caller: Caller, request: SendRequest, task_id: str) -> MessageKey | None:
        """Return the key under which the message may be known; None when it cannot be told from others."""
        if request.idempotency_key is not None:
            name = f"key:{request.idempotency_key}"
        elif _UNIQUE.fullmatch(request.message.message_id):
            name = f"message:{request.message.message_id.lower()}"
        else:
            return None
        digest = _digest(request)
        claim = secrets.token_hex(8)
        return MessageKey(caller.owner, caller.tenant, name, claim, task_id, digest, now())

    async def claim(self, key: MessageKey) -> MessageKey | None:
        """Return None when the message is new, and what stands under its key when it is not.

        Raises ``InvalidParams`` or ``KeyReused`` when another message stands there.
        """
        while True:
            claim = _Claim(key, self._forget_soon)
            self._journal.notify(claim)
            try:
                if await claim.done:
                    return None
            except asyncio.CancelledError:
                if claim.is_ours:
                    # It was just told so, and will not hear it any more.
                    self._forget_soon(key)
                raise
            if (known := await self.known(key)) is not None:
                return known

    async def known(self, key: MessageKey) -> MessageKey | None:
        """Return what stands under a message's key; raises as ``claim``."""
        known = await self._keys.get(key.owner, key.tenant, key.key)
        if known is not None:
            _check(key, known)
        return known

    async def forget(self, key: MessageKey) -> None:
        """Let the message be sent again: it became nothing."""
        await self._keys.forget(key)

    def _forget_soon(self, key: MessageKey) -> None:
        forgetting = asyncio.create_task(self.forget(key))
        self._forgetting.add(forgetting)
        forgetting.add_done_callback(self._forgetting.discard)

    async def replace(self, old: MessageKey, new: MessageKey) -> bool:
        """Take over the key of a message whose process died before there was a task."""
        # As of now: others wait for as long as the message may have, and do the same then.
        return await self._keys.replace(old, msgspec.structs.replace(new, created_at=now()))


def answer_of(known: MessageKey) -> Message | None:
    """Return the message that was answered, if the stack answered with one."""
    return None if known.answer is None else _decode_message(known.answer)


def _digest(request: SendRequest) -> bytes:
    """Return what tells two requests apart: all that was asked for, not by which header it came."""
    if request.idempotency_key or request.last_event_id is not None or request.extensions:
        request = msgspec.structs.replace(
            request, idempotency_key=None, last_event_id=None, extensions=()
        )
    return hashlib.blake2b(_encode(request), digest_size=16).digest()


def _check(key: MessageKey, known: MessageKey) -> None:
    if known.digest == key.digest:
        return
    if key.key.startswith("key:"):
        raise KeyReused
    raise InvalidParams("message.messageId", "was used for another message")


class _Claim:
    """Has one key written; see ``Source``. Nothing is left of a key that nobody waits for any more."""

    def __init__(self, key: MessageKey, left: Callable[[MessageKey], None]) -> None:
        self._key = key
        self._left = left
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the key is this message's."""

    @property
    def is_ours(self) -> bool:
        """Whether the key was added and is this message's."""
        return self.done.done() and not self.done.cancelled() and self.done.result()

    def collect(self) -> Entry:
        return Entry() if self.done.done() else Entry(key=self._key)

    def written(self, entry: Entry, error: AgentError | None) -> None:
        if self.done.cancelled():
            if error is None and entry.key is not None:
                self._left(entry.key)
        elif error is None or isinstance(error, TaskTaken):
            self.done.set_result(error is None)
        else:
            self.done.set_exception(error)
