"""Listing tasks: filters, order, pages, and what of a task is shown."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.stacks import DirectMessage, InputRequired, TextDelta, TextPart
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import HTTP_JSON, JSON_RPC
from tests.conformance.client import in_process
from tests.conformance.wire_0_3 import HTTP_0_3
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

QUESTION = [InputRequired("Which?")]


def ids(page: Json) -> list[str]:
    return [task["id"] for task in page["tasks"]]


async def made(client: Client, count: int, **fields: Json) -> list[str]:
    """Make tasks that complete; returns their ids, the latest first."""
    tasks = [await client.send_task("hi", **fields) for _ in range(count)]
    return [task["id"] for task in reversed(tasks)]


async def pages(client: Client, **params: Json) -> list[Json]:
    """Read page by page to the end."""
    read = [await client.listed(**params)]
    while token := read[-1]["nextPageToken"]:
        read.append(await client.listed(**params, pageToken=token))
    return read


@requirement("1.0/list-answer", "1.0/list-next-token", "1.0/list-total", "1.0/list-page-size")
async def test_where_there_are_no_tasks_none_are_listed(latest: Wire) -> None:
    async with in_process(Script(ANSWER), latest) as client:
        assert await client.listed() == {
            "tasks": [],
            "nextPageToken": "",
            "pageSize": 50,
            "totalSize": 0,
        }


@requirement("1.0/list-answer", "rpc/params", on=JSON_RPC)
async def test_no_parameters_are_needed() -> None:
    async with in_process(Script(ANSWER), V1_0) as client:
        reply = await client.post({"jsonrpc": "2.0", "id": 1, "method": "ListTasks"})
        assert reply.result["tasks"] == []


@requirement("1.0/list-order", "1.0/list-answer", "1.0/list-next-token", "1.0/data-model")
async def test_the_task_whose_status_changed_last_comes_first(latest: Wire) -> None:
    async with in_process(Script(QUESTION, ANSWER), latest) as client:
        first = await client.send_task("hi")
        others = await made(client, 3)
        assert ids(await client.listed()) == [*others, first["id"]]
        await client.send_task("this", taskId=first["id"])
        page = await client.listed()
        assert ids(page) == [first["id"], *others]
        times = [task["status"]["timestamp"] for task in page["tasks"]]
        assert all(later >= earlier for later, earlier in pairwise(times))
        assert page["totalSize"] == 4
        assert page["nextPageToken"] == ""


@requirement("1.0/list-artifacts-omitted", "1.0/list-artifacts")
async def test_artifacts_are_there_only_when_asked_for(latest_json: Wire) -> None:
    """Then their list is there even when it is empty; otherwise there is none."""
    async with in_process(Script([DONE], ANSWER), latest_json) as client:
        await made(client, 2)
        for params in ({}, {"includeArtifacts": False}):
            page = await client.listed(**params)
            assert ["artifacts" in task for task in page["tasks"]] == [False, False]
        shown = await client.listed(includeArtifacts=True)
        assert [task["artifacts"] for task in shown["tasks"]] == [
            [{"artifactId": "answer", "parts": [{"text": "yes"}]}],
            [],
        ]


@requirement("1.0/list-artifacts-omitted", "1.0/list-artifacts", "1.0/same-results")
async def test_artifacts_are_listed_as_they_are_got(latest: Wire) -> None:
    async with in_process(Script(ANSWER), latest) as client:
        (task_id,) = await made(client, 1)
        (bare,) = (await client.listed())["tasks"]
        assert "artifacts" not in bare
        (whole,) = (await client.listed(includeArtifacts=True))["tasks"]
        assert whole == (await client.get(task_id)).task
        assert whole == bare | {"artifacts": whole["artifacts"]}


@requirement("1.0/list-cursor", "1.0/list-page-size", "1.0/list-total", "1.0/list-next-token")
async def test_pages_have_every_task_once(latest: Wire) -> None:
    async with in_process(Script(ANSWER), latest) as client:
        tasks = await made(client, 7)
        for size, lengths in ((1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7])):
            read = await pages(client, pageSize=size)
            assert [len(page["tasks"]) for page in read] == lengths
            assert [task for page in read for task in ids(page)] == tasks
            assert {(page["totalSize"], page["pageSize"]) for page in read} == {(7, size)}
            assert [bool(page["nextPageToken"]) for page in read] == [True] * (len(read) - 1) + [
                False
            ]


@requirement("1.0/list-cursor", "1.0/list-total", "1.0/list-next-token", "1.0/limits")
async def test_a_page_of_large_tasks_ends_early(latest: Wire) -> None:
    """However many tasks were asked for; all of them are on the pages, each once."""
    script = Script([TextDelta("x" * 1_000), DONE])
    async with in_process(script, latest, limits={"answer_bytes": 2_000}) as client:
        tasks = await made(client, 5)
        for params in ({}, {"includeArtifacts": True}, {"pageSize": 3}):
            read = await pages(client, **params)
            assert [len(page["tasks"]) for page in read] == [2, 2, 1], params
            assert [task for page in read for task in ids(page)] == tasks
            assert {page["totalSize"] for page in read} == {5}


@requirement("1.0/list-cursor")
async def test_tasks_that_come_in_between_disturb_no_page(latest: Wire) -> None:
    async with in_process(Script(ANSWER), latest) as client:
        tasks = await made(client, 5)
        page = await client.listed(pageSize=2)
        seen = ids(page)
        while token := page["nextPageToken"]:
            await made(client, 2)
            page = await client.listed(pageSize=2, pageToken=token)
            seen += ids(page)
        assert seen == tasks


@requirement("1.0/list-page-size")
async def test_a_page_has_fifty_tasks_unless_asked_otherwise(latest: Wire) -> None:
    async with in_process(Script(ANSWER), latest) as client:
        await made(client, 51)
        page = await client.listed()
        assert (len(page["tasks"]), page["pageSize"], page["totalSize"]) == (50, 50, 51)
        assert len((await client.listed(pageToken=page["nextPageToken"]))["tasks"]) == 1


@requirement("1.0/list-context", "1.0/list-status", "1.0/list-total")
async def test_context_and_status_filter_by_themselves_and_together(latest: Wire) -> None:
    async with in_process(Script(QUESTION, ANSWER), latest, a2a=NEW_TASKS) as client:
        waiting = (await client.send_task("hi", contextId="red"))["id"]
        red = await made(client, 2, contextId="red")
        blue = await made(client, 1, contextId="blue")
        done, asked = latest.state("COMPLETED"), latest.state("INPUT_REQUIRED")
        for params, expected in (
            ({"contextId": "red"}, [*red, waiting]),
            ({"contextId": "blue"}, blue),
            ({"contextId": "green"}, []),
            ({"status": done}, [*blue, *red]),
            ({"status": asked}, [waiting]),
            ({"status": latest.state("WORKING")}, []),
            ({"contextId": "red", "status": done}, red),
            ({"contextId": "blue", "status": asked}, []),
        ):
            page = await client.listed(**params)
            assert (ids(page), page["totalSize"]) == (expected, len(expected)), params
        read = await pages(client, contextId="red", pageSize=1)
        assert [task for page in read for task in ids(page)] == [*red, waiting]


NEW_TASKS: dict[str, Any] = {"resume_by_context": False}


@requirement("1.0/list-status")
async def test_a_running_task_is_listed_as_it_is(latest: Wire) -> None:
    gate = anyio.Event()
    async with in_process(Script([TextDelta("a"), gate, DONE]), latest) as client:
        at_once = latest.configuration(at_once=True)
        task = await client.send_task("hi", configuration=at_once)
        while not ids(await client.listed(status=latest.state("WORKING"))):
            pass
        assert ids(await client.listed(status=latest.state("COMPLETED"))) == []
        gate.set()
        await client.settled(task["id"])
        assert ids(await client.listed(status=latest.state("COMPLETED"))) == [task["id"]]


@requirement("1.0/list-after", "1.0/timestamps")
async def test_tasks_are_filtered_by_the_time_of_their_status(latest: Wire) -> None:
    """Inclusively: the time of a task's own status lists it."""
    async with in_process(Script(ANSWER), latest) as client:
        tasks = await made(client, 2)
        (latest_task, *_others) = (await client.listed())["tasks"]
        own = latest_task["status"]["timestamp"]
        listed = ids(await client.listed(statusTimestampAfter=own))
        assert listed[0] == latest_task["id"]
        for since, expected in (
            ("2001-01-31T12:00:00Z", tasks),
            ("2001-01-31T12:00:00.123Z", tasks),
            ("2201-01-31T12:00:00Z", []),
        ):
            page = await client.listed(statusTimestampAfter=since)
            assert (ids(page), page["totalSize"]) == (expected, len(expected))


