"""Rows as they are kept: tasks that have ended, contexts, and what belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, select

from a2a_state.agents import agents
from a2a_state.jobs import EVAL, Job
from a2a_state.push_configs import push_configs
from a2a_state.sessions import sessions, turns
from a2a_state.tables import contexts, message_keys, task_events, tasks

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from a2a_state.database import Database

COMPLETED = "TASK_STATE_COMPLETED"
DAY = 86_400_000


def task_id(at: int, number: int = 0) -> str:
    """Return an id as a task gets it that is made at a moment."""
    return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7000-8000-{number:012x}"


def task(at: int, number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a row of a task of ann's that was made, and ended, at a moment."""
    return {
        "task_id": task_id(at, number),
        "owner": "ann",
        "tenant": "",
        "context_id": "context",
        "state": COMPLETED,
        "body": b"{}",
        "seq": 1,
        "fence": 1,
        "lease_holder": "here",
        "lease_until": 0,
        "created_at": at,
        "updated_at": at,
        "ended_at": at,
    } | changes


def context(at: int, context_id: str = "context", **changes: Any) -> dict[str, Any]:
    """Return a row of a context of ann's that began at a moment."""
    return {
        "owner": "ann",
        "tenant": "",
        "context_id": context_id,
        "stack": "embedded",
        "conversation_id": f"session of {context_id}",
        "created_at": at,
        "used_at": None,
    } | changes


def job(job_id: str, at: int, **changes: Any) -> dict[str, Any]:
    """Return a row of an evaluation of ann's that was made, and ended, at a moment."""
    made = Job(owner="ann", tenant="", kind=EVAL, job_id=job_id, request={}, created_at=at)
    return msgspec.structs.asdict(made) | {"request": b"{}", "ended_at": at} | changes


def event(of_task: str) -> dict[str, Any]:
    """Return a row of a task's log."""
    return {"task_id": of_task, "first_seq": 1, "last_seq": 1, "body": b"[]"}


def key(at: int, name: str = "key:1", of_task: str = "", **changes: Any) -> dict[str, Any]:
    """Return the key of a message of ann's that was sent at a moment."""
    return {
        "owner": "ann",
        "tenant": "",
        "key": name,
        "claim": "claim",
        "task_id": of_task,
        "digest": b"",
        "created_at": at,
        "answer": None,
    } | changes


def push_config(of_task: str, state: str, **changes: Any) -> dict[str, Any]:
    """Return a push notification configuration of a task of ann's."""
    return {
        "owner": "ann",
        "tenant": "",
        "task_id": of_task,
        "config_id": "config",
        "url": "https://example.com/",
        "host": "example.com",
        "version": "1.0",
        "delivered_seq": 0,
        "state": state,
        "attempts": 0,
        "next_attempt_at": 0,
        "lease_holder": "",
        "lease_until": 0,
        "created_at": 0,
    } | changes


async def add(database: Database, table: Table, *rows: dict[str, Any]) -> None:
    """Store rows."""
    await database.write(lambda c: c.execute(table.insert(), list(rows)))


async def add_session(database: Database, session_id: str, owner: str = "ann") -> None:
    """Store a session of the embedded stack, with one turn."""
    agent = {"agent_id": session_id, "owner": "", "tenant": "", "agent_config": b"{}"}
    own = {"session_id": session_id, "owner": owner, "tenant": "", "started_at": 1}
    turn = dict.fromkeys(("options", "input_messages", "steps"), b"[]")
    await add(database, agents, agent | {"created_at": 1})
    await add(database, sessions, own | {"agent_id": session_id, "session_name": ""})
    await add(database, turns, own | turn | {"turn_id": session_id, "state": "completed"})


async def left(database: Database) -> dict[str, int]:
    """Return how many rows each table has that has any."""
    names = (tasks, task_events, contexts, message_keys, push_configs, sessions, turns)

    def work(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in names
        }

    return {name: count for name, count in (await database.read(work)).items() if count}


async def task_ids(database: Database) -> list[str]:
    """Return the ids of all tasks."""
    query = select(tasks.c.task_id).order_by(tasks.c.task_id)
    return await database.read(lambda c: list(c.execute(query).scalars()))
