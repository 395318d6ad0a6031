"""JSON-RPC is not shaken by anything: generated requests, and valid ones that were changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.channels import rpc_call
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.fuzz.checks import check_rpc
from tests.fuzz.corpus import requests
from tests.fuzz.headers import headers_of
from tests.fuzz.lengths import LONG, SHORT
from tests.fuzz.mutations import any_of, damaged, json_values, mutated, odd_values, written
from tests.fuzz.request import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.wire import Json, Wire
    from tests.fuzz.conftest import Tally
    from tests.fuzz.mutations import Draw
    from tests.fuzz.served import Served

pytestmark = pytest.mark.anyio

WIRES = (V1_0, V0_3)


def calls(wire: Wire) -> st.SearchStrategy[Json]:
    """Return the strategy of valid requests."""
    valid = [
        rpc_call(method, params, call_id)
        for method, params in requests(wire)
        for call_id in (1, "two")
    ]
    notifications = [{name: call[name] for name in call if name != "id"} for call in valid[::2]]
    return any_of(valid * 4 + notifications)


CALLS = {wire: calls(wire) for wire in WIRES}
TEXTS = {
    wire: st.builds(
        lambda value, ascii_only: written(value, ascii_only=ascii_only),
        CALLS[wire] | mutated(CALLS[wire]),
        st.booleans(),
    )
    for wire in WIRES
}


def changed(wire: Wire) -> st.SearchStrategy[bytes]:
    """Valid requests, and such with other content in some places."""
    return TEXTS[wire].map(str.encode)


def batches(wire: Wire) -> st.SearchStrategy[bytes]:
    """Several of them at once."""
    strange = odd_values.map(written)
    return st.lists(TEXTS[wire] | strange, max_size=6).map(
        lambda texts: f"[{','.join(texts)}]".encode()
    )


def broken(wire: Wire) -> st.SearchStrategy[bytes]:
    """What is not JSON any more, or never was, or is no request."""
    strange = st.binary(max_size=60) | json_values.map(lambda value: written(value).encode())
    return damaged(TEXTS[wire]) | strange


@st.composite
def sent(draw: Draw, bodies: Callable[[Wire], st.SearchStrategy[bytes]]) -> Sent:
    """Draw a request. All is drawn before anything is sent: hypothesis may want to stop in between."""
    wire = draw(st.sampled_from(WIRES))
    right = {"content-type": "application/json"} | dict(wire.headers)
    path = draw(st.sampled_from(("/a2a", "/", "/a2a/")))
    return Sent(wire, "POST", path, draw(headers_of(right)), draw(bodies(wire)))


async def check(server: Served, tally: Tally, request: Sent) -> None:
    """Send one request; check what is answered, and that nothing else happened."""
    answer = await server.ask(request)
    counted = tally[request.wire.name]
    counted["requests"] += 1
    counted.update(
        [f"HTTP {answer.status}", *check_rpc(answer, request, server.named(request.body))]
    )
    await server.still_answers()
    assert server.errors.taken() == []


@SHORT(max_examples=200)
@given(request_=sent(changed))
async def test_changed_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@SHORT(max_examples=50)
@given(request_=sent(batches))
async def test_batches(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@SHORT(max_examples=100)
@given(request_=sent(broken))
async def test_broken_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@pytest.mark.long
@LONG(max_examples=26_000)
@given(request_=sent(changed))
async def test_many_changed_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@pytest.mark.long
@LONG(max_examples=6_000)
@given(request_=sent(batches))
async def test_many_batches(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)


@pytest.mark.long
@LONG(max_examples=8_000)
@given(request_=sent(broken))
async def test_many_broken_requests(server: Served, tally: Tally, request_: Sent) -> None:
    await check(server, tally, request_)
