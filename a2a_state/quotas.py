"""Balances of quotas, and totals of the tokens that were spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    String,
    Table,
    bindparam,
    case,
    select,
    tuple_,
    update,
)

from a2a_state.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.database import Database

# Far more than anybody grants, and far less than what a column holds.
MOST = 4 * 10**18

quotas = Table(
    "quotas",
    metadata,
    Column("limiter", String, primary_key=True),
    # A user's id; empty for all users together.
    Column("subject", String, primary_key=True),
    # May be below zero: what runs when the quota is used up is counted too.
    Column("available", BigInteger, nullable=False),
    # When the subject first spent: its periods are counted from here.
    Column("since", BigInteger, nullable=False),
    # The length that `renew_at` was computed with.
    Column("period", String, nullable=False),
    Column("renew_at", BigInteger, nullable=False),
    Index("ix_quotas_due", "limiter", "period", "renew_at"),
    # Small rows that are found by their key only.
    sqlite_with_rowid=False,
)

quota_history = Table(
    "quota_history",
    metadata,
    Column("user_id", String, primary_key=True),
    # Empty when it is not known.
    Column("provider", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class Balance(msgspec.Struct, frozen=True):
    """What a subject has left of a limiter's quota; times are in ms since the epoch."""

    limiter: str
    subject: str
    available: int
    since: int
    period: str
    renew_at: int


class TokenUsage(msgspec.Struct, frozen=True):
    """Tokens of one user and model; ``provider`` and ``model`` are empty when they are not known."""

    user_id: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int


class Renewed(msgspec.Struct, frozen=True):
    """A balance as it was read, and what it becomes: ``reset_to``, or more by ``increase``."""

    before: Balance
    period: str
    renew_at: int
    reset_to: int | None = None
    increase: int = 0


_C = quotas.c
_OF_KEYS = select(_C.limiter, _C.available).where(
    tuple_(_C.limiter, _C.subject).in_(bindparam("keys", expanding=True))
)
_DUE = (
    select(quotas)
    .where(
        _C.limiter == bindparam("limiter"),
        _C.period == bindparam("period"),
        _C.renew_at <= bindparam("at"),
    )
    .order_by(_C.renew_at)
    .limit(bindparam("most"))
)
# Two ranges of the index, where "other than" would be all of it.
_OF_OTHER_PERIODS = (
    select(quotas)
    .where(
        _C.limiter == bindparam("limiter"),
        (_C.period < bindparam("period")) | (_C.period > bindparam("period")),
    )
    .limit(bindparam("most"))
)
_HERE = (
    _C.limiter == bindparam("its_limiter"),
    _C.subject == bindparam("its_subject"),
    _C.period == bindparam("its_period"),
    _C.renew_at == bindparam("its_renew_at"),
)
_INCREASE = bindparam("increase", type_=BigInteger)
_RENEW = (
    update(quotas)
    .where(*_HERE)
    .values(
        period=bindparam("new_period"),
        renew_at=bindparam("new_renew_at"),
        available=case((_C.available > MOST - _INCREASE, MOST), else_=_C.available + _INCREASE),
    )
)
_RESET = (
    update(quotas)
    .where(*_HERE)
    .values(
        period=bindparam("new_period"),
        renew_at=bindparam("new_renew_at"),
        available=bindparam("reset_to"),
    )
)


