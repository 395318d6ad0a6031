"""What a message must be like, whatever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import ContentTypeNotSupported, InvalidParams
from agent.model import Role
from agent.parts import JSON, TEXT, accepted

if TYPE_CHECKING:
    from agent.model import Message, SendRequest
    from agent.settings.own import Limits

# Every stack reads text, whatever it is called.
_TEXTUAL = ("text/*", "application/json", "application/yaml", "application/xml")
_TEXT_SUFFIXES = ("+json", "+yaml", "+xml")


class MessageCheck:
    """Refuses what cannot be run before anything runs."""

    def __init__(self, limits: Limits, input_modes: tuple[str, ...]) -> None:
        """``input_modes`` are those of the card."""
        self.limits = limits
        self._modes = (*_TEXTUAL, *input_modes)

    def check(self, request: SendRequest) -> None:
        """Raise ``InvalidParams`` or ``ContentTypeNotSupported``."""
        message = request.message
        self._check_ids(message)
        if message.role is not Role.USER:
            raise InvalidParams("message.role", "must be the user's")
        if not message.parts:
            raise InvalidParams("message.parts", "must not be empty")
        if len(message.parts) > self.limits.parts:
            raise InvalidParams("message.parts", f"has more than {self.limits.parts} parts")
        for part in message.parts:
            if part.media_type:
                self._check_media_type(part.media_type)
        modes = request.accepted_output_modes
        if modes and not any(accepted(mode, modes) for mode in (TEXT, JSON)):
            raise ContentTypeNotSupported(f"This agent answers with {TEXT} or {JSON}")

    def _check_ids(self, message: Message) -> None:
        check_id(message.message_id, "message.messageId", self.limits)
        if message.context_id:
            check_id(message.context_id, "message.contextId", self.limits)
        if message.task_id:
            check_id(message.task_id, "message.taskId", self.limits)
        if len(message.reference_task_ids or ()) > self.limits.referenced_tasks:
            problem = f"has more than {self.limits.referenced_tasks} tasks"
            raise InvalidParams("message.referenceTaskIds", problem)

    def _check_media_type(self, given: str) -> None:
        """Hold a part against the card (1.0 section 3.1.1): not every stack looks for itself."""
        media_type = given.partition(";")[0].strip().lower()
        if not media_type.endswith(_TEXT_SUFFIXES) and not accepted(media_type, self._modes):
            raise ContentTypeNotSupported(f"This agent does not take {media_type[:100]}")


def check_id(value: str, field: str, limits: Limits) -> None:
    """Raise ``InvalidParams`` for what no id can be."""
    if not value or len(value) > limits.id_chars:
        raise InvalidParams(field, f"must have 1 to {limits.id_chars} characters")
    if not value.isprintable():
        raise InvalidParams(field, "must have printable characters only")
