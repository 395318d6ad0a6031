"""What a message, or the agent of a caller, wants otherwise than the settings: checked, and applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidParams, ResourceNotFound
from agent.stacks.embedded.agent_config import KNOWLEDGE_GROUP
from agent.stacks.embedded.tools import KNOWLEDGE_SEARCH
from agent.stacks.response_format import RESPONSE_FORMAT, response_format

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent.stacks.response_format import ResponseFormat
    from agent.stacks.turn import AgentOptions, ToolGroup, TurnOptions, TurnRequest

_STORES = ("vector_db_ids", "vector_store_ids")  # of Llama Stack 0.3, and of later ones


class Choices(msgspec.Struct, frozen=True):
    """What there is for callers to choose from: one vector store, the shields and the tool groups."""

    store_id: str
    shields: Collection[str]
    groups: Collection[str]


def check(request: TurnRequest, choices: Choices) -> None:
    """Raise ``RequestError`` for what a message or its agent wants and there is not.

    Only the shields of the settings can be asked for: of any other model of the model server a caller
    could have the verdict that suits.
    """
    options, agent = request.options, request.agent
    for wanted in options.vector_store_ids or ():
        _check_store(wanted, choices)
    if options.shields == ():
        raise InvalidParams("shields", "must name one at least")
    _check_shields("shields", options.shields or (), choices)
    _check_groups("toolgroups", options.toolgroups or (), choices)
    if agent is not None:
        _check_shields("agent_config.input_shields", agent.input_shields, choices)
        _check_shields("agent_config.output_shields", agent.output_shields, choices)
        _check_groups("agent_config.toolgroups", agent.toolgroups, choices)
        form_of(agent)


def form_of(agent: AgentOptions) -> ResponseFormat | None:
    """Return the form that an agent gives its answers in; raises ``InvalidParams``."""
    try:
        return response_format({RESPONSE_FORMAT: agent.response_format})
    except InvalidParams as exc:
        raise InvalidParams(f"agent_config.{RESPONSE_FORMAT}", exc.problem) from exc


def searches(config: AgentOptions) -> bool:
    """Tell whether the documents may be searched."""
    return any(group.provider == KNOWLEDGE_GROUP for group in config.toolgroups)


def apply(options: TurnOptions, config: AgentOptions, store_id: str) -> AgentOptions:
    """Return the configuration for one turn."""
    changes: dict[str, object] = {"toolgroups": _groups(options, config, store_id)}
    if options.instructions is not None:
        changes["instructions"] = options.instructions
    if options.no_tools:
        changes["client_tools"] = ()
    if options.tool_choice is not None:
        changes["tool_choice"] = options.tool_choice
    if options.shields is not None:
        changes["input_shields"] = options.shields
        changes["output_shields"] = options.shields if config.output_shields else ()
    return msgspec.structs.replace(config, **changes)


def _groups(options: TurnOptions, config: AgentOptions, store_id: str) -> tuple[ToolGroup, ...]:
    if options.no_tools:
        return ()
    groups = config.toolgroups if options.toolgroups is None else options.toolgroups
    stores = options.vector_store_ids
    may_search = stores is None or store_id in stores
    return tuple(
        group
        for group in groups
        if group.provider != KNOWLEDGE_GROUP or (may_search and not _names_no_store(group))
    )


def _names_no_store(group: ToolGroup) -> bool:
    return any(group.args.get(key) == [] for key in _STORES)


def _check_shields(field: str, wanted: Sequence[str], choices: Choices) -> None:
    for shield in wanted:
        if shield not in choices.shields:
            names = ", ".join(choices.shields) or "none"
            raise InvalidParams(field, f"there is no shield {shield}; there are: {names}")


def _check_groups(field: str, wanted: Sequence[ToolGroup], choices: Choices) -> None:
    for group in wanted:
        if group.provider not in choices.groups:
            raise InvalidParams(field, f"there is no tool group {group.provider}")
        if group.provider == KNOWLEDGE_GROUP:
            if group.tool not in ("", KNOWLEDGE_SEARCH.name):
                raise InvalidParams(field, f"{KNOWLEDGE_GROUP} has no tool {group.tool}")
            for key in _STORES:
                _check_stores(f"{field}.{key}", group.args.get(key, []), choices)


def _check_stores(field: str, wanted: object, choices: Choices) -> None:
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        raise InvalidParams(field, "must be a list of ids")
    for each in wanted:
        _check_store(each, choices)


def _check_store(wanted: str, choices: Choices) -> None:
    if wanted != choices.store_id:
        raise ResourceNotFound("vector store", wanted)
