"""The framing of server-sent events, however a stream is cut."""

from __future__ import annotations

import pytest

from agent.stacks.embedded.chat_stream import EVENT_BYTES, EventReader


def read(*pieces: bytes) -> list[bytes]:
    reader = EventReader()
    return [data for piece in pieces for data in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b'data: {"a": 1}\n\ndata: [DONE]\n\n', [b'{"a": 1}', b"[DONE]"]),
        (b"data:x\r\n\r\ndata:y\r\n\r\n", [b"x", b"y"]),
        (b"data: x\r\rdata: y\r\r", [b"x", b"y"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data:  x\n\n", [b" x"]),
        (b": a comment\n\nevent: ping\nid: 7\nretry: 9\n\ndata: x\n\n", [b"x"]),
        (b"event: error\ndata: x\n\n", [b"x"]),
        (b"data:\n\n", [b""]),
        (b"\n\n\ndata: x\n\n\n", [b"x"]),
        ("data: ä\n\n".encode(), ["ä".encode()]),
        (b"data: never ended\n", []),
        (b"<html>no events</html>", []),
        (b"", []),
    ],
)
def test_events_are_the_same_wherever_the_stream_is_cut(stream: bytes, events: list[bytes]) -> None:
    assert read(stream) == events
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == events
    for cut in range(len(stream)):
        assert read(stream[:cut], b"", stream[cut:]) == events


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    with pytest.raises(ValueError, match="too large"):
        read(*[piece] * (EVENT_BYTES // len(piece) + 2))


def test_a_stream_may_be_longer_than_any_event() -> None:
    reader = EventReader()
    half = b"\ndata: " + b"x" * (EVENT_BYTES // 4) + b"\n"
    assert sum(len(list(reader.feed(half))) for _ in range(8)) == 7
