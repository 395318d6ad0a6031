"""What is another's is not there: every operation that takes an id is asked for one that nobody has, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import pytest

from agent.app import create_app
from agent.settings import Settings
from tests.isolation.cases import (
    A2A_ROUTES,
    HEADERS,
    MAKES_ONES_OWN,
    OF_NOBODY,
    SENDING,
    VARIES,
)
from tests.isolation.report import PROPERTY
from tests.isolation.routes import a2a_routes, rest_of, taking_ids
from tests.isolation.surfaces import RED, REST, SURFACES, Http, Rest, filled, in_path
from tests.isolation.world import BLUE, PRIVATE, Person, missing, same, serving, told_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.isolation.surfaces import Answer, Surface
    from tests.isolation.world import Server

pytestmark = pytest.mark.anyio

# What else the server does now and then may fall between two counts, and not so often.
TRIES = 4
# Kinds of which somebody else is told that there is nothing, and what leaves less behind for its owner.
TOLD = frozenset({"task", "event of a task", "ended task", "ended context", "referenced task"})
TOLD |= {"conversation"}
TAKING = frozenset(
    {"send", "stream", "cancel", "delete", "delete_context", "create_push_config"}
    | {"delete_push_config"}
)
# Once somebody else has used it, it is one of theirs too.
USED_ONCE = frozenset({"idempotency key", "message", "context"})


class Case(NamedTuple):
    """One kind of id of one operation."""

    surface: Surface
    named: str
    operation: str
    kind: str

    @property
    def id(self) -> str:
        """Name the test."""
        return f"{self.surface.name}-{self.named}-{self.kind}"


def _cases() -> Iterator[Case]:
    for surface in (*SURFACES, REST):
        operations = surface.operations()
        for named, kinds in surface.table.items():
            for kind in kinds:
                yield Case(surface, named, operations.get(named, ""), kind)


CASES = list(_cases())
IN_TENANTS = [case for case in CASES if case.surface.tenant]
LISTS = [
    (surface, named)
    for surface in SURFACES
    for named, operation in surface.operations().items()
    if operation == "list"
]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("isolation")) as running:
        yield running


async def ask(case: Case, person: Person, ids: dict[str, str]) -> Answer:
    """Ask as a person, with ids."""
    named, kinds = case.named, case.surface.table
    asked = filled(kinds[named][case.kind], ids)
    if isinstance(case.surface, (Http, Rest)):
        named = filled(in_path(named, case.kind), ids, quoted=True)
    headers = filled(HEADERS.get(case.kind, {}), ids) | person.headers
    with anyio.fail_after(10):
        return await case.surface.ask(person.server.reached, named, asked, headers)


class Kept(NamedTuple):
    """What somebody has, and that it is the same as ever."""

    ids: dict[str, str]
    there: Any


@pytest.fixture(scope="module")
def kept() -> dict[Person, Kept]:
    """Return what people have whom nothing is taken from: it is there for all tests."""
    return {}


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


async def compared(case: Case, person: Person, ids: dict[str, str]) -> tuple[Work, Work]:
    """Ask for what is another's and for what is not there, until what it costs can be told."""
    varied = VARIES[case.kind]
    for _ in range(TRIES):
        nowhere = ids | {varied: missing(varied, ids[varied])}
        theirs = await worked(case, person, ids)
        none = await worked(case, person, nowhere)
        assert same(theirs.answer, ids[varied]) == same(none.answer, nowhere[varied])
        if len(theirs.statements) == len(none.statements):
            break
        if case.operation in SENDING and case.kind in MAKES_ONES_OWN:
            # How writing falls into transactions is a matter of the moment.
            break
    return theirs, none


def test_every_operation_of_every_surface_has_its_cases(record_property: Any) -> None:
    surfaces = (*SURFACES, REST)
    for surface in surfaces:
        assert surface.operations().keys() == surface.table.keys(), surface.name
    app = create_app(Settings.model_validate({"a2a_state": {"memory": True}}))
    assert a2a_routes(app) == A2A_ROUTES.keys()
    count = sum(len(surface.table) for surface in surfaces) + len(A2A_ROUTES)
    record_property(PROPERTY, (count, len(VARIES), len(CASES)))


def test_no_operation_that_takes_an_id_says_that_it_takes_none() -> None:
    for table in (A2A_ROUTES, *(surface.table for surface in (*SURFACES, REST))):
        without = {named for named, kinds in table.items() if not kinds} - OF_NOBODY
        assert [named for named in without if "{" in named] == []
    app = create_app(Settings.model_validate({"a2a_state": {"memory": True}}))
    without = {named for named, kinds in REST.table.items() if not kinds} - OF_NOBODY
    assert taking_ids(rest_of(app)) & without == set()


def test_every_kind_of_id_is_asked_for() -> None:
    assert {case.kind for case in CASES} == VARIES.keys()


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_what_is_anothers_is_answered_as_what_is_not_there(
    server: Server, kept: dict[Person, Kept], case: Case
) -> None:
    tenant = case.surface.tenant
    await check(case, kept, Person(server, "ann", tenant), Person(server, "bob", tenant))


