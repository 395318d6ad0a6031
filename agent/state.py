"""What is remembered, and who writes it: what everything that runs tasks is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from a2a_state.journal import Journal
    from a2a_state.message_keys import MessageKeys
    from a2a_state.tasks import Tasks
    from agent.audit import Audit
    from agent.conversation_cache import ConversationCache
    from agent.lease import Holder
    from agent.listener import TurnListener


class State(NamedTuple):
    """``holder`` is this process, as the one writer of the tasks that it runs; ``audit`` hears of ends.

    ``cache`` has copies of what was said, if they are asked for. ``listeners`` hear of turns that are
    over, whoever ends them.
    """

    journal: Journal
    tasks: Tasks
    keys: MessageKeys
    holder: Holder
    audit: Audit | None = None
    cache: ConversationCache | None = None
    listeners: tuple[TurnListener, ...] = ()
