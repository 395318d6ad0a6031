"""Message -> the request of a turn, made the same way when the turn has to run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.model import Metadata, Role
from agent.parts import read_parts, reference_parts
from agent.stacks import AS_CONFIGURED, Resume, TurnOptions, TurnRequest
from agent.stacks.response_format import RESPONSE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.caller import Caller
    from agent.model import Message, SendRequest, Task
    from agent.settings.own import Limits
    from agent.stacks import Part


class StoredRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What running the latest message of a task again needs beside the task.

    ``kept_artifacts`` are those of earlier turns. ``tried`` counts the messages before it whose turn
    waited for credentials: it is about them too. ``shown`` says which kinds of credentials for tools the
    caller had shown: only that they were there, for they are never stored.
    """

    message_id: str
    metadata: Metadata = None
    accepted_output_modes: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    resume: Resume | None = None
    kept_artifacts: tuple[str, ...] = ()
    tried: int = 0
    shown: tuple[str, ...] = ()
    model: str | None = None
    options: TurnOptions = AS_CONFIGURED


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredRequest).decode


def stored_request(
    request: SendRequest,
    resume: Resume | None,
    kept_artifacts: tuple[str, ...],
    before: StoredRequest | None = None,
) -> StoredRequest:
    """Return what is kept of a request; one that follows another wants an answer of the same form."""
    form = ((before and before.metadata) or {}).get(RESPONSE_FORMAT)
    metadata = {} if form is None else {RESPONSE_FORMAT: form}
    return StoredRequest(
        message_id=request.message.message_id,
        metadata={**metadata, **(request.metadata or {}), **(request.message.metadata or {})}
        or None,
        accepted_output_modes=request.accepted_output_modes,
        extensions=request.extensions,
        resume=resume,
        kept_artifacts=kept_artifacts,
        model=request.model,
        options=request.options,
    )


def try_again(stored: StoredRequest, before: StoredRequest | None) -> StoredRequest:
    """Make a follow-up try again what ``before`` could not for want of credentials."""
    if before is None:
        return stored
    return msgspec.structs.replace(
        stored, resume=before.resume or stored.resume, tried=before.tried + 1
    )


def write_stored_request(stored: StoredRequest) -> bytes:
    """Return what stands in the task's row."""
    return _encode(stored)


def read_stored_request(body: bytes | None) -> StoredRequest | None:
    """Read what stands in the task's row; None for a task that an older version stored."""
    return _decode(body) if body else None


def turn_request(
    caller: Caller,
    task: Task,
    message: Message,
    stored: StoredRequest,
    referenced: Sequence[Task],
    limits: Limits,
) -> TurnRequest:
    """Return the request; its conversation is filled in by the runner. Raises ``InvalidParams``."""
    parts: tuple[Part, ...] = read_parts(message.parts, file_bytes=limits.file_bytes)
    if stored.tried:
        sent = [said for said in task.history if said.role is Role.USER and said is not message]
        tried = [part for said in sent[-stored.tried :] for part in said.parts]
        parts = (*read_parts(tried, file_bytes=limits.file_bytes), *parts)
    if referenced:
        parts = (*reference_parts(referenced, limits.file_bytes), *parts)
    return TurnRequest(
        conversation_id="",
        task_id=task.id,
        context_id=task.context_id,
        message_id=message.message_id,
        owner=caller.owner,
        tenant=caller.tenant,
        parts=parts,
        metadata=stored.metadata or {},
        accepted_output_modes=stored.accepted_output_modes,
        resume=stored.resume,
        extensions=stored.extensions,
        credentials=caller.credentials,
        model=stored.model,
        options=stored.options,
    )
