"""What is answered of agents, for the OpenAPI document."""

from datetime import datetime

from pydantic import BaseModel

from rest_compat.llama_stack.agents_config import AgentConfig


class AgentCreateResponse(BaseModel):
    """Response returned when creating a new agent."""

    agent_id: str


class Agent(BaseModel):
    """An agent instance with configuration and metadata."""

    agent_id: str
    agent_config: AgentConfig
    created_at: datetime
