"""Who has the word in a session: turns of the agents API follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, String, Table, bindparam, delete, select, update

from a2a_state.compiled import Compiled
from a2a_state.tables import metadata, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Connection

    from a2a_state.database import Database
    from a2a_state.histories import ContextKey

session_claims = Table(
    "session_claims",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("context_id", String, primary_key=True),
    # Which turn it is that runs.
    Column("claim", String, nullable=False),
    # Until when, in ms since the epoch, unless it is renewed: a process may die.
    Column("claimed_until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

MOST = 10
"""Most running tasks of a session that are named: they are waited for one after another."""

# Built once: building a statement costs more than running it.
_C = session_claims.c
_THIS = (
    (_C.owner == bindparam("b_owner"))
    & (_C.tenant == bindparam("b_tenant"))
    & (_C.context_id == bindparam("b_context"))
)
_MINE = _THIS & (_C.claim == bindparam("b_claim"))
_RENEW = update(session_claims).where(_MINE).values(claimed_until=bindparam("b_until"))
_RELEASE = delete(session_claims).where(_MINE)
_RUNNING = (
    select(tasks.c.task_id)
    .where(
        tasks.c.owner == bindparam("b_owner"),
        tasks.c.tenant == bindparam("b_tenant"),
        tasks.c.context_id == bindparam("b_context"),
        tasks.c.ended_at.is_(None),
        (tasks.c.state == "TASK_STATE_SUBMITTED") | (tasks.c.state == "TASK_STATE_WORKING"),
    )
    .limit(MOST)
)


class SessionClaims:
    """The claims of all sessions; one whose time has passed is anybody's."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        insert = database.insert(session_claims).values(
            owner=bindparam("b_owner"),
            tenant=bindparam("b_tenant"),
            context_id=bindparam("b_context"),
            claim=bindparam("b_claim"),
            claimed_until=bindparam("b_until"),
        )
        claim = insert.on_conflict_do_update(
            index_elements=[_C.owner, _C.tenant, _C.context_id],
            set_={"claim": insert.excluded.claim, "claimed_until": insert.excluded.claimed_until},
            where=_C.claimed_until < bindparam("b_now"),
        )
        self._claim = Compiled(database, claim)
        self._running = Compiled(database, _RUNNING)
        self._release = Compiled(database, _RELEASE)

    async def claim(
        self, session: ContextKey, claim: str, now: int, until: int
    ) -> Sequence[str] | None:
        """Claim a session in which nothing runs; returns None then.

        Else returns the ids of tasks that run in it, of which none is known if it is somebody's.
        """
        values = _names(session) | {"b_claim": claim, "b_now": now, "b_until": until}

        def work(connection: Connection) -> Sequence[str] | None:
            if not self._claim.run(connection, values).rowcount:
                return ()
            # Whoever had it before has stored the task by now that it was for.
            running = self._running.run(connection, values).scalars().all()
            if not running:
                return None
            self._release.run(connection, values)
            return running

        return await self._database.write(work)

    async def running(self, session: ContextKey) -> Sequence[str]:
        """Return the ids of tasks that run in a session."""
        names = _names(session)
        return await self._database.read(lambda c: self._running.run(c, names).scalars().all())

    async def renew(self, session: ContextKey, claim: str, until: int) -> bool:
        """Keep a claim; returns whether it was still there."""
        values = _names(session) | {"b_claim": claim, "b_until": until}
        return await self._database.write(lambda c: c.execute(_RENEW, values).rowcount == 1)

    async def release(self, session: ContextKey, claim: str) -> None:
        """Let others have the session."""
        values = _names(session) | {"b_claim": claim}
        await self._database.write(lambda c: self._release.run(c, values))


def _names(session: ContextKey) -> dict[str, Any]:
    return {
        "b_owner": session.owner,
        "b_tenant": session.tenant,
        "b_context": session.context_id,
    }
