"""What an answer was taken from, as LCS shows it: chunks of documents, and the documents."""

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, HttpUrl, TypeAdapter, ValidationError, WithJsonSchema

from agent.stacks import Citation

_URL = TypeAdapter(HttpUrl)
DocUrl = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "format": "uri"})]


class Sources(NamedTuple):
    """Where citations are from: ``store`` is what users call the store of documents, where it is known.

    ``attached`` are the names of the files that came with the message: they are in no store.
    """

    store: str | None = None
    attached: frozenset[str] = frozenset()

    def of(self, citation: Citation) -> str | None:
        """Return the source of a citation."""
        return None if citation.document_id in self.attached else self.store


class ReferencedDocument(BaseModel):
    """A document that the answer refers to."""

    doc_url: DocUrl | None = Field(default=None, description="URL of the referenced document")
    doc_title: str | None = Field(default=None, description="Title of the referenced document")
    source: str | None = Field(
        default=None, description="Index name identifying the knowledge source from configuration"
    )


class RAGChunk(BaseModel):
    """A piece of a document that the answer was made from."""

    content: str = Field(description="The content of the chunk")
    source: str | None = Field(
        default=None, description="Index name identifying the knowledge source from configuration"
    )
    score: float | None = Field(default=None, description="Relevance score")
    attributes: dict[str, Any] | None = Field(
        default=None,
        description="Document metadata from the RAG provider (e.g., url, title, author)",
    )


def documents_of(citations: Iterable[Citation], sources: Sources) -> list[ReferencedDocument]:
    """Return the documents that are cited, each once."""
    documents = dict.fromkeys(
        (citation.title, url_of(citation.uri), sources.of(citation)) for citation in citations
    )
    return [
        ReferencedDocument(doc_url=url, doc_title=title, source=source)
        for title, url, source in documents
    ]


def chunks_of(citations: Iterable[Citation], sources: Sources) -> list[RAGChunk]:
    """Return the texts that are cited."""
    return [
        RAGChunk(
            content=citation.text,
            source=sources.of(citation),
            score=citation.score,
            attributes=_attributes(citation),
        )
        for citation in citations
        if citation.text
    ]


def url_of(uri: str | None) -> str | None:
    """Return a reference if it is an address of the web, which is all that a page may link to."""
    try:
        return str(_URL.validate_python(uri))
    except ValidationError:
        return None


def _attributes(citation: Citation) -> dict[str, Any] | None:
    known = {
        "title": citation.title,
        "url": citation.uri,
        "document_id": citation.document_id,
    }
    return {name: value for name, value in known.items() if value} or None
