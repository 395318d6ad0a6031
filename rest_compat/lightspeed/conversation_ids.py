"""The ids of conversations, as LCS takes them."""

from agent.conversation_ids import is_conversation_id
from rest_compat.problems import Answered

_STACKS = "conv_"
"""What Llama Stack writes before its own; LCS leaves it out."""


def read_conversation_id(text: str) -> str | None:
    """Return the id without its prefix; None for what is none."""
    bare = text.removeprefix(_STACKS)
    return bare if is_conversation_id(bare) else None


def conversation_id_in(path: str) -> str:
    """Return the id in a path; raises LCS's answer to what is none."""
    conversation_id = read_conversation_id(path)
    if conversation_id is None:
        cause = f"The conversation ID {path} has invalid format."
        raise Answered(400, "Invalid conversation ID format", cause)
    return conversation_id
