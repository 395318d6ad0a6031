"""How an agent is described: Llama Stack's ``AgentConfig``, checked as 0.3.5 does."""

# The documentation of models is that of the API: their fields tell what they are.
from functools import partial
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from agent.nesting import NESTING, too_deep

NAME_CHARS = 256
"""Most characters of a name or an id."""
NAMES = 256
"""Most names in a list, of tools or of shields."""
_STOPS, _ITERATIONS, _MOST = 16, 1000, 2**31 - 1


def _same_for_all(value: Any) -> Any:
    """JSON of Python has numbers that other readers of JSON do not know, and that would be lost."""
    try:
        body = msgspec.json.encode(value)
        kept = not too_deep(body) and msgspec.json.decode(body) == value
    except (RecursionError, ValueError, msgspec.MsgspecError):
        kept = False
    if not kept:
        raise ValueError(f"must be JSON that others can read as well, of {NESTING} levels at most")
    return value


Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS)]
Names = Annotated[list[Name], Field(max_length=NAMES)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_same_for_all)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
type ToolChoice = Literal["auto", "required", "none"]
type ToolPromptFormat = Literal["json", "function_tag", "python_list"]


class GreedySamplingStrategy(BaseModel):
    """Greedy sampling strategy that selects the highest probability token at each step."""

    type: Literal["greedy"]


class TopPSamplingStrategy(BaseModel):
    """Top-p (nucleus) sampling strategy: the smallest set of tokens with cumulative probability >= p."""

    type: Literal["top_p"]
    temperature: Annotated[Finite, Field(gt=0)] | None
    top_p: Annotated[Finite, Field(ge=0, le=1)] | None = 0.95


class TopKSamplingStrategy(BaseModel):
    """Top-k sampling strategy that restricts sampling to the k most likely tokens."""

    type: Literal["top_k"]
    top_k: int = Field(ge=1, le=_MOST)


class SamplingParams(BaseModel):
    """Sampling parameters."""

    strategy: Annotated[
        GreedySamplingStrategy | TopPSamplingStrategy | TopKSamplingStrategy,
        Field(discriminator="type"),
    ] = Field(default_factory=partial(GreedySamplingStrategy, type="greedy"))
    max_tokens: Annotated[int, Field(ge=0, le=_MOST)] | None = Field(
        default=0, description="The most tokens of an answer of the model; 0 sets no limit."
    )
    repetition_penalty: Finite | None = 1.0
    stop: Annotated[list[Name], Field(max_length=_STOPS)] | None = None


class AgentToolGroupWithArgs(BaseModel):
    """A tool group, or one tool of it, with arguments that take precedence over the model's."""

    name: Name
    args: JsonObject


type AgentTool = Name | AgentToolGroupWithArgs
ToolGroups = Annotated[list[AgentTool], Field(max_length=NAMES)]


class ToolDef(BaseModel):
    """A tool that the client runs itself."""

    toolgroup_id: Name | None = None
    name: Name
    description: str | None = None
    input_schema: JsonObject | None = Field(default=None, description="JSON Schema for tool inputs")
    output_schema: JsonObject | None = Field(
        default=None, description="JSON Schema for tool outputs"
    )
    metadata: JsonObject | None = None


class ToolConfig(BaseModel):
    """Configuration for tool use."""

    tool_choice: ToolChoice | Name | None = Field(
        default="auto",
        description="Whether tool use is automatic, required, or none; or the name of the tool to use.",
    )
    tool_prompt_format: ToolPromptFormat | None = None
    system_message_behavior: Literal["append", "replace"] | None = "append"


class JsonSchemaResponseFormat(BaseModel):
    """Configuration for JSON schema-guided response generation."""

    type: Literal["json_schema"]
    json_schema: JsonObject


class GrammarResponseFormat(BaseModel):
    """Configuration for grammar-guided response generation."""

    type: Literal["grammar"]
    bnf: JsonObject


class AgentConfig(BaseModel):
    """Configuration for an agent."""

    sampling_params: SamplingParams | None = Field(default_factory=SamplingParams)
    input_shields: Names | None = Field(default_factory=list)
    output_shields: Names | None = Field(default_factory=list)
    toolgroups: ToolGroups | None = Field(default_factory=list)
    client_tools: Annotated[list[ToolDef], Field(max_length=NAMES)] | None = Field(
        default_factory=list
    )
    tool_choice: ToolChoice | None = Field(
        default=None, description="Superseded by that of tool_config", deprecated=True
    )
    tool_prompt_format: ToolPromptFormat | None = Field(
        default=None, description="Superseded by that of tool_config", deprecated=True
    )
    tool_config: ToolConfig | None = None
    max_infer_iters: Annotated[int, Field(ge=1, le=_ITERATIONS)] | None = 10
    model: Name = Field(description="The model identifier to use for the agent")
    instructions: str = Field(description="The system instructions for the agent")
    name: Annotated[str, Field(max_length=NAME_CHARS)] | None = None
    enable_session_persistence: bool | None = Field(
        default=False, description="Sessions are kept whatever it says"
    )
    response_format: (
        Annotated[JsonSchemaResponseFormat | GrammarResponseFormat, Field(discriminator="type")]
        | None
    ) = None

    @model_validator(mode="after")
    def _has_tool_config(self) -> Self:
        """The deprecated fields are those of the tool configuration, if there is none."""
        given = self.__dict__
        for name in ("tool_choice", "tool_prompt_format"):
            if not given[name]:
                continue
            if self.tool_config and getattr(self.tool_config, name) != given[name]:
                raise ValueError(f"{name} is deprecated. Use {name} in tool_config instead.")
        if self.tool_config is None:
            old = {name: given[name] for name in ("tool_choice", "tool_prompt_format")}
            self.tool_config = ToolConfig(**{name: one for name, one in old.items() if one})
        return self


class CreateAgentRequest(BaseModel):
    """An agent to be made."""

    agent_config: AgentConfig = Field(description="The configuration for the agent.")

    @model_validator(mode="before")
    @classmethod
    def _is_wrapped(cls, value: Any) -> Any:
        """Some send the configuration by itself."""
        if isinstance(value, dict) and "agent_config" not in value:
            bare = "model" in value or "instructions" in value
            return {"agent_config": value} if bare else value
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell of both forms."""
        wrapped = handler.resolve_ref_schema(handler(schema))
        return {
            "title": cls.__name__,
            "description": cls.__doc__,
            "anyOf": [
                {key: wrapped[key] for key in ("type", "properties", "required")},
                handler(AgentConfig.__pydantic_core_schema__),
            ],
        }
