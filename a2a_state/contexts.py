"""Context -> conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from a2a_state.tables import contexts

if TYPE_CHECKING:
    from a2a_state.database import Database


class Context(msgspec.Struct, frozen=True):
    """What an A2A context maps to on the stack.

    ``stack`` names the stack that ``conversation_id`` belongs to; times are in ms since the epoch.
    ``used_at`` is for retention: the end of the latest of its tasks that are deleted.
    """

    owner: str
    tenant: str
    context_id: str
    stack: str
    conversation_id: str
    created_at: int
    used_at: int | None = None


# Built once: building a statement costs more than running it.
_GET = select(contexts).where(
    contexts.c.owner == bindparam("owner"),
    contexts.c.tenant == bindparam("tenant"),
    contexts.c.context_id == bindparam("context_id"),
)


class Contexts:
    """The contexts of all owners; a context id is chosen by the client, so its key is all three."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def get(self, owner: str, tenant: str, context_id: str) -> Context | None:
        """Return the owner's context, or None."""
        return await self._database.read(lambda c: self._get(c, owner, tenant, context_id))

    async def add(self, context: Context) -> Context:
        """Remember a context; returns the one that stands, which is another's if another was first.

        A context of another stack is replaced: its conversation cannot be continued here.
        """

        def work(connection: Connection) -> Context:
            connection.execute(
                self._database.insert(contexts).on_conflict_do_nothing(),
                msgspec.structs.asdict(context),
            )
            connection.execute(
                update(contexts)
                .where(
                    contexts.c.owner == context.owner,
                    contexts.c.tenant == context.tenant,
                    contexts.c.context_id == context.context_id,
                    contexts.c.stack != context.stack,
                )
                .values(stack=context.stack, conversation_id=context.conversation_id)
            )
            standing = self._get(connection, context.owner, context.tenant, context.context_id)
            return standing or context

        return await self._database.write(work)

    def _get(
        self, connection: Connection, owner: str, tenant: str, context_id: str
    ) -> Context | None:
        key = {"owner": owner, "tenant": tenant, "context_id": context_id}
        row = connection.execute(_GET, key).first()
        return None if row is None else Context(*row)
