"""What is another's is not there for Llama Stack's experimental API either: see ``test_isolation``."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import pytest

from agent.agents.own_agents import OwnAgents
from tests.isolation import llama_stack_cases as cases
from tests.isolation.belongings import Belongings
from tests.isolation.report import EXPERIMENTAL
from tests.isolation.routes import llama_stack_of, parts_of, rest_routes, taking_ids
from tests.isolation.surfaces import RED, REST, filled
from tests.isolation.world import PRIVATE, Person, same, serving, told_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.isolation.routes import Parts
    from tests.isolation.surfaces import Answer
    from tests.isolation.world import Server

pytestmark = pytest.mark.anyio

# What is counted besides, now and then, falls between two counts: see ``test_isolation``.
TRIES = 4
WORKER = ("never started",)
TOLD = cases.VARIES.keys() - cases.ASKED_IN_VAIN
LISTS = (
    "/v1alpha/agents",
    "/v1beta/datasets",
    "/v1alpha/eval/benchmarks",
    "/v1alpha/post-training/jobs",
)


class Case(NamedTuple):
    """One kind of id of one operation."""

    named: str
    kind: str

    @property
    def changes(self) -> bool:
        """Whether something may be different afterwards."""
        return not self.named.startswith("GET ")

    @property
    def is_spent(self) -> bool:
        """Whether it can be asked for once: its owner ends it, or another has one of that name then."""
        return self.kind in cases.MAKES_ONES_OWN or self.named.endswith(("/resume", "/cancel"))


CASES = [Case(named, kind) for named, kinds in cases.ROUTES.items() for kind in kinds]
IDS = [f"{case.named}-{case.kind}" for case in CASES]


class World(NamedTuple):
    """A server, and what is there for all tests: nothing is taken from whom it belongs to."""

    server: Server
    parts: Parts
    kept: dict[Belongings, dict[str, str]]

    async def ids_of(self, owner: str, tenant: str = "", *, new: bool = False) -> dict[str, str]:
        """Return the ids of what somebody has."""
        belongings = Belongings(self.parts, owner, tenant)
        if new:
            return await belongings.settle()
        if belongings not in self.kept:
            self.kept[belongings] = await belongings.settle()
        return self.kept[belongings]

    async def has(self, case: Case, owner: str, ids: dict[str, str], tenant: str = "") -> Any:
        """Return what somebody has, where it could change."""
        return await Belongings(self.parts, owner, tenant).has(ids) if case.changes else None


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with serving(tmp_path_factory.mktemp("isolation")) as server:
        parts = parts_of(server.app)
        training: Any = parts.experimental.training
        # Jobs are taken, and nobody runs them.
        training._command = WORKER
        yield World(server, parts, {})


async def ask(case: Case, person: Person, ids: dict[str, str]) -> Answer:
    """Ask as a person, with ids."""
    named = cases.path_of(case.named, case.kind)
    with anyio.fail_after(10):
        return await REST.ask(
            person.server.reached,
            filled(named, ids, quoted=True),
            filled(cases.ROUTES[case.named][case.kind], ids | {"@new": str(uuid.uuid4())}),
            person.headers,
        )


class Work(NamedTuple):
    """An answer, and what it cost."""

    answer: Answer
    statements: list[str]
    calls: list[str]


async def worked(case: Case, person: Person, ids: dict[str, str]) -> Work:
    """Ask, and count."""
    before = len(person.server.script.calls)
    with person.server.counted() as statements:
        answer = await ask(case, person, ids)
        seen = list(statements)
    return Work(answer, seen, person.server.script.calls[before:])


def missing(real: str) -> str:
    """Return an id as ``real`` is one, that there is not."""
    return str(uuid.uuid4()) + real[36:] if "-" in real else secrets.token_hex(len(real) // 2)


async def held(case: Case, ids: dict[str, str], other: Person, own: dict[str, str]) -> None:
    """Ask as somebody whose the ids are not, and for what is not there."""
    varied = cases.VARIES[case.kind]
    ids |= {name.replace("@", "@own-"): value for name, value in own.items()}
    for _ in range(TRIES):
        nowhere = ids | {varied: missing(ids[varied])}
        theirs, none = await worked(case, other, ids), await worked(case, other, nowhere)
        assert same(theirs.answer, ids[varied]) == same(none.answer, nowhere[varied])
        if len(theirs.statements) == len(none.statements) or case.kind in cases.MAKES_ONES_OWN:
            break
    else:
        pytest.fail(f"{theirs.statements} is not what is asked for {none.statements}")
    assert theirs.calls == none.calls
    assert theirs.calls == []
    assert theirs.answer.is_good == (case.kind in cases.ASKED_IN_VAIN), theirs
    own_names = [name for name in ids if name.startswith("@own-")]
    assert told_of(ids, same(theirs.answer, ids[varied]).body, but=own_names) == []
    if case.kind != "named turn":
        # There the session is told, which is the asker's own.
        assert PRIVATE not in theirs.answer.body


async def test_every_operation_has_its_cases(world: World, record_property: Any) -> None:
    assert rest_routes(llama_stack_of(world.server.app)) == cases.ROUTES.keys()
    operations = len(cases.ROUTES.keys() - {"GET /v1alpha/openapi.json"})
    assert operations == 34
    record_property(EXPERIMENTAL, (operations, len(cases.VARIES), len(CASES)))


async def test_no_operation_that_takes_an_id_says_that_it_takes_none(world: World) -> None:
    without = {named for named, kinds in cases.ROUTES.items() if not kinds} - cases.OF_NOBODY
    assert [named for named in without if "{" in named] == []
    assert taking_ids(llama_stack_of(world.server.app)) & without == set()


def test_every_kind_of_id_is_asked_for() -> None:
    assert {case.kind for case in CASES} == cases.VARIES.keys()


async def test_these_are_operations_of_our_own(world: World) -> None:
    assert isinstance(world.parts.experimental.agents, OwnAgents)


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_what_is_anothers_is_answered_as_what_is_not_there(world: World, case: Case) -> None:
    ann, bob = Person(world.server, "ann"), Person(world.server, "bob")
    ids = await world.ids_of("ann", new=case.is_spent)
    had = await world.has(case, "ann", ids)
    await held(case, dict(ids), bob, await world.ids_of("bob"))
    assert await world.has(case, "ann", ids) == had
    if case.kind in TOLD:
        # To the owner it is there: the case would have told.
        mine = ids | {name.replace("@", "@own-"): value for name, value in ids.items()}
        answer = await ask(case, ann, mine)
        assert answer.is_good, answer


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_what_is_of_another_tenant_is_answered_as_what_is_not_there(
    world: World, case: Case
) -> None:
    """A2A has tenants, and these routes are in none."""
    ids = await world.ids_of("ann", RED, new=case.kind in cases.MAKES_ONES_OWN)
    had = await world.has(case, "ann", ids, RED)
    await held(case, dict(ids), Person(world.server, "ann"), await world.ids_of("ann"))
    assert await world.has(case, "ann", ids, RED) == had


@pytest.mark.parametrize("whose", ["another's", "one's own in another tenant"])
@pytest.mark.parametrize("operation", ["jobs", "evaluations"])
async def test_a_benchmark_does_not_read_a_dataset_that_is_not_the_callers(
    world: World, operation: str, whose: str
) -> None:
    bob = Person(world.server, "bob")
    theirs = await (world.ids_of("ann") if whose == "another's" else world.ids_of("bob", RED))
    answers = []
    for dataset in (theirs["@dataset"], str(uuid.uuid4())):
        benchmark = str(uuid.uuid4())
        register = Case("POST /v1alpha/eval/benchmarks", "dataset of a benchmark")
        named = {"@dataset": dataset, "@new": benchmark}
        path = f"/v1alpha/eval/benchmarks/{benchmark}/{operation}"
        asked = filled(cases.ROUTES[register.named][register.kind], named)
        posted = [
            await REST.ask(world.server.reached, f"POST {where}", body, bob.headers)
            for where, body in (
                ("/v1alpha/eval/benchmarks", asked),
                (path, cases.CONFIG),
            )
        ]
        assert [answer.status for answer in posted] == ["200", "404"]
        answers.append(same(posted[1], dataset))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("path", LISTS)
async def test_lists_show_nothing_that_is_anothers(world: World, path: str) -> None:
    known = [await world.ids_of("ann"), await world.ids_of("cid", RED)]
    own = await world.ids_of("cid")
    cid = Person(world.server, "cid")
    answer = await REST.ask(world.server.reached, f"GET {path}", None, cid.headers)
    assert answer.is_good
    assert told_of(own, answer.body, but=())
    for ids in known:
        assert told_of(ids, answer.body, but=()) == []


async def test_sessions_of_the_agent_that_all_have_are_ones_own(world: World) -> None:
    """It is everybody's, and what is said to it over A2A is not."""
    theirs = [
        (await Person(world.server, owner, tenant).send(PRIVATE))["contextId"]
        for owner, tenant in (("ann", ""), ("cid", RED))
    ]
    asked = (*theirs, missing(theirs[0]))
    cid = Person(world.server, "cid")
    mine = await cid.send("mine")
    headers, reached = cid.headers, world.server.reached
    agents = (await reached.http.get("/v1alpha/agents", headers=headers)).json()["data"]
    here = f"/v1alpha/agents/{agents[0]['agent_id']}"
    listed = await REST.ask(reached, f"GET {here}/sessions", None, headers)
    assert listed.is_good
    assert PRIVATE not in listed.body
    answers = [
        await REST.ask(reached, f"GET {here}/session/{session}", None, headers)
        for session in (mine["contextId"], *asked)
    ]
    assert [answer.status for answer in answers] == ["200", "404", "404", "404"]
    *told, none = [same(answer, one) for answer, one in zip(answers[1:], asked, strict=True)]
    assert told == [none, none]
