"""Which actions the operations of Llama Stack's experimental API need: what the documentation says."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from agent.app import create_app
from agent.auth.access import ACTIONS, Access
from agent.auth.attempts import Attempts
from agent.auth.base import Identity, Immediate, Presented
from agent.auth.gate import Gate
from agent.settings import Settings
from agent.settings.access import AccessRule
from agent.settings.own import Limits
from rest_compat.llama_stack.app import make_llama_stack
from tests.contract.llama_stack_operations import OPERATIONS
from tests.fakes.scripted_stack import scripted
from tests.isolation.belongings import Belongings
from tests.isolation.llama_stack_cases import MAKES_ONES_OWN, ROUTES, VARIES, path_of
from tests.isolation.routes import parts_of
from tests.isolation.surfaces import filled
from tests.isolation.world import Counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.isolation.cases import Json

pytestmark = pytest.mark.anyio

DOCUMENTED = Path(__file__).parents[2] / "docs" / "llama-stack-api.md"
ACTION = dict(
    re.findall(r"^\| `([A-Z]+ /v1\w+/[^`]+)` \| `(\w+)` \|", DOCUMENTED.read_text(), re.MULTILINE)
)
# To evaluate is to ask models and agents, and who makes an agent chooses its model.
BESIDE = {"agents": ["model_override"], "eval": ["query", "agents", "model_override"]}
RULES = [
    rule
    for action in sorted(set(ACTION.values()))
    for rule in (
        {"role": f"only {action}", "actions": [action, *BESIDE.get(action, ())]},
        {"role": f"without {action}", "actions": sorted(ACTIONS - {action, "admin"})},
    )
]
# Of those that take no id.
BODIES: dict[str, Json] = {
    "POST /v1alpha/agents": {"model": "m", "instructions": "i"},
    "POST /v1alpha/inference/rerank": {"model": "m", "query": "q", "items": ["a", "b"]},
}
# There is no reranker, and the worker of training is an extra.
NOT_HERE = {
    "POST /v1alpha/inference/rerank",
    "POST /v1alpha/post-training/supervised-fine-tune",
    "POST /v1alpha/post-training/preference-optimize",
}


class Roles(Immediate):
    """Believes who says what their role is."""

    async def identify(self, presented: Presented) -> Identity:
        """Return the owner of everything, with a role."""
        return Identity("ann", roles=frozenset({presented.headers["x-role"]}))


class Served(NamedTuple):
    """The routes, and what is behind them."""

    http: httpx.AsyncClient
    script: Counted
    belongings: Belongings
    ids: dict[str, str]

    async def ask(self, operation: str, role: str) -> httpx.Response:
        """Ask for what is there."""
        (named,) = [each for each in ROUTES if each.replace(":path", "") == operation]
        kinds = ROUTES[named]
        kind = next((each for each in kinds if each in MAKES_ONES_OWN), next(iter(kinds), ""))
        # What would make something makes it new.
        new = {VARIES[kind]: str(uuid.uuid4())} if kind in MAKES_ONES_OWN else {}
        path = filled(path_of(named, kind) if kind else named, self.ids, quoted=True)
        asked = filled(kinds[kind], self.ids | new) if kind else BODIES.get(operation)
        verb, path = path.split(" ")
        headers = {"x-role": role}
        if verb in {"GET", "DELETE"}:
            return await self.http.request(verb, path, headers=headers, params=asked)
        return await self.http.request(verb, path, headers=headers, json=asked)

    async def state(self) -> Json:
        """Return all that there is."""
        lists = [
            await self.http.get(path, headers={"x-role": f"only {action}"})
            for (verb, _, path), action in ((each.partition(" "), ACTION[each]) for each in ACTION)
            if verb == "GET" and "{" not in path and "/job/" not in path
        ]
        return [*(listed.json() for listed in lists), await self.belongings.has(self.ids)]


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    script = Counted()
    folder = tmp_path_factory.mktemp("trained")
    with scripted(script) as name:
        settings = Settings(
            name=name,
            stack="tests.isolation.world:CountingStack",
            a2a_state={"memory": True},  # type: ignore[arg-type]
            experimental={"training": {"folder": folder}},  # type: ignore[arg-type]
        )
        app = create_app(settings)
        parts = parts_of(app)
        gate = Gate(Roles(), Access(map(AccessRule.model_validate, RULES)), Attempts(Limits()))
        metrics = parts.engine.aside.metrics
        routes = make_llama_stack(gate, settings, parts.experimental, metrics)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(routes), base_url="http://here"
            ) as http,
        ):
            belongings = Belongings(parts, "ann")
            ids = await belongings.settle()
            own = {each.replace("@", "@own-"): value for each, value in ids.items()}
            yield Served(http, script, belongings, ids | own | {"@new": "new"})


def test_every_operation_is_documented_with_its_action() -> None:
    assert ACTION.keys() == set(OPERATIONS)
    assert set(ACTION.values()) == {
        "agents",
        "datasets",
        "eval",
        "post_training",
        "query",
        "rerank",
    }


@pytest.mark.parametrize("action", sorted(set(ACTION.values())))
async def test_without_its_action_an_operation_is_refused_and_nothing_happens(
    served: Served, action: str
) -> None:
    had, calls = await served.state(), list(served.script.calls)
    for operation in OPERATIONS:
        if ACTION[operation] == action:
            refused = await served.ask(operation, f"without {action}")
            assert refused.status_code == 403, operation
            assert refused.json() == {
                "status": 403,
                "title": "Forbidden",
                "detail": "User ann is not authorized to access this endpoint.",
            }
    assert await served.state() == had
    assert served.script.calls == calls


@pytest.mark.parametrize("action", ["query", "agents"])
@pytest.mark.parametrize("operation", ["evaluations", "jobs"])
async def test_who_may_not_ask_an_agent_does_not_evaluate_one(
    served: Served, operation: str, action: str
) -> None:
    named = f"POST /v1alpha/eval/benchmarks/{{benchmark_id}}/{operation}"
    assert (await served.ask(named, f"without {action}")).status_code == 403


def _deletes(operation: object) -> bool:
    return str(operation).startswith("DELETE")


@pytest.mark.parametrize("operation", sorted(OPERATIONS, key=_deletes))
async def test_an_operation_needs_no_other_action(served: Served, operation: str) -> None:
    answer = await served.ask(operation, f"only {ACTION[operation]}")
    if operation in NOT_HERE:
        assert answer.status_code in {404, 501}
    else:
        assert answer.status_code in {200, 204}, answer.text
