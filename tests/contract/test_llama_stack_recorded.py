"""What a real Llama Stack 0.3.5 was heard to answer, asked of this server on the embedded stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.contract.differences import uncovered, unneeded
from tests.contract.llama_stack_differences import RECORDED
from tests.contract.llama_stack_recordings import AGENTS, OTHERS, THEIRS, read
from tests.contract.llama_stack_replay import Replay
from tests.contract.llama_stack_schema import CHUNK, misfits, specification
from tests.contract.llama_stack_server import GUARD, llama_stack_server

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.anyio

STORE = "vs_564c808b-251e-49e6-8859-93b0f1e57720"


async def test_recorded_exchanges_are_answered_alike_but_for_what_is_listed() -> None:
    if not THEIRS.exists():
        pytest.skip("the recordings are not here")
    found: dict[str, str] = {}
    chunks: list[Any] = []
    with anyio.fail_after(120):
        for folder in (AGENTS, OTHERS):
            async with llama_stack_server() as http:
                replay = Replay(http, await names(http))
                found |= await replay.differences(read(folder))
                document = (await http.get("/v1alpha/openapi.json")).json()
            chunks += replay.chunks
    unlisted = uncovered(found, RECORDED)
    assert {place: found[place] for place in unlisted} == {}
    assert [each.place for each in unneeded(found, RECORDED)] == []
    assert len(chunks) > 100
    assert misfits(CHUNK, specification(), chunks) == []
    assert misfits(CHUNK, document, chunks) == []


async def names(http: httpx.AsyncClient) -> dict[str, str]:
    """Return what the recorded server calls otherwise: its shield, its model, its store of documents."""
    stores = (await http.get("/v1/rags")).json()["rags"]
    return {"llama-guard": GUARD, "vllm/mock-llm": "openai/mock-llm", STORE: stores[0]}
