"""File descriptors: the command line server with fewer of them than it would like."""

from __future__ import annotations

import re
import resource
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from tests.durability.process import Process, running
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

CARD = "/.well-known/agent-card.json"
SAID = re.compile(r"limits.connections is 4096, but the limit of open files allows (\d+)")


def flood(port: int, count: int, url: str) -> int:
    """Hold connections that say nothing; returns the status that somebody else gets meanwhile."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        with httpx.Client(base_url=url) as client:
            return client.get(CARD).status_code


async def test_the_server_takes_as_many_descriptors_as_it_may_have(tmp_path: Path) -> None:
    """The usual limit of 1024 is but what the system proposes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 8192:
        pytest.skip("this system allows no more")
    process = Process(tmp_path, files="-S -n 300", a2a_state={"memory": True})
    async with running(process):
        assert SAID.search(process.log) is None


@pytest.mark.parametrize(("has_grpc", "most"), [(False, 150), (True, 75)], ids=["HTTP", "and gRPC"])
async def test_a_server_with_few_descriptors_says_so_and_goes_on_when_they_are_asked_for(
    tmp_path: Path, *, has_grpc: bool, most: int
) -> None:
    """Silent connections, more of them than there are descriptors."""
    a2a = {"grpc_port": free_port()} if has_grpc else {}
    process = Process(tmp_path, files="-n 300", a2a_state={"memory": True}, a2a=a2a)
    async with running(process):
        status = await anyio.to_thread.run_sync(flood, process.port, 400, process.url)

    said = SAID.search(process.log)
    assert said is not None
    assert int(said[1]) == most
    assert status == 200
    assert "out of system resource" not in process.log
