"""What a turn has made beside its answer: artifacts of the task, as attachments of the turn. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.conversation_turns import CITATIONS, TOOL_RESULTS, shown
from agent.parts import JSON, OCTETS, TEXT
from agent.translation import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.agents.base import Json
    from agent.model import Artifact, Part

_OWN = re.compile(rf"({ANSWER}|{TOOL_RESULTS}|{CITATIONS})(-\d+)?")


def is_attachment(artifact: Artifact) -> bool:
    """Whether an artifact is none of those that tell of the answer."""
    return _OWN.fullmatch(artifact.artifact_id) is None


def attachments_of(artifacts: Iterable[Artifact]) -> list[Json]:
    """Write what a turn has made."""
    made = (artifact for artifact in artifacts if is_attachment(artifact))
    return [_attachment(part) for artifact in made for part in artifact.parts if part.text != ""]


def _attachment(part: Part) -> Json:
    content: Json
    if part.raw is not None:
        media_type = part.media_type or OCTETS
        content = {"uri": f"data:{media_type};base64,{part.raw}"}
    elif part.url is not None:
        media_type, content = part.media_type or OCTETS, {"uri": part.url}
    else:
        media_type = part.media_type or (JSON if part.text is None else TEXT)
        content = shown([part])
    return {"content": content, "mime_type": media_type}