@pytest.mark.parametrize("case", IN_TENANTS, ids=[case.id for case in IN_TENANTS])
async def test_what_is_of_another_tenant_is_answered_as_what_is_not_there(
    server: Server, kept: dict[Person, Kept], case: Case
) -> None:
    """The same user asks in one tenant for what is theirs in another."""
    await check(case, kept, Person(server, "ann", BLUE), Person(server, "ann", RED))


async def check(case: Case, kept: dict[Person, Kept], owner: Person, other: Person) -> None:
    """Hold an id of the owner's against one that there is not, for somebody else."""
    is_spent = case.kind in USED_ONCE or (case.operation in TAKING and case.kind in TOLD)
    had = None if is_spent else kept.get(owner)
    if had is None:
        ids = await owner.settle()
        had = Kept(ids, await owner.has(ids))
    if not is_spent:
        kept[owner] = had
    if case.kind in {"idempotency key", "message"}:
        await uses_it(case, owner, had.ids)
    await held(case, had.ids, other)
    assert await owner.has(had.ids) == had.there
    if case.kind in TOLD and case.operation != "subscribe":
        # To the owner it is there: the case would have told. A stream of what waits would not end.
        mine = await ask(in_tenant_of(case, owner), owner, had.ids)
        assert mine.is_good, mine


async def held(case: Case, ids: dict[str, str], other: Person) -> None:
    """Ask as somebody whose the ids are not."""
    own = {"@own": (await other.send("mine"))["id"]} if _says_own(case) else {}
    theirs, none = await compared(case, other, ids | own)
    makes_own = case.operation in SENDING and case.kind in MAKES_ONES_OWN
    assert theirs.calls == none.calls == (["start_conversation", "turn"] if makes_own else [])
    if makes_own:
        assert theirs.answer.is_good
    else:
        assert len(theirs.statements) == len(none.statements)
    if case.kind in TOLD:
        assert not theirs.answer.is_good
    assert told_of(ids, theirs.answer.body, but=[VARIES[case.kind]]) == []
    assert PRIVATE not in theirs.answer.body


def _says_own(case: Case) -> bool:
    asked = case.surface.table[case.named][case.kind]
    return "@own" in f"{asked} {in_path(case.named, case.kind)}"


def in_tenant_of(case: Case, person: Person) -> Case:
    """Return the case as it is asked in the tenant of a person."""
    surface: Any = case.surface
    return case._replace(surface=surface._replace(tenant=person.tenant))


async def uses_it(case: Case, owner: Person, ids: dict[str, str]) -> None:
    """Let the owner send a message with the key, and once more: it is the same task."""
    mine = in_tenant_of(case, owner)
    first, again = await ask(mine, owner, ids), await ask(mine, owner, ids)
    assert first.is_good, first
    assert again.is_good, again
    tasks = [_tasks_in(answer.body) for answer in (first, again)]
    assert tasks[0] & tasks[1]


def _tasks_in(body: str) -> set[str]:
    return set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", body))


@pytest.mark.parametrize("kind", ["idempotency key", "message"], ids=["idempotency key", "message"])
@pytest.mark.parametrize("surface", SURFACES, ids=[surface.name for surface in SURFACES])
async def test_a_key_that_another_used_makes_a_task_of_ones_own(
    server: Server, surface: Surface, kind: str
) -> None:
    (case,) = [
        case
        for case in CASES
        if (case.surface.name, case.operation, case.kind) == (surface.name, "send", kind)
    ]
    ann, bob = (Person(server, user, surface.tenant) for user in ("ann", "bob"))
    ids = await ann.settle()
    hers, his = await ask(case, ann, ids), await ask(case, bob, ids)
    known = {ids["@message"]}
    assert (_tasks_in(hers.body) - known).isdisjoint(_tasks_in(his.body) - known)
    assert _tasks_in(his.body) - known


@pytest.mark.parametrize("surface", SURFACES, ids=[surface.name for surface in SURFACES])
async def test_a_context_that_another_has_is_a_conversation_of_ones_own(
    server: Server, surface: Surface
) -> None:
    (case,) = [
        case
        for case in CASES
        if (case.surface.name, case.operation, case.kind) == (surface.name, "send", "context")
    ]
    ann, bob = (Person(server, user, surface.tenant) for user in ("ann", "bob"))
    ids = await ann.settle()
    assert (await ask(case, bob, ids)).is_good
    turns = [t for t in server.script.requests if t.context_id == ids["@context"]]
    assert [turn.owner for turn in turns] == ["ann", "bob"]
    assert len({turn.conversation_id for turn in turns}) == 2


@pytest.mark.parametrize(
    ("surface", "named"), LISTS, ids=[f"{surface.name}-{named}" for surface, named in LISTS]
)
async def test_lists_show_nothing_that_is_anothers(
    server: Server, surface: Surface, named: str
) -> None:
    ann, cid = (Person(server, user, surface.tenant) for user in ("ann", "cid"))
    elsewhere = Person(server, "cid", BLUE)
    known = [await ann.settle(), await elsewhere.settle()]
    own = await cid.send("mine")
    params = {"pageSize": 100}
    answer = await surface.ask(server.reached, named, params, cid.headers)
    assert answer.is_good
    assert own["id"] in answer.body
    for ids in known:
        assert told_of(ids, answer.body, but=()) == []
    assert PRIVATE not in answer.body
