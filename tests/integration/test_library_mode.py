"""LCS's library mode: a Llama Stack in a process of its own, which starts, dies and ends as it should.

The package is a fake one. With ``LLAMA_STACK_PYTHON``, the Python of an environment that has a real one, and
``LLAMA_STACK_RUN``, a ``run.yaml`` for it, the real one is started too.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import psutil
import pytest
import yaml

from agent.app import create_app
from agent.errors import SettingsError, StackUnavailable
from agent.settings import Settings
from agent.stacks import TextDelta, TextPart, TurnCompleted, TurnRequest
from agent.stacks.library import LibraryStack
from tests.durability.process import Process, running, until
from tests.fakes.entra import FakeEntra, credentials
from tests.fakes.library import Library
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

PYTHON = os.environ.get("LLAMA_STACK_PYTHON")
RUN = os.environ.get("LLAMA_STACK_RUN")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Return the package, which processes that are started find."""
    library = Library(tmp_path)
    monkeypatch.setenv("PYTHONPATH", library.path)
    return library


@asynccontextmanager
async def opened(
    section: dict[str, Any], python: str = sys.executable, **sections: Any
) -> AsyncIterator[LibraryStack]:
    """Open the stack of these settings."""
    content = {"llama_stack": {**section, "library_python": python}, **sections}
    settings = Settings.model_validate(content)
    assert settings.llama_stack.library is not None
    stack = LibraryStack(settings, settings.llama_stack.library)
    try:
        with anyio.fail_after(90):
            await stack.open()
            yield stack
    finally:
        await stack.close()


async def answer_of(stack: LibraryStack) -> str:
    """Run a turn in a conversation of its own; returns its text."""
    request = TurnRequest(
        conversation_id=await stack.start_conversation("o"),
        task_id="t",
        context_id="c",
        message_id="m",
        owner="o",
        tenant="",
        parts=(TextPart("Hello"),),
    )
    events = [event async for event in stack.turn(request)]
    assert isinstance(events[-1], TurnCompleted)
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; nobody may have been told yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("api", ["responses", "agents"])
async def test_turns_run_on_whatever_api_it_has(library: Library, api: str) -> None:
    library.config.write_text(f"api: {api}\n")
    async with opened(library.settings) as stack:
        assert (await stack.health()).ok
        assert await answer_of(stack) == "from the library"


async def test_nobody_else_can_reach_it_and_nothing_is_left_of_it(library: Library) -> None:
    async with opened(library.settings):
        note = library.note
        assert note.socket.parent.stat().st_mode & 0o077 == 0
        assert psutil.Process(note.pid).net_connections("inet") == []
    assert is_gone(note.pid)
    assert not note.socket.parent.exists()


async def test_it_is_started_again_when_it_dies(library: Library) -> None:
    async with opened(library.settings) as stack:
        first = library.note
        psutil.Process(first.pid).kill()

        async def is_back() -> bool:
            return library.note.pid != first.pid and (await stack.health()).ok

        await until(is_back)
        assert await answer_of(stack) == "from the library"
        second = library.note
    assert is_gone(second.pid)


async def test_one_that_does_not_start_keeps_the_server_from_starting(library: Library) -> None:
    library.config.write_text("api: none\n")
    with pytest.raises(StackUnavailable) as caught:
        async with opened(library.settings):
            pass
    assert "does not start" in caught.value.message
    assert is_gone(library.note.pid)
    assert not library.note.socket.parent.exists()


async def test_a_python_that_is_not_there_is_told(library: Library) -> None:
    with pytest.raises(StackUnavailable) as caught:
        async with opened(library.settings, python="/nothing/python"):
            pass
    assert "cannot be started" in caught.value.message


