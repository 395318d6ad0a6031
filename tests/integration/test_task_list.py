"""An owner's tasks, a page at a time."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from a2a_state.tables import task_events, tasks
from agent.caller import Caller
from agent.errors import InvalidParams, StateError
from agent.model import (
    TERMINAL,
    Artifact,
    ArtifactUpdate,
    ListRequest,
    Message,
    Part,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)
from agent.task_page import TaskList
from tests.fakes.state import open_database
from tests.fakes.statements import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

    from a2a_state.database import Database
    from agent.model import TaskPage

pytestmark = pytest.mark.anyio

ANN, BOB = Caller("ann"), Caller("bob")
NOON = 1_800_000_000_000
STATES = (TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.COMPLETED, TaskState.FAILED)
MANY = 10_000
PLENTY = 2**30


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


def task_id(number: int) -> str:
    """Return an id that looks like those of tasks."""
    return f"{number:08x}-0000-7000-8000-000000000000"


def body(number: int = 1, state: TaskState = TaskState.COMPLETED, **members: Any) -> bytes:
    """Return a stored task."""
    return msgspec.json.encode(Task(task_id(number), "context", TaskStatus(state), **members))


def row(
    number: int, at: int = NOON, state: TaskState = TaskState.COMPLETED, **changes: Any
) -> dict[str, Any]:
    """Return a row of ann's whose status is of ``at``."""
    return {
        "task_id": task_id(number),
        "owner": "ann",
        "tenant": "",
        "context_id": "context",
        "state": state.value,
        "body": body(number, state),
        "seq": 1,
        "fence": 1,
        "lease_holder": "here",
        "lease_until": 0,
        "created_at": at,
        "updated_at": at,
        "ended_at": at if state in TERMINAL else None,
    } | changes


async def add(database: Database, *rows: dict[str, Any]) -> None:
    """Store rows of tasks."""
    if rows:
        await database.write(lambda c: c.execute(tasks.insert(), list(rows)))


def numbers(page: TaskPage) -> list[int]:
    """Return which tasks are on a page."""
    return [int(task.id[:8], 16) for task in page.tasks]


async def all_pages(task_list: TaskList, caller: Caller, request: ListRequest) -> list[TaskPage]:
    """Return all pages of a list."""
    pages = [await task_list.page(caller, request)]
    while pages[-1].next_page_token:
        request = msgspec.structs.replace(request, page_token=pages[-1].next_page_token)
        pages.append(await task_list.page(caller, request))
    return pages


async def test_the_task_that_changed_last_comes_first(database: Database) -> None:
    """Of those that changed at once, the one with the greater id."""
    await add(database, row(1, NOON), row(2, NOON + 1), row(3, NOON - 1), row(4, NOON))

    page = await TaskList(database, PLENTY).page(ANN, ListRequest())

    assert numbers(page) == [2, 4, 1, 3]
    assert (page.next_page_token, page.page_size, page.total_size) == ("", 50, 4)


async def test_who_has_no_task_gets_an_empty_page(database: Database) -> None:
    await add(database, row(1))

    page = await TaskList(database, PLENTY).page(BOB, ListRequest(page_size=3))

    assert (page.tasks, page.next_page_token, page.page_size, page.total_size) == ([], "", 3, 0)


async def test_a_last_page_that_is_full_has_no_token(database: Database) -> None:
    await add(database, *(row(number) for number in range(4)))

    pages = await all_pages(TaskList(database, PLENTY), ANN, ListRequest(page_size=2))

    assert [numbers(page) for page in pages] == [[3, 2], [1, 0]]


async def test_another_owners_or_tenants_tasks_are_not_there(database: Database) -> None:
    await add(
        database,
        row(1),
        row(2, owner="bob"),
        row(3, tenant="x"),
        row(4, owner="bob", tenant="x"),
        row(5, owner=""),
    )

    for caller, expected in ((ANN, [1]), (BOB, [2]), (Caller("ann", "x"), [3])):
        for request in (ListRequest(), ListRequest(context_id="context")):
            page = await TaskList(database, PLENTY).page(caller, request)
            assert (numbers(page), page.total_size) == (expected, 1)


