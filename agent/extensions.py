"""Extensions of the protocol: which of those that a caller names are in use (1.0 section 4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import ExtensionSupportRequired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.settings.own import Extension


class Extensions:
    """The extensions that this agent declares on its card."""

    def __init__(self, declared: Sequence[Extension]) -> None:
        """Keep them in the order of the card."""
        self.declared = tuple(declared)
        self._known = frozenset(extension.uri for extension in declared)
        self._required = tuple(extension.uri for extension in declared if extension.required)

    def active(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of ``wanted`` that are in use; unknown ones are ignored.

        Raises ``ExtensionSupportRequired`` when one that the agent requires is not among them.
        """
        if not self.declared:
            return ()
        for uri in self._required:
            if uri not in wanted:
                raise ExtensionSupportRequired(f"This agent requires the extension {uri}")
        return tuple(uri for uri in wanted if uri in self._known)