async def test_it_starts_with_a_token_for_azure(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_API_KEY", raising=False)
    async with run_server(FakeEntra().app) as url:
        async with opened(library.settings, azure_entra_id=credentials(url)):
            assert library.note.azure == "token-1"
        monkeypatch.setenv("AZURE_API_KEY", "given")
        async with opened(library.settings, azure_entra_id=credentials(url)):
            assert library.note.azure == "given"


BYOK = {
    "rag_id": "docs",
    "vector_db_id": "vs_1",
    "db_path": "/data/rag.db",
    "embedding_model": "sentence-transformers/mini",
    "embedding_dimension": 64,
}


async def test_vector_stores_of_ones_own_are_put_into_its_configuration(library: Library) -> None:
    """Those that it has stay as they are, and so does all else."""
    have = {"vector_store_id": "vs_2", "provider_id": "own"}
    content = {
        "api": "responses",
        "apis": ["inference"],
        "key": "${env.SOMETHING:=}",
        "providers": {"inference": [{"provider_id": "sentence-transformers"}]},
        "registered_resources": {"vector_stores": [have]},
    }
    library.config.write_text(yaml.safe_dump(content))
    byok = [BYOK, BYOK | {"rag_id": "more", "vector_db_id": "vs_2"}]
    async with opened(library.settings, byok_rag=byok):
        given = yaml.safe_load((library.note.socket.parent / "run.yaml").read_text())
    backend = "byok_docs_storage"
    persistence = {"namespace": "vector_io::faiss", "backend": backend}
    assert given == {
        "api": "responses",
        "apis": ["inference", "vector_io"],
        "key": "${env.SOMETHING:=}",
        "providers": {
            "inference": [{"provider_id": "sentence-transformers"}],
            "vector_io": [
                {
                    "provider_id": "byok_docs",
                    "provider_type": "inline::faiss",
                    "config": {"persistence": persistence},
                }
            ],
        },
        "storage": {"backends": {backend: {"type": "kv_sqlite", "db_path": "/data/rag.db"}}},
        "registered_resources": {
            "vector_stores": [
                have,
                {
                    "vector_store_id": "vs_1",
                    "provider_id": "byok_docs",
                    "embedding_model": "sentence-transformers/mini",
                    "embedding_dimension": 64,
                },
            ],
            "models": [
                {
                    "model_id": "sentence-transformers/mini",
                    "provider_id": "sentence-transformers",
                    "provider_model_id": "sentence-transformers/mini",
                    "model_type": "embedding",
                    "metadata": {"embedding_dimension": 64},
                }
            ],
        },
    }


@pytest.mark.parametrize(
    "content", [None, "providers: []", "providers: [a]", "registered_resources: {vector_stores: 5}"]
)
async def test_a_configuration_that_takes_no_stores_is_told(
    library: Library, content: str | None
) -> None:
    library.config.unlink()
    if content is not None:
        library.config.write_text(content)
    empty = content == "providers: []"  # as if it were left out
    with pytest.raises(StackUnavailable if empty else SettingsError) as caught:
        async with opened(library.settings, byok_rag=[BYOK]):
            pass
    assert empty or str(library.config) in caught.value.message


async def test_a_package_beside_the_server_is_found_and_ends_when_the_server_is_killed(
    library: Library, tmp_path: Path
) -> None:
    process = Process(
        tmp_path,
        stack=None,
        llama_stack=library.settings,
        a2a_state={"sqlite": {"db_path": str(tmp_path / "state.db")}},
    )
    async with running(process):
        async with httpx.AsyncClient(base_url=process.url) as http:
            assert (await http.get("/readiness")).json()["ready"], process.log
        note = library.note
        assert not is_gone(note.pid)
        process.kill()
        with anyio.fail_after(20):
            await until(lambda: is_gone(note.pid))


async def test_without_the_package_the_embedded_stack_runs_the_turns(tmp_path: Path) -> None:
    section = Library(tmp_path).settings  # nobody is told where it is
    settings = Settings.model_validate({"llama_stack": section, "a2a_state": {"memory": True}})
    async with run_server(create_app(settings)) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/readiness")).json()["ready"]


@pytest.mark.live
@pytest.mark.skipif(not (PYTHON and RUN), reason="no real Llama Stack to start")
async def test_a_real_llama_stack_runs_as_a_library() -> None:
    section = {"use_as_library_client": True, "library_client_config_path": RUN}
    async with opened(section, PYTHON or "") as stack:
        assert (await stack.health()).ok
        assert await stack.models()
        assert await answer_of(stack)
