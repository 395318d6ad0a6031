"""Events as they are, for whoever follows a task in this process and makes something else of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.model import Event


class Plain:
    """Writes nothing: each event is its own form."""

    version = "plain"

    def event(self, event: Event) -> Event:
        """Return the event."""
        return event


PLAIN = Plain()