class Balances:
    """The balances of all limiters and subjects.

    Transactions lock rows in the order of limiter and subject: so none waits for another in a circle.
    """

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        insert = database.insert(quotas)
        self._add = insert.on_conflict_do_nothing()
        self._spend = insert.on_conflict_do_update(
            index_elements=[_C.limiter, _C.subject],
            set_={"available": _C.available - bindparam("tokens", type_=BigInteger)},
        ).returning(_C.available)
        note = database.insert(quota_history)
        self._note = note.on_conflict_do_update(
            index_elements=["user_id", "provider", "model"],
            set_={
                name: quota_history.c[name] + note.excluded[name]
                for name in ("input_tokens", "output_tokens")
            },
        )

    async def available(self, new: Sequence[Balance]) -> dict[str, int]:
        """Return what is left, by limiter; balances that do not exist yet are as ``new`` says."""
        if not new:
            return {}
        keys = [(balance.limiter, balance.subject) for balance in new]
        found = await self._database.read(lambda c: _of_keys(c, keys))
        # Asking leaves nothing behind. But who begins with nothing never spends, and is renewed all the same.
        empty = [one for one in new if one.limiter not in found and one.available <= 0]
        if empty:
            await self._begin(empty)
        return {one.limiter: found.get(one.limiter, one.available) for one in new}

    async def spend(
        self, new: Sequence[Balance], tokens: int, usage: TokenUsage | None = None
    ) -> dict[str, int]:
        """Take tokens from all balances, and add ``usage`` to its totals; all of it or nothing.

        Returns what is left by limiter. ``new`` is what balances begin as that do not exist yet.
        """

        def work(connection: Connection) -> dict[str, int]:
            left: dict[str, int] = {}
            for balance in _in_order(new):
                begun = msgspec.structs.asdict(balance)
                begun |= {"available": balance.available - tokens, "tokens": tokens}
                left[balance.limiter] = connection.execute(self._spend, begun).scalar_one()
            if usage is not None:
                connection.execute(self._note, msgspec.structs.asdict(usage))
            return {balance.limiter: left[balance.limiter] for balance in new}

        return await self._database.write(work)

    async def due(self, limiter: str, period: str, at: int, most: int) -> list[Balance]:
        """Return balances whose period is over, the oldest first."""
        wanted = {"limiter": limiter, "period": period, "at": at, "most": most}
        rows = await self._database.read(lambda c: c.execute(_DUE, wanted).all())
        return [Balance(*row) for row in rows]

    async def of_other_periods(self, limiter: str, period: str, most: int) -> list[Balance]:
        """Return balances that were made when the limiter had another period."""
        wanted = {"limiter": limiter, "period": period, "most": most}
        rows = await self._database.read(lambda c: c.execute(_OF_OTHER_PERIODS, wanted).all())
        return [Balance(*row) for row in rows]

    async def renew(self, renewals: Sequence[Renewed]) -> int:
        """Renew balances of one limiter that nobody else has renewed; returns how many that were."""
        in_order = sorted(renewals, key=lambda renewed: renewed.before.subject)

        def work(connection: Connection) -> int:
            return sum(_renew(connection, renewed) for renewed in in_order)

        return await self._database.write(work)

    async def _begin(self, new: Sequence[Balance]) -> None:
        rows = [msgspec.structs.asdict(balance) for balance in _in_order(new)]
        await self._database.write(lambda c: c.execute(self._add, rows))


def _in_order(balances: Sequence[Balance]) -> list[Balance]:
    return sorted(balances, key=lambda balance: (balance.limiter, balance.subject))


def _of_keys(connection: Connection, keys: list[tuple[str, str]]) -> dict[str, int]:
    rows = connection.execute(_OF_KEYS, {"keys": keys})
    found = {row.limiter: row.available for row in rows}
    return {limiter: found[limiter] for limiter, _ in keys if limiter in found}


def _renew(connection: Connection, renewed: Renewed) -> int:
    before = renewed.before
    values: dict[str, str | int] = {
        "its_limiter": before.limiter,
        "its_subject": before.subject,
        "its_period": before.period,
        "its_renew_at": before.renew_at,
        "new_period": renewed.period,
        "new_renew_at": renewed.renew_at,
    }
    if renewed.reset_to is None:
        return connection.execute(_RENEW, values | {"increase": renewed.increase}).rowcount
    return connection.execute(_RESET, values | {"reset_to": renewed.reset_to}).rowcount
