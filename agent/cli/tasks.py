"""``tasks``: list, show, cancel and watch the tasks of any A2A agent."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, NoReturn, cast

import click

from agent.cli import exits
from agent.cli.credentials import token_option
from agent.cli.printer import Printer, state_name
from agent.cli.remote import agent_at
from agent.model import TaskState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from a2a.client import A2AClientError, Client
    from a2a.types import ListTasksRequest, StreamResponse, Task

_STATES = [state.name.lower().replace("_", "-") for state in TaskState]
_MAX_PAGE = 100
_RETRY_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""How long to wait before a broken stream is taken up again; a stream that brings news starts over."""

_json = click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")


@click.group()
def tasks() -> None:
    """List, show, cancel and watch the tasks of an agent."""


@tasks.command("list")
@click.argument("url")
@click.option("--context", default="", help="Only tasks of this context.")
@click.option("--state", type=click.Choice(_STATES), help="Only tasks in this state.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, help="How many at most; 50 by default."
)
@_json
@token_option
def list_tasks(url: str, context: str, state: str | None, limit: int, as_json: bool) -> None:
    """List the tasks of the agent at URL, the latest first: id, state, time and context."""
    asyncio.run(_list(url, context, state, limit, as_json))


@tasks.command()
@click.argument("url")
@click.argument("task_id", metavar="ID")
@_json
@token_option
def get(url: str, task_id: str, as_json: bool) -> None:
    """Show the task with this ID: its answer, and where it stands."""
    asyncio.run(_get(url, task_id, Printer(as_json)))


@tasks.command()
@click.argument("url")
@click.argument("task_id", metavar="ID")
@token_option
def cancel(url: str, task_id: str) -> None:
    """Cancel the task with this ID."""
    asyncio.run(_cancel(url, task_id))


@tasks.command()
@click.argument("url")
@click.argument("task_id", metavar="ID")
@_json
@token_option
def watch(url: str, task_id: str, as_json: bool) -> None:
    """Print what the task with this ID does until it ends, or waits for input.

    When the connection breaks it is taken up again.
    """
    printer = Printer(as_json)
    asyncio.run(_watch(url, task_id, printer))
    printer.exit_unless_completed()


async def _list(url: str, context: str, state: str | None, limit: int, as_json: bool) -> None:
    from a2a.types import ListTasksRequest
    from google.protobuf.json_format import MessageToJson

    status = f"TASK_STATE_{state.upper().replace('-', '_')}" if state else None
    request = ListTasksRequest(context_id=context, status=status, history_length=0)
    async with agent_at(url) as client, aclosing(_listed(client, request, limit)) as found:
        try:
            async for task in found:
                click.echo(MessageToJson(task, indent=None) if as_json else _line(task))
        except NotImplementedError:
            _fail("The agent speaks A2A 0.3, which cannot list tasks")


async def _listed(client: Client, request: ListTasksRequest, limit: int) -> AsyncGenerator[Task]:
    while limit > 0:
        request.page_size = min(limit, _MAX_PAGE)
        page = await client.list_tasks(request)
        for task in page.tasks[:limit]:
            yield task
        limit -= len(page.tasks)
        request.page_token = page.next_page_token
        if not page.next_page_token or not page.tasks:
            return


def _line(task: Task) -> str:
    time = task.status.timestamp.ToJsonString() if task.status.HasField("timestamp") else "-"
    state = state_name(task.status.state).lower().replace("_", "-")
    return f"{task.id}  {state:<14}  {time:<24}  {task.context_id}"


async def _get(url: str, task_id: str, printer: Printer) -> None:
    async with agent_at(url) as client:
        await _show(client, task_id, printer)
    printer.end()


async def _show(client: Client, task_id: str, printer: Printer) -> None:
    from a2a.types import GetTaskRequest, StreamResponse

    printer.show(StreamResponse(task=await client.get_task(GetTaskRequest(id=task_id))))


async def _cancel(url: str, task_id: str) -> None:
    from a2a.types import CancelTaskRequest

    async with agent_at(url) as client:
        task = await client.cancel_task(CancelTaskRequest(id=task_id))
    click.echo(_line(task))


async def _watch(url: str, task_id: str, printer: Printer) -> None:
    async with agent_at(url) as client:
        waits = iter(_RETRY_SECONDS)
        while True:
            before = printer.shown
            broken = await _follow(client, task_id, printer)
            if printer.is_settled:
                break
            if printer.shown > before + 1:  # more than the task as it was
                waits = iter(_RETRY_SECONDS)
            wait = next(waits, None)
            if wait is None:
                raise broken
            click.echo("\n[the connection broke; taking it up again]", err=True)
            await asyncio.sleep(wait)
    printer.end()


async def _follow(client: Client, task_id: str, printer: Printer) -> A2AClientError:
    """Print a stream until it ends; return why, if that is too early."""
    from a2a.client import A2AClientError
    from a2a.types import SubscribeToTaskRequest
    from a2a.utils.errors import A2AError

    try:
        events = client.subscribe(SubscribeToTaskRequest(id=task_id))
        async with aclosing(cast("AsyncGenerator[StreamResponse]", events)):
            async for event in events:
                printer.show(event)
                if printer.is_settled:  # the stream of a task that waits may stay open
                    break
    except A2AClientError as exc:
        return exc
    except A2AError:
        # What has ended has no stream.
        await _show(client, task_id, printer)
        if not printer.is_settled:
            raise
    except NotImplementedError:
        _fail("The agent does not stream: see `tasks get`")
    return A2AClientError("the stream ended before the task did")


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(exits.FAILED)
