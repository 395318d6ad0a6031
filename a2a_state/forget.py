"""Deleting tasks and contexts with all that belongs to them, within a transaction of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, or_, tuple_, update

from a2a_state.push_configs import push_configs
from a2a_state.session_claims import session_claims
from a2a_state.sessions import sessions
from a2a_state.tables import contexts, message_keys, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Connection, Row

    type Rows = Sequence[Row[*tuple[Any, ...]]]

KEY_MARGIN_MS = 60_000
"""A message's key is written no longer than this before its task, or after the task's last change."""

TASK = (
    tasks.c.task_id,
    tasks.c.owner,
    tasks.c.tenant,
    tasks.c.context_id,
    tasks.c.created_at,
    tasks.c.ended_at,
)
"""What is to be known of a task to delete it."""

CONTEXT = (contexts.c.owner, contexts.c.tenant, contexts.c.context_id, contexts.c.conversation_id)
"""What is to be known of a context to delete it."""

_USED = (
    update(contexts)
    .where(
        contexts.c.owner == bindparam("of_owner"),
        contexts.c.tenant == bindparam("of_tenant"),
        contexts.c.context_id == bindparam("of_context"),
        or_(contexts.c.used_at.is_(None), contexts.c.used_at < bindparam("at")),
    )
    .values(used_at=bindparam("at"))
)


def forget_tasks(connection: Connection, rows: Rows) -> None:
    """Delete tasks that have ended, read as ``TASK``, with their events and push configurations.

    Their contexts remember when they were used.
    """
    used: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.owner, row.tenant, row.context_id)
        used[key] = max(row.ended_at, used.get(key, 0))
    if not used:
        return
    names = ("of_owner", "of_tenant", "of_context")
    # In order: two transactions never wait for each other.
    connection.execute(
        _USED, [dict(zip(names, key, strict=True), at=at) for key, at in sorted(used.items())]
    )
    owned = tuple_(push_configs.c.owner, push_configs.c.tenant, push_configs.c.task_id)
    connection.execute(
        delete(push_configs).where(owned.in_([(r.owner, r.tenant, r.task_id) for r in rows]))
    )
    connection.execute(
        delete(tasks).where(
            tasks.c.task_id.in_([row.task_id for row in rows]), tasks.c.ended_at.is_not(None)
        )
    )


def forget_keys(connection: Connection, rows: Rows) -> None:
    """Delete the keys of the messages of one owner's tasks, read as ``TASK``.

    They are looked for among those of the time of the tasks, which an index finds.
    """
    if not rows:
        return
    connection.execute(
        delete(message_keys).where(
            message_keys.c.owner == rows[0].owner,
            message_keys.c.tenant == rows[0].tenant,
            message_keys.c.task_id.in_([row.task_id for row in rows]),
            message_keys.c.created_at >= min(row.created_at for row in rows) - KEY_MARGIN_MS,
            message_keys.c.created_at <= max(row.ended_at for row in rows) + KEY_MARGIN_MS,
        )
    )


def forget_contexts(connection: Connection, rows: Rows) -> None:
    """Delete contexts, read as ``CONTEXT``, with what sessions and the embedded stack have of them."""
    if not rows:
        return
    keys = [(row.owner, row.tenant, row.context_id) for row in rows]
    # Whoever died may have left a claim.
    for table in (contexts, session_claims):
        key = tuple_(table.c.owner, table.c.tenant, table.c.context_id)
        connection.execute(delete(table).where(key.in_(keys)))
    session = tuple_(sessions.c.owner, sessions.c.tenant, sessions.c.session_id)
    connection.execute(
        delete(sessions).where(
            session.in_([(row.owner, row.tenant, row.conversation_id) for row in rows])
        )
    )