async def test_a_moment_is_within_what_comes_after_it(database: Database) -> None:
    await add(database, row(1, NOON - 1), row(2, NOON), row(3, NOON + 1))

    page = await TaskList(database, PLENTY).page(ANN, ListRequest(updated_after=NOON))

    assert (numbers(page), page.total_size) == ([3, 2], 2)


_ROWS = st.lists(
    st.tuples(
        st.integers(NOON, NOON + 4), st.sampled_from(STATES), st.sampled_from(["one", "two"])
    ),
    max_size=24,
)
_REQUESTS = st.builds(
    ListRequest,
    context_id=st.sampled_from(["", "one", "two"]),
    status=st.sampled_from([None, *STATES]),
    page_size=st.integers(1, 7),
    updated_after=st.none() | st.integers(NOON, NOON + 5),
    include_artifacts=st.booleans(),
)


def is_wanted(stored: dict[str, Any], request: ListRequest) -> bool:
    """Tell whether a task fits the filters."""
    return (
        request.context_id in ("", stored["context_id"])
        and (request.status is None or request.status.value == stored["state"])
        and (request.updated_after is None or stored["updated_at"] >= request.updated_after)
    )


_EXAMPLES = count(1)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(made=_ROWS, request_=_REQUESTS, bumped=st.sets(st.integers(0, 23)))
async def test_no_page_leaves_out_or_repeats_a_task_that_does_not_change(
    database: Database, made: list[Any], request_: ListRequest, bumped: set[int]
) -> None:
    """Whatever the filters, and whatever happens to other tasks after the first page."""
    example = next(_EXAMPLES)
    caller, first = Caller(f"owner {example}"), example * 100
    rows = [
        row(first + index, at, state, context_id=context, owner=caller.owner)
        for index, (at, state, context) in enumerate(made)
    ]
    await add(database, *rows)
    wanted = [stored for stored in rows if is_wanted(stored, request_)]
    wanted.sort(key=lambda stored: (stored["updated_at"], stored["task_id"]), reverse=True)
    expected = [stored["task_id"] for stored in wanted]
    task_list = TaskList(database, PLENTY)

    pages = await all_pages(task_list, caller, request_)

    assert [task.id for page in pages for task in page.tasks] == expected
    assert {page.total_size for page in pages} == {len(expected)}
    assert all(len(page.tasks) == request_.page_size for page in pages[:-1])

    page = await task_list.page(caller, request_)
    seen = [task.id for task in page.tasks]
    changing = {task_id(first + index) for index in bumped}
    newer = update(tasks).where(tasks.c.task_id.in_(changing)).values(updated_at=NOON + 50)
    await database.write(lambda c: c.execute(newer))
    await add(database, row(first + 99, NOON + 60, owner=caller.owner))
    if page.next_page_token:
        rest = msgspec.structs.replace(request_, page_token=page.next_page_token)
        for later in await all_pages(task_list, caller, rest):
            seen += [task.id for task in later.tasks]
    still = [name for name in seen if name not in changing]
    assert still == [name for name in expected if name not in changing]


async def test_a_page_may_have_another_size_and_other_contents_than_the_last(
    database: Database,
) -> None:
    await add(database, *(row(number) for number in range(6)))
    task_list = TaskList(database, PLENTY)
    token = (await task_list.page(ANN, ListRequest(page_size=2))).next_page_token

    page = await task_list.page(
        ANN, ListRequest(page_size=3, page_token=token, history_length=1, include_artifacts=True)
    )

    assert (numbers(page), page.page_size) == ([3, 2, 1], 3)


