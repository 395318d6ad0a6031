"""Push notification configurations, and how far each has been served: the event log is the outbox."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    delete,
    exists,
    select,
    update,
)

from a2a_state.tables import metadata, tasks

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from sqlalchemy import ColumnElement

    from a2a_state.database import Database

ACTIVE, DEAD, DONE = "active", "dead", "done"

push_configs = Table(
    "push_configs",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    # No foreign key: a configuration that comes with a message is there before the task is.
    Column("task_id", String, primary_key=True),
    Column("config_id", String, primary_key=True),
    Column("url", String, nullable=False),
    Column("host", String, nullable=False),
    Column("token", String),
    # JSON.
    Column("authentication", LargeBinary),
    # The A2A version of whoever created it.
    Column("version", String, nullable=False),
    # Events of the task up to this number have been sent, or are none that are sent.
    Column("delivered_seq", BigInteger, nullable=False),
    # active; dead: given up, waits for the operator; done: the task has ended and all of it was sent.
    Column("state", String, nullable=False),
    # Failures since the last success, and what the last of them was.
    Column("attempts", BigInteger, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("last_error", String),
    # A new name with every lease: who holds an old one writes nothing.
    Column("lease_holder", String, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
_ACTIVE = push_configs.c.state == ACTIVE
Index(
    "ix_push_configs_due",
    push_configs.c.next_attempt_at,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)


class Key(msgspec.Struct, frozen=True):
    """Names one configuration."""

    owner: str
    tenant: str
    task_id: str
    config_id: str


class PushConfigRow(msgspec.Struct, frozen=True):
    """One row: see the table for what the columns mean."""

    owner: str
    tenant: str
    task_id: str
    config_id: str
    url: str
    host: str
    token: str | None
    authentication: bytes | None
    version: str
    delivered_seq: int
    state: str
    attempts: int
    next_attempt_at: int
    last_error: str | None
    lease_holder: str
    lease_until: int
    created_at: int

    @property
    def key(self) -> Key:
        """What names it."""
        return Key(self.owner, self.tenant, self.task_id, self.config_id)


class PushConfigs:
    """The configurations of all owners; whoever asks for an owner's names owner and tenant."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def save(self, row: PushConfigRow, most: int) -> bool:
        """Add a configuration, or change the one of that id; False when the task has ``most`` already.

        Nothing that has happened before is sent to a new one. A changed one goes on where it was, and
        whoever is serving it loses it.
        """

        def work(connection: Connection) -> bool:
            task = connection.execute(
                select(tasks.c.seq, tasks.c.ended_at).where(
                    tasks.c.task_id == row.task_id,
                    tasks.c.owner == row.owner,
                    tasks.c.tenant == row.tenant,
                )
            ).first()
            seq, ended_at = (0, None) if task is None else (task.seq, task.ended_at)
            found = connection.execute(
                select(push_configs.c.config_id, push_configs.c.delivered_seq).where(
                    _of_task(row.owner, row.tenant, row.task_id)
                )
            )
            cursors: dict[str, int] = {each.config_id: each.delivered_seq for each in found}
            if row.config_id not in cursors and len(cursors) >= most:
                return False
            cursor = cursors.get(row.config_id, seq)
            values = msgspec.structs.asdict(row) | {
                "delivered_seq": cursor,
                "state": DONE if ended_at is not None and cursor >= seq else ACTIVE,
                "lease_holder": secrets.token_hex(8),
            }
            added = self._database.insert(push_configs).values(values)
            changed = {name: added.excluded[name] for name in _CHANGING}
            connection.execute(
                added.on_conflict_do_update(
                    index_elements=list(push_configs.primary_key), set_=changed
                )
            )
            return True

        return await self._database.write(work)

    async def get(self, owner: str, tenant: str, task_id: str) -> list[PushConfigRow]:
        """Return all configurations of the owner's task, by id."""
        query = (
            select(push_configs)
            .where(_of_task(owner, tenant, task_id))
            .order_by(push_configs.c.config_id)
        )
        return await self._read(query)

    async def delete(self, key: Key) -> None:
        """Remove a configuration, if it is there."""
        gone = delete(push_configs).where(_is(key))
        await self._database.write(lambda c: c.execute(gone))

    async def due(
        self, now: int, limit: int, busy_hosts: Collection[str] = ()
    ) -> list[PushConfigRow]:
        """Return configurations with news that nobody is serving, who has waited longest first."""
        query = (
            select(push_configs)
            .join(tasks, tasks.c.task_id == push_configs.c.task_id)
            .where(
                _ACTIVE,
                push_configs.c.next_attempt_at <= now,
                push_configs.c.lease_until < now,
                tasks.c.owner == push_configs.c.owner,
                tasks.c.tenant == push_configs.c.tenant,
                tasks.c.seq > push_configs.c.delivered_seq,
                push_configs.c.host.not_in(busy_hosts),
            )
            .order_by(push_configs.c.next_attempt_at)
            .limit(limit)
        )
        return await self._read(query)

    async def claim(self, row: PushConfigRow, lease_until: int) -> PushConfigRow | None:
        """Become the one who serves a configuration, unless another did since ``row`` was read."""
        claimed = msgspec.structs.replace(
            row, lease_holder=secrets.token_hex(8), lease_until=lease_until
        )
        values = {"lease_holder": claimed.lease_holder, "lease_until": lease_until}
        return claimed if await self.keep(row, **values) else None

    async def keep(self, row: PushConfigRow, **values: Any) -> bool:
        """Write what became of a configuration that is being served; False when it is another's, or gone."""
        kept = (
            update(push_configs)
            .where(_is(row.key), push_configs.c.lease_holder == row.lease_holder)
            .values(values)
        )
        return bool(await self._database.write(lambda c: c.execute(kept).rowcount))

    async def forget_orphans(self, before: int) -> int:
        """Remove configurations, older than ``before``, whose tasks are gone or never were."""
        orphans = delete(push_configs).where(
            push_configs.c.created_at < before,
            ~exists().where(tasks.c.task_id == push_configs.c.task_id),
        )
        return await self._database.write(lambda c: c.execute(orphans).rowcount)

    async def of_state(self, state: str | None) -> list[PushConfigRow]:
        """Return the configurations of everybody, for the operator, the oldest first."""
        query = select(push_configs).order_by(push_configs.c.created_at, push_configs.c.config_id)
        return await self._read(query if state is None else query.where(_in(state)))

    async def requeue(self, now: int, task_id: str | None, config_id: str | None) -> int:
        """Have dead configurations served again, one or all; returns how many."""
        values = {"state": ACTIVE, "attempts": 0, "next_attempt_at": now, "last_error": None}
        revived = update(push_configs).where(_in(DEAD)).values(values)
        if task_id is not None:
            revived = revived.where(
                push_configs.c.task_id == task_id, push_configs.c.config_id == config_id
            )
        count: int = (await self._database.write(lambda c: c.execute(revived))).rowcount
        return count

    async def _read(self, query: Any) -> list[PushConfigRow]:
        return await self._database.read(
            lambda c: [PushConfigRow(*row) for row in c.execute(query)]
        )


_CHANGING = (
    *("url", "host", "token", "authentication", "version", "state", "attempts"),
    *("next_attempt_at", "last_error", "lease_holder", "lease_until"),
)


def _of_task(owner: str, tenant: str, task_id: str) -> ColumnElement[bool]:
    return (
        (push_configs.c.owner == owner)
        & (push_configs.c.tenant == tenant)
        & (push_configs.c.task_id == task_id)
    )


def _is(key: Key) -> ColumnElement[bool]:
    return _of_task(key.owner, key.tenant, key.task_id) & (
        push_configs.c.config_id == key.config_id
    )


def _in(state: str) -> ColumnElement[bool]:
    return push_configs.c.state == state
