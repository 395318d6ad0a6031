"""Context -> conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, case, select, tuple_, update

from a2a_state.compiled import Compiled
from a2a_state.tables import contexts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from a2a_state.database import Database


class Context(msgspec.Struct, frozen=True):
    """What an A2A context maps to on the stack.

    ``stack`` names the stack that ``conversation_id`` belongs to; times are in ms since the epoch.
    ``used_at`` is for retention: the end of the latest of its tasks that are deleted. ``tokens`` is
    what the conversation holds, as far as anybody counts. ``public_id`` is how REST calls it if that
    is not ``context_id``. ``agent_id`` is whose session it is; None is the agent of the settings.
    """

    owner: str
    tenant: str
    context_id: str
    stack: str
    conversation_id: str
    created_at: int
    used_at: int | None = None
    tokens: int = 0
    public_id: str | None = None
    topic_summary: str | None = None
    agent_id: str | None = None
    session_name: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what tells it from all others."""
        return self.owner, self.tenant, self.context_id


class Grown(msgspec.Struct, frozen=True, order=True):
    """How many tokens a conversation held before a turn, and after it."""

    owner: str
    tenant: str
    context_id: str
    before: int
    after: int


# Built once: building a statement costs more than running it.
_GET = select(contexts).where(
    contexts.c.owner == bindparam("owner"),
    contexts.c.tenant == bindparam("tenant"),
    contexts.c.context_id == bindparam("context_id"),
)
_KEY = (contexts.c.owner, contexts.c.tenant, contexts.c.context_id)
_THERE = (
    select(*_KEY)
    .where(tuple_(*_KEY).in_(bindparam("keys", expanding=True)))
    .order_by(*_KEY)
    # The weakest lock that who deletes waits for: those who write hold it together.
    .with_for_update(read=True, key_share=True)
)
_TOKENS = contexts.c.tokens
_GROW = (
    update(contexts)
    .where(
        contexts.c.owner == bindparam("of_owner"),
        contexts.c.tenant == bindparam("of_tenant"),
        contexts.c.context_id == bindparam("of_context"),
    )
    .values(
        # A turn knows nothing of others that ran meanwhile: what they have added stays.
        tokens=case(
            (bindparam("before") == _TOKENS, bindparam("after", type_=BigInteger)),
            else_=_TOKENS + bindparam("more", type_=BigInteger),
        )
    )
)


class Contexts:
    """The contexts of all owners; a context id is chosen by the client, so its key is all three."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        self._found = Compiled(database, _GET)

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
            return self._move(connection, context) or context

        return await self._database.write(work)

    async def move(self, context: Context) -> Context | None:
        """Have a context of another stack go on with this conversation; returns the one that stands.

        None says that it was deleted.
        """
        return await self._database.write(lambda c: self._move(c, context))

    def _move(self, connection: Connection, context: Context) -> Context | None:
        connection.execute(
            update(contexts)
            .where(
                contexts.c.owner == context.owner,
                contexts.c.tenant == context.tenant,
                contexts.c.context_id == context.context_id,
                contexts.c.stack != context.stack,
            )
            .values(stack=context.stack, conversation_id=context.conversation_id, tokens=0)
        )
        return self._get(connection, context.owner, context.tenant, context.context_id)

    def _get(
        self, connection: Connection, owner: str, tenant: str, context_id: str
    ) -> Context | None:
        key = {"owner": owner, "tenant": tenant, "context_id": context_id}
        row = self._found.run(connection, key).first()
        return None if row is None else Context(*row)


def missing(connection: Connection, wanted: Collection[Context]) -> list[Context]:
    """Return those that are not there; nobody deletes the others before the caller's transaction ends."""
    if not wanted:
        return []
    keys = sorted({context.key for context in wanted})
    there = {tuple(row) for row in connection.execute(_THERE, {"keys": keys})}
    return [context for context in wanted if context.key not in there]


def grow(connection: Connection, turns: Iterable[Grown]) -> None:
    """Note how conversations have grown, within a transaction of the caller's."""
    rows = [
        {
            "of_owner": turn.owner,
            "of_tenant": turn.tenant,
            "of_context": turn.context_id,
            "before": turn.before,
            "after": turn.after,
            "more": max(turn.after - turn.before, 0),
        }
        # In order: two transactions never wait for each other.
        for turn in sorted(turns)
    ]
    if rows:
        connection.execute(_GROW, rows)
