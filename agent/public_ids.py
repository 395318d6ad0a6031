"""What REST calls contexts whose own ids it does not take: a name for good, made when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agent.conversation_ids import is_conversation_id, new_public_id

if TYPE_CHECKING:
    from a2a_state.contexts import Context
    from a2a_state.histories import ContextKey, ConversationSearch


class Called(Protocol):
    """A context, as far as it matters for what it is called."""

    @property
    def context_id(self) -> str:
        """The id that it has in A2A."""

    @property
    def public_id(self) -> str | None:
        """What it is called otherwise, once it has a name."""


def name_of(context: Called) -> str | None:
    """Return the conversation id of a context; None as long as it has none."""
    own = context.context_id
    return own if is_conversation_id(own) else context.public_id


async def named(search: ConversationSearch, key: ContextKey) -> Context | None:
    """Return a context, which has a conversation id from now on."""
    context = await search.get(key)
    if context is None or name_of(context) is not None:
        return context
    await search.name({key: new_public_id()})
    # Somebody else may have been first.
    return await search.get(key)
