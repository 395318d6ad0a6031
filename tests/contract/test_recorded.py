"""What a real LCS was heard to answer, asked of this server on both kinds of stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.contract.differences import RECORDED, uncovered, unneeded
from tests.contract.fox_stack import fox_stack
from tests.contract.model import MODEL, fox_settings
from tests.contract.recordings import OURS, THEIRS, read
from tests.contract.replay import Replay
from tests.contract.servers import serving, settings_in
from tests.contract.shapes import different, lines_of, order_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    type Backed = Callable[[], AbstractAsyncContextManager[dict[str, Any]]]
    type Found = dict[str, str]

pytestmark = pytest.mark.anyio

BACKENDS: dict[str, Backed] = {"embedded": fox_settings, "llama stack": fox_stack}


CARD = """
name: Lightspeed AI Assistant
description: answers
protocolVersion: "0.3.0"
provider: {organization: Fox, url: "https://fox.example"}
skills:
- {id: qa, name: QA, description: answers, tags: [qa], inputModes: [text/plain],
   outputModes: [text/plain], examples: [hi]}
capabilities: {streaming: true, pushNotifications: false, stateTransitionHistory: false}
defaultInputModes: [text/plain]
defaultOutputModes: [text/plain]
security: [{bearer: []}]
security_schemes: {bearer: {type: http, scheme: bearer}}
"""


async def replayed(folder: Path, backed: Backed, files: list[Path]) -> Found:
    """Replay files; returns the differences by backend and place."""
    found: Found = {}
    async with backed() as given:
        settings = settings_in(folder, **(configured(folder) | given))
        async with serving(settings, folder) as server:
            for file in files:
                recorded = read(file.read_text())
                found |= await Replay(server.http).differences(recorded)
    return found


def configured(folder: Path) -> dict[str, Any]:
    """Return the configuration that the recorded LCS had, as far as it is not about its stack."""
    card = folder / "card.yaml"
    card.write_text(CARD)
    return {
        "name": "recorded",
        "service": {"base_url": "http://127.0.0.1:1", "color_log": False, "access_log": False},
        "database": {"sqlite": {"db_path": str(folder / "state.db")}},
        "a2a_state": {},
        "conversation_cache": {"type": "sqlite", "sqlite": {"db_path": str(folder / "cache.db")}},
        "customization": {"agent_card_path": str(card)},
        "inference": {"default_model": MODEL, "default_provider": "openai"},
    }


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_essentials_are_as_lcs_has_them(tmp_path: Path, backend: str) -> None:
    """This needs no recording of anybody else's."""
    with anyio.fail_after(60):
        found = await replayed(tmp_path, BACKENDS[backend], sorted(OURS.glob("*.txt")))
    assert found == {}


async def test_what_is_otherwise_than_recorded_is_listed_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    files = sorted(THEIRS.glob("*.txt"))
    if not files:
        pytest.skip("the recordings are not here")
    found: Found = {}
    with anyio.fail_after(120):
        for name, backed in BACKENDS.items():
            folder = tmp_path / name.replace(" ", "-")
            folder.mkdir()
            for place, said in (await replayed(folder, backed, files)).items():
                found[f"{name}: {place}"] = said
    untold = uncovered(found, RECORDED)
    assert [f"{place}: {found[place]}" for place in untold] == []
    assert unneeded(found, RECORDED) == []


def test_a_recording_is_read_as_it_was_written() -> None:
    first, *_, last = read((OURS / "essentials.txt").read_text())
    assert (first.name, first.method, first.path) == ("GET /v1/info", "GET", "/v1/info")
    assert (first.body, first.status, first.content_type) == (None, 200, "application/json")
    assert (last.status, last.text) == (405, '{"detail":"Method Not Allowed"}\n')


def test_shapes_tell_keys_types_and_constants_and_no_texts() -> None:
    known = {"a": [{"type": "x", "n": 1}], "ok": True, "text": "one", "none": None, "free": []}
    same = {
        "a": [{"type": "x", "n": 2.5}] * 2,
        "ok": False,
        "text": "two",
        "none": None,
        "free": [1],
    }
    assert different(shape_of(same), shape_of(known)) == {}
    other = {"a": [{"type": "y"}], "ok": 1, "text": None, "more": 1, "free": []}
    assert different(shape_of(other), shape_of(known)) == {
        "$.a[].n": "nothing instead of number",
        "$.a[].type": '"y" instead of "x"',
        "$.more": "number instead of nothing",
        "$.none": "nothing instead of null",
        "$.ok": "number instead of boolean",
        "$.text": "null instead of text",
    }


def test_the_order_of_events_and_lines_is_told_without_their_number() -> None:
    names = ["start", "token", "token", "tool_call", "tool_call", "token", "end"]
    assert (
        order_of([{"event": name} for name in names]) == "start token tool_call tool_call token end"
    )
    text = "data: {}\n\n[Tool Result]\none\ntwo\nStatus: 500 - short - long"
    assert lines_of(text) == ["data", "[Tool Result]", "text", "Status: 500 - short"]
