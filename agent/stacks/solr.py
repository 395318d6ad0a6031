"""Documents of a Solr store, which Llama Stack searches for every message before the model is asked."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import StackError, TurnFailed
from agent.stacks.agents_api_wire import read, text_of
from agent.stacks.client import translating
from agent.stacks.turn import Citation, Json, TextPart

if TYPE_CHECKING:
    from llama_stack_client import AsyncLlamaStackClient

    from agent.settings import Settings
    from agent.stacks.turn import TurnRequest

_log = logging.getLogger(__name__)

STORE = "portal-rag"
"""The store that LCS's documentation has registered with the provider of Solr."""

_SEARCH = {"k": 5, "score_threshold": 0.0, "mode": "hybrid"}  # LCS's
_OFFLINE_BASE = "https://mimir.corp.redhat.com"  # where LCS has the documents of its offline portal
_CHUNK_CHARS = 16_000
_CITED_CHARS = 4000


class _Chunk(msgspec.Struct):
    content: Json = None
    metadata: dict[str, Json] | None = None
    chunk_metadata: dict[str, Json] | None = None

    def about(self, *keys: str) -> str | None:
        """Return what is known of the chunk's document under the first of the keys that says anything."""
        known = (self.chunk_metadata or {}) | (self.metadata or {})
        return next((str(known[key]) for key in keys if known.get(key)), None)


class _Found(msgspec.Struct):
    chunks: list[_Chunk] = []
    scores: list[float] = []


async def with_documents(
    client: AsyncLlamaStackClient, settings: Settings, request: TurnRequest
) -> tuple[TurnRequest, list[Citation]]:
    """Put what Solr has on a new message before it; nothing unless the settings enable that.

    A store that cannot be searched is only logged, as LCS does, unless the message has a filter for it:
    then ``TurnFailed`` is raised.
    """
    asked = "\n".join(part.text for part in request.parts if isinstance(part, TextPart))
    if not settings.solr or not settings.solr.enabled or request.resume or not asked:
        return request, []
    try:
        found = await _search(client, asked, request.options.solr)
    except StackError as exc:
        if request.options.solr:
            message = "The Solr store of Llama Stack cannot be searched as the message wants it."
            raise TurnFailed(message) from exc
        _log.warning("a turn goes on without documents of Solr: %s", exc.message, exc_info=exc)
        return request, []
    if not found.chunks:
        return request, []
    scores = [*found.scores, *[None] * len(found.chunks)]
    cited = [
        _citation(chunk, score, offline=settings.solr.offline)
        for chunk, score in zip(found.chunks, scores, strict=False)
    ]
    parts = (TextPart(_context(found.chunks, cited)), *request.parts)
    return msgspec.structs.replace(request, parts=parts), cited


async def _search(
    client: AsyncLlamaStackClient, query: str, filters: dict[str, Json] | None
) -> _Found:
    params: dict[str, Any] = _SEARCH | ({"solr": filters} if filters else {})
    # the store's id has one name on 0.3 and another from 0.4 on
    body = {"vector_db_id": STORE, "vector_store_id": STORE, "query": query, "params": params}
    with translating():
        wire = await client.post("/v1/vector-io/query", body=body, cast_to=object)
    return read(wire, _Found)


def _citation(chunk: _Chunk, score: float | None, *, offline: bool) -> Citation:
    document_id = chunk.about("document_id", "doc_id", "parent_id")
    uri = chunk.about("reference_url", "doc_url", "docs_url")
    if offline and (parent := chunk.about("parent_id", "document_id", "doc_id")):
        is_url = parent.startswith(("http://", "https://"))
        uri = parent if is_url else f"{_OFFLINE_BASE}/{parent.lstrip('/')}"
    return Citation(
        title=chunk.about("title", "filename") or document_id or STORE,
        uri=uri,
        text=text_of(chunk.content)[:_CITED_CHARS],
        document_id=document_id,
        score=score,
    )


def _context(chunks: list[_Chunk], cited: list[Citation]) -> str:
    """Write the documents down for the model."""
    texts = [
        f"[{number}] {citation.title}\n{text_of(chunk.content)[:_CHUNK_CHARS]}"
        for number, (chunk, citation) in enumerate(zip(chunks, cited, strict=True), start=1)
    ]
    return "\n\n".join(
        ["These documents may help with the message that follows them.", *texts, "The message:"]
    )
