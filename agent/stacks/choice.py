"""Which stack runs the turns: one of your own, a Llama Stack elsewhere or here, or the embedded one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from agent.errors import SettingsError
from agent.stacks.remote import RemoteStack

if TYPE_CHECKING:
    from a2a_state.database import Database
    from agent.settings import Settings
    from agent.stacks.base import Stack


def choose_stack(settings: Settings, database: Database) -> tuple[str, Stack]:
    """Return the stack and the name its conversations are kept under; raises ``SettingsError``."""
    if settings.stack is not None:
        return settings.stack, _load(settings.stack, settings)
    if settings.llama_stack.url is not None:
        return "llama_stack", RemoteStack(settings)
    if settings.llama_stack.library is not None:
        from agent.stacks.library import LibraryStack

        return "llama_stack", LibraryStack(settings, settings.llama_stack.library)
    # Imported where it is needed: the other stacks start without it.
    from agent.stacks.embedded import EmbeddedStack

    return "embedded", EmbeddedStack(settings, database)


def _load(name: str, settings: Settings) -> Stack:
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        problem = f"{module_name} cannot be imported"
        raise SettingsError("stack", problem) from exc
    try:
        stack: Stack = getattr(module, class_name)(settings)
    except AttributeError as exc:
        raise SettingsError("stack", f"{module_name} has no class {class_name}") from exc
    return stack
