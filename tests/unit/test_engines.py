"""Which engine answers which operation, by what is behind the server and by the settings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, override

import pytest

from agent.cli.engines import lines_of
from agent.engines.engines import UNKNOWN, Engines
from agent.engines.operations import OPERATIONS
from agent.engines.told import hearing, tell
from agent.errors import StackUnavailable
from agent.settings import Settings
from agent.stacks.base import BaseStack, Model
from agent.stacks.remote import RemoteStack
from tests.fakes.agents_server import ALL_PATHS

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

RERANK = "/v1alpha/inference/rerank"
FORWARDED, EMULATED, EMBEDDED = "forwarded", "emulated", "embedded"


class Server(RemoteStack):
    """A Llama Stack with these paths and types of models; None while it is down."""

    def __init__(
        self,
        settings: Settings,
        paths: frozenset[str] | None,
        model_types: Sequence[str] = ("llm",),
    ) -> None:
        super().__init__(settings)
        self.paths = paths
        self.model_types = model_types
        self.asked = 0

    @override
    async def served(self) -> frozenset[str]:
        self.asked += 1
        if self.paths is None:
            raise StackUnavailable
        return self.paths

    @override
    async def models(self) -> Sequence[Model]:
        return [Model(f"p/{kind}", "p", kind) for kind in self.model_types]


def settings_of(**experimental: Any) -> Settings:
    """Return settings of a server with a Llama Stack."""
    return Settings.model_validate(
        {"llama_stack": {"url": "http://stack.test"}, "experimental": experimental}
    )


async def groups_of(engines: Engines) -> dict[str, set[str | None]]:
    """Return the engines of each group."""
    found: dict[str, set[str | None]] = {}
    for operation, choice in (await engines.table()).items():
        found.setdefault(operation.group, set()).add(choice.engine)
    return found


def test_there_are_34_operations() -> None:
    """As the specification has them, none twice."""
    assert len({(each.method, each.path) for each in OPERATIONS}) == 34


async def test_without_anything_behind_all_is_embedded() -> None:
    engines = Engines(Settings(), BaseStack(Settings()))

    assert set.union(*(await groups_of(engines)).values()) == {EMBEDDED}
    assert not await engines.forwards("agents")


async def test_a_stack_of_ones_own_runs_agents_and_what_is_evaluated() -> None:
    settings = Settings.model_validate({"stack": "somewhere:Stack"})

    groups = await groups_of(Engines(settings, BaseStack(settings)))

    assert groups["agents"] == {EMULATED}
    assert groups["eval"] == {EMULATED, EMBEDDED}
    assert groups["datasets"] == groups["post_training"] == {EMBEDDED}


@pytest.mark.parametrize(
    ("left_out", "model_types", "expected"),
    [
        ((), ("llm", "rerank"), (FORWARDED, FORWARDED, FORWARDED)),
        (("/v1alpha/agents",), ("llm",), (EMULATED, EMBEDDED, FORWARDED)),
        (("/v1alpha/post-training/job/status",), ("embedding",), (FORWARDED, EMULATED, EMBEDDED)),
        ((RERANK,), ("rerank", "embedding"), (FORWARDED, EMULATED, FORWARDED)),
    ],
    ids=["all", "without agents", "training moved", "without rerank"],
)
async def test_a_llama_stack_answers_what_it_has(
    left_out: tuple[str, ...], model_types: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """Datasets and evaluations are never its own."""
    settings = settings_of()
    server = Server(settings, ALL_PATHS - set(left_out), model_types)

    groups = await groups_of(Engines(settings, server))

    assert [groups[name] for name in ("agents", "inference", "post_training")] == [
        {each} for each in expected
    ]
    assert groups["datasets"] == {EMBEDDED}
    assert groups["eval"] == {EMULATED, EMBEDDED}


async def test_settings_limit_what_is_forwarded() -> None:
    settings = settings_of(forwarded=["post_training"])
    engines = Engines(settings, Server(settings, ALL_PATHS, ["rerank"]))

    groups = await groups_of(engines)

    assert (groups["agents"], groups["post_training"]) == ({EMULATED}, {FORWARDED})
    assert groups["inference"] == {EMBEDDED}
    reasons = {choice.reason for choice in (await engines.table()).values()}
    assert "experimental.forwarded leaves it out: over its other APIs" in reasons


async def test_a_server_that_is_down_is_asked_again_and_then_not_for_a_while() -> None:
    settings = settings_of()
    server, times = Server(settings, None), [0.0]
    engines = Engines(settings, server, 300.0, lambda: times[0])
    listing = OPERATIONS[0]

    assert (await engines.table())[listing] == (None, UNKNOWN)
    assert engines.presumed(listing) == EMULATED
    with pytest.raises(StackUnavailable):
        await engines.forwards("agents")
    server.paths = ALL_PATHS
    assert await engines.forwards("agents")
    assert engines.presumed(listing) == FORWARDED
    asked, times[0] = server.asked, 299.0
    await engines.table()
    assert server.asked == asked


async def test_a_server_may_be_another_after_a_while() -> None:
    """Or at once, where something is seen to be gone; one that is down has what it had before."""
    settings = settings_of()
    server, times = Server(settings, ALL_PATHS), [0.0]
    engines = Engines(settings, server, 300.0, lambda: times[0])
    assert await engines.forwards("agents")

    server.paths, times[0] = frozenset(), 300.0
    assert not await engines.forwards("agents")
    server.paths = ALL_PATHS
    assert not await engines.forwards("agents")
    engines.forget()
    assert await engines.forwards("agents")
    server.paths = None
    engines.forget()
    assert await engines.forwards("agents")


async def test_who_asks_at_the_same_time_shares_the_answer() -> None:
    settings = settings_of()
    server = Server(settings, ALL_PATHS)
    engines = Engines(settings, server)

    await asyncio.gather(*(engines.forwards("agents") for _ in range(5)))

    assert server.asked == 1


async def test_the_table_is_told_by_groups_and_by_operations_where_they_differ() -> None:
    settings = settings_of()

    lines = [*lines_of(await Engines(settings, Server(settings, None)).table())]

    assert lines[0] == ("agents", f"{UNKNOWN} (12)")
    named = [line for line in lines if line[0]]
    assert [name for name, _ in named] == [
        "agents",
        "datasets",
        "eval",
        "inference",
        "post_training",
    ]
    assert ("", "  POST /v1alpha/eval/benchmarks/{benchmark_id}/evaluations") in lines


def test_what_is_told_is_heard_within_the_request_alone() -> None:
    tell("agents", "forwarded")
    with hearing() as heard:
        tell("agents", "emulated")
        tell("inference", "embedded")
    tell("agents", "forwarded")

    assert heard == {"agents": "emulated", "inference": "embedded"}
