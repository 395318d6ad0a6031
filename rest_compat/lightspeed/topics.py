"""The topics of new conversations, which a model names while it answers the first question."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.errors import AgentError
from agent.stacks import Inference
from agent.stacks.single_turn import TOPIC
from rest_compat.lightspeed.prompts import topic_prompt

if TYPE_CHECKING:
    from agent.caller import Caller
    from rest_compat.lightspeed.backend import Backend

logger = logging.getLogger(__name__)

SECONDS = 60.0
"""How long a topic may take."""

TOPIC_CHARS = 300
_QUESTION_CHARS = 8000


class Topics:
    """Names topics apart from the requests that want them; what goes wrong is logged, and nothing else."""

    def __init__(self, backend: Backend, *, seconds: float = SECONDS) -> None:
        """Nothing is named."""
        self._seconds = seconds
        self._inferences = backend.inferences
        self._histories = backend.histories
        self._metrics = backend.aside.metrics
        self._prompt = topic_prompt(backend.settings)
        self._naming: set[asyncio.Task[None]] = set()

    def name(
        self, caller: Caller, question: str, model: str | None, context_id: str
    ) -> asyncio.Task[None]:
        """Begin to name the topic of a conversation that is stored; returns what ends with it.

        ``model`` is the one that was asked for. A conversation that is begun while its owner asks for as
        much as one may, or with nothing left of a quota, has no topic.
        """
        naming = asyncio.create_task(self._name(caller, question, model, context_id))
        self._naming.add(naming)
        naming.add_done_callback(self._naming.discard)
        return naming

    async def _name(
        self, caller: Caller, question: str, model: str | None, context_id: str
    ) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                topic = await self._topic(caller, question[:_QUESTION_CHARS], model)
            if topic:
                await self._histories.set_topic(caller, context_id, topic)
        except (TimeoutError, AgentError) as exc:
            logger.warning("A conversation has no topic: %s", str(exc) or "it took too long")
        except Exception:
            # A stack may be anybody's.
            logger.exception("A conversation has no topic")

    async def _topic(self, caller: Caller, question: str, model: str | None) -> str:
        prompt = self._prompt or TOPIC
        asked = Inference(text=question, instructions=prompt, owner=caller.user_id, model=model)
        inferred = await self._inferences.name_topic(asked, as_asked=self._prompt is not None)
        self._metrics.inferred(inferred)
        # PostgreSQL keeps no NUL in a text.
        return " ".join(inferred.text.replace("\0", " ").split())[:TOPIC_CHARS]