@pytest.mark.parametrize(
    ("caller", "request_"),
    [
        (BOB, ListRequest()),
        (Caller("ann", "x"), ListRequest()),
        (ANN, ListRequest(context_id="context")),
        (ANN, ListRequest(status=TaskState.COMPLETED)),
        (ANN, ListRequest(updated_after=NOON)),
    ],
    ids=["owner", "tenant", "context", "status", "moment"],
)
async def test_a_token_is_good_for_its_own_list_only(
    database: Database, caller: Caller, request_: ListRequest
) -> None:
    await add(database, *(row(number) for number in range(3)))
    await add(database, *(row(number, owner="bob") for number in range(10, 13)))
    token = (await TaskList(database, PLENTY).page(ANN, ListRequest(page_size=1))).next_page_token

    with pytest.raises(InvalidParams) as raised:
        await TaskList(database, PLENTY).page(
            caller, msgspec.structs.replace(request_, page_token=token)
        )

    assert raised.value.field == "pageToken"


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "????",
        "AAAA",
        "=",
        "é",
        "A" * 5000,
        "\x00",
        base64.urlsafe_b64encode(bytes(60)).decode(),
    ],
)
async def test_what_is_no_token_is_refused(database: Database, token: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        await TaskList(database, PLENTY).page(ANN, ListRequest(page_token=token))

    assert raised.value.field == "pageToken"


async def test_a_token_cannot_name_what_a_database_cannot_hold(database: Database) -> None:
    await add(database, row(1), row(2))
    token = (await TaskList(database, PLENTY).page(ANN, ListRequest(page_size=1))).next_page_token
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    other = base64.urlsafe_b64encode(raw[:-1] + b"\x00").decode()

    with pytest.raises(InvalidParams):
        await TaskList(database, PLENTY).page(ANN, ListRequest(page_token=other))


async def test_a_token_that_was_changed_is_refused_or_leads_to_the_callers_own_tasks(
    database: Database,
) -> None:
    await add(database, *(row(number) for number in range(5)))
    await add(database, *(row(number, owner="bob") for number in range(10, 15)))
    task_list = TaskList(database, PLENTY)
    token = (await task_list.page(ANN, ListRequest(page_size=2))).next_page_token
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))

    for place in range(len(raw)):
        for bit in (1, 0x80):
            changed = bytearray(raw)
            changed[place] ^= bit
            other = base64.urlsafe_b64encode(changed).decode().rstrip("=")
            with suppress(InvalidParams):
                page = await task_list.page(ANN, ListRequest(page_token=other))
                assert set(numbers(page)) <= set(range(5))


@pytest.mark.parametrize("context_id", ["\x00", "a\nb", "\ud800"])
async def test_a_context_id_that_cannot_exist_is_refused(
    database: Database, context_id: str
) -> None:
    with pytest.raises(InvalidParams) as raised:
        await TaskList(database, PLENTY).page(ANN, ListRequest(context_id=context_id))

    assert raised.value.field == "contextId"


def said(text: str) -> Message:
    """Return a message."""
    return Message(text, Role.USER, [Part(text=text)])


async def test_history_and_artifacts_are_those_that_were_asked_for(database: Database) -> None:
    answer = [Artifact("answer", [Part(text="Yes.")])]
    history = [said("one"), said("two")]
    await add(database, row(1, body=body(artifacts=answer, history=history, metadata={"a": 1})))

    async def listed(**asked: Any) -> Task:
        (task,) = (await TaskList(database, PLENTY).page(ANN, ListRequest(**asked))).tasks
        return task

    assert await listed() == Task(
        task_id(1), "context", TaskStatus(TaskState.COMPLETED), [], history, {"a": 1}
    )
    assert (await listed(include_artifacts=True)).artifacts == answer
    assert (await listed(history_length=1)).history == [said("two")]
    assert (await listed(history_length=0, include_artifacts=True)).history == []
    assert (await listed(history_length=9)).history == history


def text_event(number: int, text: str) -> ArtifactUpdate:
    """Return more of a task's answer."""
    return ArtifactUpdate(
        task_id(number), "context", Artifact("answer", [Part(text=text)]), append=True
    )


_NAMES: dict[Any, str] = {ArtifactUpdate: "artifactUpdate", StatusUpdate: "statusUpdate"}


def log(number: int, first: int, *events: Any) -> dict[str, Any]:
    """Return a row of the event log."""
    return {
        "task_id": task_id(number),
        "first_seq": first,
        "last_seq": first + len(events) - 1,
        "body": msgspec.json.encode([{_NAMES[type(event)]: event} for event in events]),
    }


