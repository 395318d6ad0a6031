"""The attachments of a query: checked as LCS checks them, and told to the model by names."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from agent.model import Part
from rest_compat.lightspeed.resource_names import ResourceNames
from rest_compat.problems import Answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rest_compat.lightspeed.query_request import Attachment

TYPES = ("alert", "api object", "configuration", "error message", "event", "log", "stack trace")
CONTENT_TYPES = ("text/plain", "application/json", "application/yaml", "application/xml")
# One and the same (RFC 7303), but not every stack takes the first for text.
_AS_TEXT = {"application/xml": "text/xml"}


def check(attachments: Sequence[Attachment], most: int) -> None:
    """Raise LCS's 422 for a kind of attachment, or of content, that there is none of, and for too many."""
    if len(attachments) > most:
        cause = f"Invalid attachments: there must be {most} at most"
        raise Answered(422, "Invalid attribute value", cause)
    for attachment in attachments:
        for given, known in (
            (attachment.attachment_type, TYPES),
            (attachment.content_type, CONTENT_TYPES),
        ):
            if given not in known:
                cause = f"Invalid attachment type: must be one of {list(known)}"
                raise Answered(422, "Invalid attribute value", cause)


def parts_of(attachments: Sequence[Attachment]) -> list[Part]:
    """Return the attachments as files, each with a name of its own.

    YAML with ``kind`` and ``metadata.name`` is named after both, everything else after its type. The
    metadata of a part says what the attachment was called.
    """
    names = ResourceNames()
    taken: dict[str, int] = {}
    parts = []
    for attachment in attachments:
        is_yaml = attachment.content_type == "application/yaml"
        resource = names.of(attachment.content) if is_yaml else None
        name = _unused(resource or attachment.attachment_type, taken)
        parts.append(_part(attachment, name))
    return parts


def _part(attachment: Attachment, name: str) -> Part:
    media_type = _AS_TEXT.get(attachment.content_type, attachment.content_type)
    return Part(
        raw=base64.b64encode(attachment.content.encode()).decode(),
        filename=name,
        media_type=media_type,
        metadata={
            "attachment_type": attachment.attachment_type,
            "content_type": attachment.content_type,
        },
    )


def _unused(name: str, taken: dict[str, int]) -> str:
    """Return the name, numbered if it is taken; ``taken`` has the number that each began with last."""
    unused, number = name, taken.get(name, 1)
    while unused in taken:
        number += 1
        unused = f"{name} {number}"
    taken[name] = number
    taken.setdefault(unused, 1)
    return unused