@requirement("1.0/list-history")
async def test_history_is_as_long_as_asked_for(latest: Wire) -> None:
    async with in_process(Script(QUESTION, ANSWER), latest) as client:
        task = await client.send_task("one")
        await client.send_task("two", taskId=task["id"])
        for length, texts in ((0, None), (1, ["two"]), (2, ["Which?", "two"])):
            (listed,) = (await client.listed(historyLength=length))["tasks"]
            history = listed.get("history")
            assert (history and [m["parts"][0]["text"] for m in history]) == texts
        (listed,) = (await client.listed())["tasks"]
        assert listed["history"] == (await client.get(task["id"])).task["history"]


WRONG: list[tuple[str, Json]] = [
    ("pageSize", 0),
    ("pageSize", -1),
    ("pageSize", 101),
    ("historyLength", -1),
    ("pageToken", "no token of ours"),
    ("pageToken", "eyJhIjoxfQ"),
]
WRONG_IN_JSON: list[tuple[str, Json]] = [
    ("pageSize", "many"),
    ("historyLength", "1.5"),
    ("status", "TASK_STATE_RUNNING"),
    ("status", "completed"),
    ("statusTimestampAfter", "yesterday"),
    ("statusTimestampAfter", "2026-13-01T00:00:00Z"),
    ("includeArtifacts", "perhaps"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
@requirement("1.0/list-validation", "1.0/list-page-size", "1.0/validation", "1.0/validation-field")
async def test_a_wrong_parameter_is_refused_by_name(
    latest: Wire, answering: dict[Wire, Client], name: str, value: Json
) -> None:
    client = answering[latest]
    reply = await client.call(latest.methods["list"], {name: value})
    assert (reply.code, reply.field) == (-32602, name)


@pytest.mark.parametrize(("name", "value"), WRONG_IN_JSON)
@requirement("1.0/list-validation", "1.0/validation-field", "1.0/enums", "1.0/http-query-types")
async def test_a_parameter_of_another_type_is_refused_by_name(
    latest_json: Wire, answering: dict[Wire, Client], name: str, value: Json
) -> None:
    client = answering[latest_json]
    reply = await client.call(latest_json.methods["list"], {name: value})
    assert (reply.code, reply.field) == (-32602, name)


@requirement("1.0/list-visible", "1.0/scope-list", "1.0/tenant", "1.0/not-yours")
async def test_each_tenant_lists_its_own(latest: Wire) -> None:
    """Whatever the filter, and with the page token of another one, too."""
    async with in_process(Script(ANSWER), latest, a2a={"tenants": ("red", "blue")}) as client:
        params = client.params("hi", contextId="context-1")
        mine = [
            (await client.call(latest.send, params | {"tenant": "red"})).sent["task"]["id"]
            for _ in range(2)
        ]
        await client.call(latest.send, params | {"tenant": "blue"})
        page = await client.listed(tenant="red", pageSize=1)
        assert page["totalSize"] == 2
        token = page["nextPageToken"]
        assert ids(await client.listed(tenant="red", pageSize=1, pageToken=token)) == mine[:1]
        for filters in ({}, {"contextId": "context-1"}, {"status": latest.state("COMPLETED")}):
            assert ids(await client.listed(tenant="red", **filters)) == mine[::-1]
            assert ids(await client.listed(**filters)) == []
        stolen = await client.call(
            latest.methods["list"], {"tenant": "blue", "pageSize": 1, "pageToken": token}
        )
        assert stolen.is_error or not set(ids(latest.read_page(stolen.result))) & set(mine)


@requirement("1.0/list-visible")
async def test_a_message_without_a_task_is_none(latest: Wire) -> None:
    async with in_process(Script([DirectMessage((TextPart("hello"),))]), latest) as client:
        assert "message" in await client.send("hi")
        assert (await client.listed())["totalSize"] == 0


@requirement("0.3/list", on=HTTP_JSON)
async def test_the_tasks_of_0_3_are_a_list() -> None:
    async with in_process(Script(ANSWER), HTTP_0_3) as client:
        assert (await client.listed())["tasks"] == []
        tasks = await made(client, 3)
        page = await client.listed()
        assert ids(page) == tasks
        whole = [(await client.get(task_id)).task for task_id in tasks]
        for task in whole:
            task.pop("artifacts")
        assert page["tasks"] == whole