async def test_tasks_that_run_are_listed_with_what_they_have_said_so_far(
    database: Database,
) -> None:
    """Each with its own events, those that its row does not hold."""
    begun = [Artifact("answer", [Part(text="a")])]
    await add(
        database,
        *(
            row(number, state=TaskState.WORKING, seq=2, body=body(number, artifacts=begun))
            for number in (1, 2, 3)
        ),
        row(4, seq=2, body=body(4, artifacts=begun)),
    )
    rows = [
        log(1, 2, text_event(1, "a")),
        log(1, 3, text_event(1, "b"), text_event(1, "c")),
        log(1, 5, text_event(1, "d")),
        log(2, 3, text_event(2, "x")),
        log(4, 2, text_event(4, "a")),
    ]
    await database.write(lambda c: c.execute(task_events.insert(), rows))

    page = await TaskList(database, PLENTY).page(ANN, ListRequest(include_artifacts=True))

    texts = [task.artifacts[0].parts[0].text for task in page.tasks]
    assert dict(zip(numbers(page), texts, strict=True)) == {1: "abcd", 2: "ax", 3: "a", 4: "a"}


async def test_a_task_is_listed_as_of_its_row_though_it_goes_on_meanwhile(
    database: Database,
) -> None:
    """Its row and its events are not read at one moment: its state is the one that was looked for."""
    await add(database, row(1, state=TaskState.WORKING, body=body(1, TaskState.WORKING)))
    ended = StatusUpdate(task_id(1), "context", TaskStatus(TaskState.COMPLETED))
    rows = [log(1, 2, text_event(1, "a"), ended), log(1, 4, text_event(1, "b"))]
    await database.write(lambda c: c.execute(task_events.insert(), rows))

    (task,) = (
        await TaskList(database, PLENTY).page(
            ANN, ListRequest(status=TaskState.WORKING, include_artifacts=True)
        )
    ).tasks

    assert task.status.state is TaskState.WORKING
    assert task.artifacts == [Artifact("answer", [Part(text="a")])]


async def test_a_task_that_cannot_be_read_is_an_error(database: Database) -> None:
    await add(database, row(1, body=b"{"))

    for include_artifacts in (True, False):
        with pytest.raises(StateError):
            await TaskList(database, PLENTY).page(
                ANN, ListRequest(include_artifacts=include_artifacts)
            )


def large(number: int) -> Message:
    """Return a message that makes a stored task larger than a thousand bytes."""
    return said(str(number) * 1_000)


async def test_a_page_ends_early_when_its_tasks_are_large(database: Database) -> None:
    """It begins no task behind the bound; the total is that of all, each of which comes once."""
    rows = [row(number, body=body(number, history=[large(number)])) for number in range(5)]
    await add(database, *rows)
    size = len(rows[0]["body"])

    for page_bytes, expected in (
        (1, [[4], [3], [2], [1], [0]]),
        (size, [[4], [3], [2], [1], [0]]),
        (size + 1, [[4, 3], [2, 1], [0]]),
        (size * 4, [[4, 3, 2, 1], [0]]),
        (size * 5, [[4, 3, 2, 1, 0]]),
    ):
        for request in (ListRequest(), ListRequest(context_id="context")):
            pages = await all_pages(TaskList(database, page_bytes), ANN, request)
            assert [numbers(page) for page in pages] == expected
            assert {(page.total_size, page.page_size) for page in pages} == {(5, 50)}
    pages = await all_pages(TaskList(database, size * 4), ANN, ListRequest(page_size=3))
    assert [numbers(page) for page in pages] == [[4, 3, 2], [1, 0]]


async def test_what_a_page_has_no_room_for_is_not_read(database: Database) -> None:
    """The database sends no body behind the bound, and no events of such a task."""
    waiting = TaskState.INPUT_REQUIRED
    bodies = [body(number, waiting, history=[large(number)]) for number in range(4)]
    await add(database, *(row(n, state=waiting, body=bodies[n]) for n in range(4)))
    more = [log(number, 2, text_event(number, "x" * 1_000)) for number in range(4)]
    await database.write(lambda c: c.execute(task_events.insert(), more))
    room, request = len(bodies[0]) + 1, ListRequest(include_artifacts=True)

    with statements(database) as sent:
        page = await TaskList(database, room).page(ANN, request)

    assert numbers(page) == [3]
    read = [
        value
        for statement, parameters in sent
        for line in await database.read(partial(_rows, statement, parameters))
        for value in line
        if isinstance(value, bytes)
    ]
    assert read == [bodies[3], more[3]["body"]]


