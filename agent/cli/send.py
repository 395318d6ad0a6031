"""``send``: send a message to any A2A agent and show the answer as it arrives."""

from __future__ import annotations

import asyncio
import mimetypes
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.credentials import token_option
from agent.cli.printer import Printer
from agent.cli.remote import agent_at

if TYPE_CHECKING:
    from a2a.types import SendMessageRequest


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
@token_option
def send(
    url: str,
    text: str,
    context: str | None,
    task: str | None,
    files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Send TEXT to the agent at URL and print its answer as it arrives."""
    printer = Printer(as_json)
    asyncio.run(_send(url, _request(text, context, task, files), printer))
    printer.exit_unless_completed()


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


async def _send(url: str, request: SendMessageRequest, printer: Printer) -> None:
    async with agent_at(url) as client:
        async for event in client.send_message(request):
            printer.show(event)
    printer.end()
