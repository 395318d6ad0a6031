"""What callers can have deleted, and what goes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance._requirements import requirement
from tests.conformance.client import in_process
from tests.conformance.wire_1_0 import HTTP_1_0, V1_0
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@requirement("1.0/deletion")
async def test_a_caller_deletes_a_task_and_a_context() -> None:
    async with in_process(Script(ANSWER), HTTP_1_0) as client:
        one, two, three = [await client.send_task("hi", contextId=c) for c in ("a", "a", "b")]
        assert (await client.http.delete(f"/tasks/{one['id']}")).status_code == 204
        assert (await client.get(one["id"])).code == -32001
        assert (await client.get(two["id"])).task == two
        assert (await client.http.delete("/contexts/a")).status_code == 204
        assert (await client.get(two["id"])).code == -32001
        assert (await client.get(three["id"])).task == three
        assert (await client.http.delete("/tasks/nowhere")).status_code == 404


@requirement("1.0/retention")
async def test_what_is_too_old_goes_by_itself(tmp_path: Path) -> None:
    state: dict[str, Any] = {"a2a_state": {"sqlite": {"db_path": tmp_path / "state.db"}}}
    async with in_process(Script(ANSWER), V1_0, **state) as client:
        task = await client.send_task("hi")
        assert (await client.get(task["id"])).task == task
    short = {"retention": {"tasks_days": 1e-9}}
    async with in_process(Script(ANSWER), V1_0, **state, **short) as client:
        while not (await client.get(task["id"])).is_error:
            pass
        assert (await client.get(task["id"])).code == -32001