def _rows(statement: str, parameters: Any, connection: Connection) -> Any:
    return connection.exec_driver_sql(statement, parameters).all()


async def test_what_a_running_task_has_said_counts_when_it_is_asked_for(
    database: Database,
) -> None:
    """Of a task that has ended the row holds all."""
    working = TaskState.WORKING
    await add(database, *(row(number, state=working, seq=2) for number in (1, 2)), row(3, seq=2))
    rows = [
        log(number, first, text_event(number, "x" * 1_000))
        for number in (1, 2, 3)
        for first in (2, 3, 4)
    ]
    await database.write(lambda c: c.execute(task_events.insert(), rows))
    task_list = TaskList(database, 2_000)

    bare = await all_pages(task_list, ANN, ListRequest())
    whole = await all_pages(task_list, ANN, ListRequest(include_artifacts=True))

    assert [numbers(page) for page in bare] == [[3, 2, 1]]
    assert [numbers(page) for page in whole] == [[3, 2], [1]]


async def plan(database: Database, statement: str, parameters: Any) -> str:
    """Return how a database runs a statement."""
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    found = await database.read(
        lambda c: c.exec_driver_sql(f"{explain} {statement}", parameters).all()
    )
    return "\n".join(" ".join(map(str, line)) for line in found)


UPDATED, ENDED = "ix_tasks_updated", "ix_tasks_ended"
# A page's places may be sorted once more; PostgreSQL never needs that.
SORTED_TASKS = r"(?m)SEARCH tasks .*\n.*TEMP B-TREE FOR ORDER BY|^ *(->  )?Sort  "
FILTERS: dict[str, tuple[ListRequest, str]] = {
    "all": (ListRequest(), UPDATED),
    "moment": (ListRequest(updated_after=NOON + MANY // 2), UPDATED),
    "state": (ListRequest(status=TaskState.COMPLETED), UPDATED),
    "context": (ListRequest(context_id="large"), ENDED),
    "running": (ListRequest(status=TaskState.WORKING), "ix_tasks_(updated|context|lease)"),
    "context and state": (ListRequest(context_id="context 7", status=TaskState.COMPLETED), ENDED),
}


async def add_many(database: Database) -> None:
    """Store many tasks of ann's: a hundred run, half of them are of one context. A few more are bob's."""
    await add(
        database,
        *(
            row(
                number,
                NOON + number,
                TaskState.WORKING if number % 100 == 0 else TaskState.COMPLETED,
                context_id="large" if number % 2 else f"context {number % 500 // 2}",
                body=bytes(1_000),
            )
            for number in range(MANY)
        ),
        *(row(MANY + number, NOON + 3 * number, owner="bob") for number in range(MANY // 3)),
    )
    if database.dialect == "postgresql":
        # What autovacuum would do. Rows are known to be visible when their commit is on disk.
        for statement in ("CHECKPOINT", "VACUUM (ANALYZE) tasks"):
            await database.read(partial(_run, statement=statement))


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


async def test_the_lists_of_large_owners_are_read_in_the_order_of_an_index(
    database: Database,
) -> None:
    """No list looks at all tasks, or sorts more than those that changed in one millisecond."""
    await add_many(database)
    for name, (request, index) in FILTERS.items():
        with statements(database) as sent, pytest.raises(StateError):
            await TaskList(database, PLENTY).page(ANN, request)  # the tasks are no JSON

        assert len(sent) == 2, name
        for statement, parameters in sent:
            steps = await plan(database, statement, parameters)
            assert re.search(index, steps), (name, steps)
            assert not re.search("Seq Scan|SCAN tasks", steps), (name, steps)
            if index == ENDED:
                assert UPDATED not in steps, (name, steps)
            if index == UPDATED:
                assert not re.search(SORTED_TASKS, steps), steps
