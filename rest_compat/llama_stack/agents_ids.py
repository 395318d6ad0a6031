"""The ids in the paths of the agents API: of any form, as far as they can be ids at all."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from rest_compat.llama_stack.agents_config import NAME_CHARS


def printable(value: str) -> str:
    """Raise ``ValueError`` for what no database could look for."""
    if not value.isprintable():
        raise ValueError("must have printable characters only")
    return value


_PRINTABLE = AfterValidator(printable)
AgentId = Annotated[
    str, Path(max_length=NAME_CHARS, description="The ID of the agent."), _PRINTABLE
]
SessionId = Annotated[
    str, Path(max_length=NAME_CHARS, description="The ID of the session."), _PRINTABLE
]
TurnId = Annotated[str, Path(max_length=NAME_CHARS, description="The ID of the turn."), _PRINTABLE]
StepId = Annotated[str, Path(max_length=NAME_CHARS, description="The ID of the step."), _PRINTABLE]
