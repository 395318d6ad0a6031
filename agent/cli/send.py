"""``send``: send a message to any A2A agent and show the answer as it arrives."""

from __future__ import annotations

import asyncio
import mimetypes
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli import exits
from agent.cli.remote import reaching

if TYPE_CHECKING:
    from a2a.types import SendMessageRequest, StreamResponse


@click.command()
@click.argument("url")
@click.argument("text")
@click.option("--context", help="Go on with this context.")
@click.option("--task", help="Answer this task, which waits for input.")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send a file along; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def send(
    url: str,
    text: str,
    context: str | None,
    task: str | None,
    files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Send TEXT to the agent at URL and print its answer as it arrives."""
    state = asyncio.run(_send(url, _request(text, context, task, files), as_json))
    if state not in {"", "COMPLETED", "INPUT_REQUIRED"}:
        sys.exit(exits.NOT_COMPLETED)


def _request(
    text: str, context: str | None, task: str | None, files: tuple[Path, ...]
) -> SendMessageRequest:
    from a2a.types import Message, Part, Role, SendMessageRequest

    parts = [Part(text=text)]
    for path in files:
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        parts.append(Part(raw=path.read_bytes(), filename=path.name, media_type=media_type))
    message = Message(
        message_id=str(uuid.uuid4()),
        role=Role.ROLE_USER,
        parts=parts,
        context_id=context or "",
        task_id=task or "",
    )
    return SendMessageRequest(message=message)


async def _send(url: str, request: SendMessageRequest, as_json: bool) -> str:
    """Return the last state of the task, without its prefix; empty for a message."""
    import httpx
    from a2a.client import ClientConfig, create_client

    printed = _Printer(as_json)
    with reaching(url):
        # A model may think for long; the server keeps the connection alive meanwhile.
        http = httpx.AsyncClient(timeout=httpx.Timeout(10, read=60))
        async with http, await create_client(url, ClientConfig(httpx_client=http)) as client:
            async for event in client.send_message(request):
                printed.show(event)
    printed.end()
    return printed.state


class _Printer:
    """Text to standard output, everything about it to standard error."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._ids = ""
        self.state = ""

    def show(self, event: StreamResponse) -> None:
        from google.protobuf.json_format import MessageToJson

        kind = event.WhichOneof("payload")
        if self._as_json:
            click.echo(MessageToJson(event, indent=None))
        if kind == "task":
            self._ids = f"task {event.task.id}  context {event.task.context_id}"
            for artifact in event.task.artifacts:
                self._text(artifact.parts)
            self._status(event.task.status)
        elif kind == "message":
            self._ids = f"context {event.message.context_id}"
            self._text(event.message.parts)
        elif kind == "artifact_update":
            self._text(event.artifact_update.artifact.parts)
        elif kind == "status_update":
            self._status(event.status_update.status)

    def end(self) -> None:
        if not self._as_json:
            click.echo()
            click.echo(f"[{self.state.lower() or 'message'}] {self._ids}", err=True)

    def _status(self, status: Any) -> None:
        from a2a.types import TaskState

        self.state = TaskState.Name(status.state).removeprefix("TASK_STATE_")
        self._text(status.message.parts)

    def _text(self, parts: Any) -> None:
        if self._as_json:
            return
        for part in parts:
            if part.WhichOneof("content") == "text":
                click.echo(part.text, nl=False)
            elif part.WhichOneof("content") == "data":
                click.echo(f"\n{_data(part)}", err=True)
            else:
                click.echo(f"\n[file {part.filename or part.url or part.media_type}]", err=True)


def _data(part: Any) -> str:
    from google.protobuf.json_format import MessageToJson

    return str(MessageToJson(part.data, indent=2, ensure_ascii=False))
