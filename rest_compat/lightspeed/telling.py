"""An answer as it is told: the events of a stream, in LCS's order."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from agent.errors import AgentError
from rest_compat.lightspeed.answer_facts import AnswerFacts
from rest_compat.lightspeed.query_events import Ending
from rest_compat.lightspeed.references import documents_of
from rest_compat.problems import describe, unexpected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.caller import Caller
    from rest_compat.lightspeed.asking import Answering
    from rest_compat.lightspeed.backend import Backend
    from rest_compat.lightspeed.query_events import Writer


class Telling:
    """Tells answers; one that breaks off has an end as well."""

    def __init__(self, backend: Backend) -> None:
        """Keep what is asked in the end."""
        self._facts = AnswerFacts(backend)

    async def texts(
        self, answering: Answering, writer: Writer, caller: Caller, stores: Sequence[str] | None
    ) -> AsyncGenerator[str]:
        """Yield what is sent; ``stores`` are those that the query names."""
        yield writer.start(answering.conversation_id)
        try:
            async with aclosing(_told(answering, writer)) as told:
                async for text in told:
                    yield text
        except AgentError as exc:
            yield writer.error(describe(exc))
        except Exception as exc:  # noqa: BLE001 - the head is sent: nobody else could tell
            yield writer.error(unexpected(exc))
        heard = answering.heard
        sources = await self._facts.sources(heard, stores)
        documents = documents_of(heard.citations, sources)
        quotas = await self._facts.quotas(caller)
        yield writer.end(Ending(documents, heard.input_tokens, heard.output_tokens, quotas))


async def _told(answering: Answering, writer: Writer) -> AsyncGenerator[str]:
    heard = answering.heard
    async with aclosing(answering.pieces()) as pieces:
        async for piece in pieces:
            yield writer.piece(piece)
    await answering.check()
    if heard.refusal is None:
        yield writer.turn_complete(heard.text)
    if heard.cut_off is not None:
        yield writer.error(heard.cut_off)
