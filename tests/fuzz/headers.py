"""Headers of generated requests: mostly those that belong there, sometimes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.fuzz.mutations import Draw
    from tests.fuzz.served import Headers

ODD: dict[bytes, list[bytes]] = {
    b"content-type": [
        *(b"", b"text/plain", b"application/json; charset=utf-8", b"APPLICATION/JSON", b"\xff"),
        *(b"application/a2a+json", b"application/json, text/html", b";", b"multipart/form-data"),
    ],
    b"a2a-version": [
        *(b"", b"1.0", b"0.3", b"0.3.0", b"1.0.7", b" 1.0 ", b"1", b"2.0", b"0.1", b"1.x", b"\xe9"),
        *(b"x" * 5000, b"1.0, 0.3", b"-1", b"\x00"),
    ],
    b"a2a-extensions": [b"", b",,", b"urn:x", b"urn:x, urn:y", b"\xff\xfe", b"a" * 9000],
    b"x-a2a-extensions": [b"urn:z"],
    b"last-event-id": [
        b"",
        b"0",
        b"1",
        b"-1",
        b"1.5",
        b"9" * 30,
        b"9" * 5000,
        b"x",
        b"\xb2",
        b"5000000",
    ],
    b"idempotency-key": [b"", b"key", b"k" * 300, b"\x00", b"\xff", b" ", b"a b"],
    b"content-length": [b"0", b"-1", b"abc", b"99999999999", b"9" * 5000, b"\xb2"],
    b"accept": [
        b"",
        b"*/*",
        b"application/a2a+json;q=x",
        b"text/event-stream",
        b"\xff",
        b";q=",
        b",",
    ],
    b"authorization": [b"", b"Bearer secret", b"Basic !", b"\xff"],
    b"transfer-encoding": [b"chunked"],
}
odd_header = st.sampled_from(sorted(ODD)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(ODD[name]) | st.binary(max_size=12))
)


@st.composite
def headers_of(draw: Draw, right: dict[str, str]) -> Headers:
    """Draw headers: those that are right, and in one of five cases others in their place."""
    named = {name.lower().encode(): value.encode() for name, value in right.items()}
    if draw(st.integers(0, 4)) == 0:
        named |= dict(draw(st.lists(odd_header, min_size=1, max_size=3)))
    return list(named.items())
