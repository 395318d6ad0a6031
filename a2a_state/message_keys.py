"""Which message became which task: what keeps a message that is sent again from running again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, bindparam, delete, select, update

from a2a_state.tables import message_keys

if TYPE_CHECKING:
    from a2a_state.database import Database


class MessageKey(msgspec.Struct, frozen=True):
    """``digest`` is of the message's parameters; ``created_at`` is in ms since the epoch.

    ``claim`` tells who added the key from others who try. ``answer`` is the message that was answered
    when there is no task, as A2A 1.0 JSON.
    """

    owner: str
    tenant: str
    key: str
    claim: str
    task_id: str
    digest: bytes
    created_at: int
    answer: bytes | None = None


_THIS = (
    (message_keys.c.owner == bindparam("of_owner"))
    & (message_keys.c.tenant == bindparam("of_tenant"))
    & (message_keys.c.key == bindparam("of_key"))
)
_GET = select(message_keys).where(_THIS)
_MINE = _THIS & (message_keys.c.claim == bindparam("of_claim"))
_FORGET = delete(message_keys).where(_MINE)
_ANSWER = update(message_keys).where(_MINE).values(answer=bindparam("said"))
_REPLACE = (
    update(message_keys)
    .where(_MINE)
    .values(claim=bindparam("new_claim"), task_id=bindparam("new_task"), created_at=bindparam("at"))
)


class MessageKeys:
    """The keys of all owners. They are added through the journal."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def get(self, owner: str, tenant: str, key: str) -> MessageKey | None:
        """Return what stands under a key."""
        this = {"of_owner": owner, "of_tenant": tenant, "of_key": key}

        def work(connection: Connection) -> MessageKey | None:
            row = connection.execute(_GET, this).first()
            return None if row is None else MessageKey(*row)

        return await self._database.read(work)

    async def forget(self, key: MessageKey) -> None:
        """Let the message be sent again: it became nothing."""
        await self._database.write(lambda c: c.execute(_FORGET, _named(key)))

    async def answer(self, key: MessageKey, body: bytes) -> None:
        """Keep the message that was answered."""
        await self._database.write(lambda c: c.execute(_ANSWER, {**_named(key), "said": body}))

    async def replace(self, old: MessageKey, new: MessageKey) -> bool:
        """Put ``new`` in the place of a key whose task never came to be; False when another did."""
        values = {
            **_named(old),
            "new_claim": new.claim,
            "new_task": new.task_id,
            "at": new.created_at,
        }
        return bool(await self._database.write(lambda c: c.execute(_REPLACE, values).rowcount))


def _named(key: MessageKey) -> dict[str, str]:
    return {
        "of_owner": key.owner,
        "of_tenant": key.tenant,
        "of_key": key.key,
        "of_claim": key.claim,
    }
