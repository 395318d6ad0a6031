"""What sessions are made of, for requests and for the OpenAPI document."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from rest_compat.llama_stack.turns_models import Turn

NAME_CHARS = 1024


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold the character U+0000")
    return value


class CreateAgentSessionRequest(BaseModel):
    """A session to be begun."""

    session_name: Annotated[str, Field(max_length=NAME_CHARS), AfterValidator(_storable)]


class AgentSessionCreateResponse(BaseModel):
    """Response returned when creating a new agent session."""

    session_id: str


class Session(BaseModel):
    """A single session of an interaction with an Agentic System."""

    session_id: str
    session_name: str
    turns: list[Turn]
    started_at: datetime
