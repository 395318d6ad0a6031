"""How the parts of a message are put to the agents API."""

from __future__ import annotations

import pytest

from agent.errors import ContentTypeNotSupported
from agent.stacks import DataPart, FilePart, Part, TextPart
from agent.stacks.agents_api_messages import documents_of, message_of


def message(*parts: Part, before_documents: bool = False) -> object:
    """Return the content of the user's message."""
    return message_of(parts, before_documents=before_documents)["content"]


def test_text_alone_is_the_message() -> None:
    """The simplest shape that the server takes."""
    assert message(TextPart("Hello")) == "Hello"


def test_text_is_parted_from_the_documents_behind_it() -> None:
    """The server adds their text without a space."""
    assert message(TextPart("Sum up"), before_documents=True) == "Sum up\n\n"


def test_a_message_of_documents_alone_has_no_text() -> None:
    """The documents become its text."""
    assert message(FilePart("a.txt", "text/plain", data=b"x"), before_documents=True) == ""


def test_text_and_images_keep_their_order() -> None:
    """As base64."""
    assert message(
        TextPart("Before"),
        FilePart("a.png", "image/png", data=b"abc"),
        FilePart("b.png", "IMAGE/PNG; q=1", data=b"def"),
        TextPart("after"),
    ) == [
        {"type": "text", "text": "Before"},
        {"type": "image", "image": {"data": "YWJj"}},
        {"type": "image", "image": {"data": "ZGVm"}},
        {"type": "text", "text": "after"},
    ]


def test_texts_and_data_become_documents() -> None:
    """Their names go with the text: the API has no place for them."""
    parts = (
        TextPart("Look"),
        FilePart("a.md", "text/markdown; charset=utf-8", data="Grüße".encode()),
        FilePart(None, "text/plain; charset=latin-1", data="Grüße".encode("latin-1")),
        FilePart("c.yaml", "application/yaml", data=b"a: 1"),
        DataPart({"a": [1, None]}, "application/vnd.example+json"),
        FilePart("i.png", "image/png", data=b"x"),
    )
    assert documents_of(parts) == [
        {"content": "a.md:\nGrüße", "mime_type": "text/markdown"},
        {"content": "Grüße", "mime_type": "text/plain"},
        {"content": "c.yaml:\na: 1", "mime_type": "application/yaml"},
        {"content": '{"a":[1,null]}', "mime_type": "application/json"},
    ]


def test_a_media_type_that_the_server_cannot_read_is_refused_by_name() -> None:
    """Nothing is dropped silently."""
    with pytest.raises(ContentTypeNotSupported) as raised:
        documents_of([FilePart("a.pdf", "application/pdf", data=b"x")])
    assert raised.value.message == "The media type application/pdf is not supported."


@pytest.mark.parametrize("media_type", ["text/plain", "image/png"])
@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "http://169.254.169.254/", "https://a.example/"]
)
def test_the_server_is_sent_nowhere(uri: str, media_type: str) -> None:
    """It would fetch what it can reach and the caller cannot."""
    with pytest.raises(ContentTypeNotSupported):
        (
            message(FilePart(None, media_type, uri=uri)),
            documents_of([FilePart(None, media_type, uri=uri)]),
        )


@pytest.mark.parametrize("media_type", ["text/plain", "text/plain; charset=no-such-charset"])
def test_bytes_that_are_no_text_are_refused(media_type: str) -> None:
    """A replacement character would be a silent loss."""
    with pytest.raises(ContentTypeNotSupported):
        documents_of([FilePart("a.txt", media_type, data=b"\xff\xfe")])
