"""HTTP+JSON is not shaken by anything: other paths, queries, methods and bodies than it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.rest_routes import request
from tests.conformance.wire_0_3 import HTTP_0_3
from tests.conformance.wire_1_0 import HTTP_1_0
from tests.fuzz.checks import check_rest
from tests.fuzz.corpus import requests
from tests.fuzz.headers import headers_of
from tests.fuzz.lengths import LONG, SHORT
from tests.fuzz.mutations import any_of, damaged, mutated, odd_values, written
from tests.fuzz.request import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.rest_routes import Request
    from tests.conformance.wire import Wire
    from tests.fuzz.conftest import Tally
    from tests.fuzz.mutations import Draw
    from tests.fuzz.served import Served

pytestmark = pytest.mark.anyio

WIRES = (HTTP_1_0, HTTP_0_3)
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "QUERY", "get")
SEGMENTS = (
    *(
        "tasks",
        "message:send",
        "message%3Astream",
        "v1",
        "v2",
        "contexts",
        "card",
        "acme",
        "nobody",
    ),
    *("pushNotificationConfigs", "extendedAgentCard", "config", "@waiting", "@working:cancel"),
    *(
        "",
        ".",
        "..",
        "%2e%2e",
        "%2F",
        "%00",
        "%ff",
        "%",
        "%zz",
        "x" * 3000,
        ":",
        ":cancel",
        "a:b:c",
    ),
    *(
        "%F0%9F%9A%80",
        "a%20b",
        ";x=1",
        "*",
        "~",
        "$",
        "@completed:subscribe",
        "@completed%3Acancel",
    ),
)
QUERIES = (
    *("pageSize=0", "pageSize=-1", "pageSize=1e3", "pageSize=9999999999999999999999", "pageSize="),
    *(
        "status=X",
        "status=TASK_STATE_WORKING&status=working",
        "historyLength=-1",
        "historyLength=%00",
    ),
    *(
        "includeArtifacts=yes",
        "statusTimestampAfter=now",
        "pageToken=%ff",
        "pageToken=e30",
        "shape=x",
    ),
    *("A2A-Version=9", "a2a-version=1.0", "=", "&&&", "%", "a=%zz", "x" * 5000, "tenant=nobody"),
)


def valid(wire: Wire) -> list[Request]:
    """Return the valid requests of a version."""
    return [request(wire, method, params) for method, params in requests(wire)]


VALID = {wire: valid(wire) for wire in WIRES}


@st.composite
def changed(draw: Draw, wire: Wire) -> tuple[str, str, bytes]:
    """Valid requests, and such with another body in some places."""
    one = draw(any_of(VALID[wire]))
    if one.body is None:
        return one.verb, one.url, b""
    bodies = st.just(one.body)
    body = draw(bodies | mutated(bodies) | mutated(bodies))
    return one.verb, one.url, written(body, ascii_only=draw(st.booleans())).encode()


@st.composite
def elsewhere(draw: Draw, wire: Wire) -> tuple[str, str, bytes]:
    """Other paths, queries and methods."""
    verb, url, body = draw(changed(wire))
    path, _, query = url.partition("?")
    if draw(st.booleans()):
        segments = path.split("/")
        place = draw(st.integers(1, len(segments) - 1))
        segments[place : place + draw(st.integers(0, 1))] = [draw(any_of(SEGMENTS))]
        path = "/".join(segments)
    if draw(st.booleans()):
        query = "&".join([query, *draw(st.lists(any_of(QUERIES), min_size=1, max_size=3))])
    if draw(st.integers(0, 2)) == 0:
        verb = draw(any_of(METHODS))
    return verb, f"{path}?{query}" if query else path, body


@st.composite
def broken(draw: Draw, wire: Wire) -> tuple[str, str, bytes]:
    """Bodies that are not JSON any more, or never were, or are no object."""
    verb, url, body = draw(changed(wire))
    strange = st.binary(max_size=60) | odd_values.map(lambda value: written(value).encode())
    return verb, url, draw(damaged(st.just(body.decode())) | strange)


@st.composite
def sent(draw: Draw, kind: Callable[[Wire], st.SearchStrategy[tuple[str, str, bytes]]]) -> Sent:
    """Draw a request."""
    wire = draw(st.sampled_from(WIRES))
    verb, target, body = draw(kind(wire))
    media = "application/a2a+json" if wire.version == "1.0" else "application/json"
    right = ({"content-type": media} if body else {}) | dict(wire.headers)
    return Sent(wire, verb, target, draw(headers_of(right)), body)


async def check(server: Served, tally: Tally, request_: Sent) -> None:
    """Send one request; check what is answered, and that nothing else happened."""
    answer = await server.ask(request_)
    counted = tally[request_.wire.name]
    counted["requests"] += 1
    counted.update([f"HTTP {answer.status}", *check_rest(answer, request_)])
    await server.still_answers()
    assert server.errors.taken() == []


@SHORT(max_examples=120)
@given(request_=sent(changed))
async def test_changed_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@SHORT(max_examples=120)
@given(request_=sent(elsewhere))
async def test_other_paths(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@SHORT(max_examples=80)
@given(request_=sent(broken))
async def test_broken_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@pytest.mark.long
@LONG(max_examples=18_000)
@given(request_=sent(changed))
async def test_many_changed_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@pytest.mark.long
@LONG(max_examples=14_000)
@given(request_=sent(elsewhere))
async def test_many_other_paths(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@pytest.mark.long
@LONG(max_examples=8_000)
@given(request_=sent(broken))
async def test_many_broken_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)
