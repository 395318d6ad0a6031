"""What an answer was taken from, as LCS shows it."""

from __future__ import annotations

import pytest

from agent.stacks import Citation
from rest_compat.lightspeed.references import Sources, chunks_of, documents_of, url_of

CITED = [
    Citation("A", "https://a.test/", "one", "a", 0.5),
    Citation("A", "https://a.test/", "two", "a"),
    Citation("log", "log", "three", "log"),
    Citation("A", None, None, "a"),
]
SOURCES = Sources("docs", frozenset({"log"}))


def test_a_document_is_named_once() -> None:
    assert [tuple(each.model_dump().values()) for each in documents_of(CITED, SOURCES)] == [
        ("https://a.test/", "A", "docs"),
        (None, "log", None),
        (None, "A", "docs"),
    ]


def test_every_text_is_a_chunk_and_an_attachment_is_in_no_store() -> None:
    chunks = [each.model_dump() for each in chunks_of(CITED, SOURCES)]
    assert [chunk["content"] for chunk in chunks] == ["one", "two", "three"]
    assert [chunk["source"] for chunk in chunks] == ["docs", "docs", None]
    assert chunks[0]["score"] == 0.5
    about = {"title": "A", "url": "https://a.test/", "document_id": "a"}
    assert chunks[0]["attributes"] == about


@pytest.mark.parametrize(
    "uri",
    [None, "", "notes.md#a", "/etc/passwd", "javascript:alert(1)", "data:text/html,x", "http://"],
)
def test_nothing_is_linked_but_the_web(uri: str | None) -> None:
    assert url_of(uri) is None


def test_an_address_is_written_so_that_it_can_be_linked() -> None:
    assert url_of("https://A.test/b c?d#e") == "https://a.test/b%20c?d#e"
