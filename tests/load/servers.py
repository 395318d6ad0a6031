"""The servers that are compared, each in its own process: a bare one, and ours on each database."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import make_url

from tests.fakes.ports import free_port
from tests.load.connection import Connection, WrongAnswerError
from tests.load.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.fakes.postgres import Postgres

ROOT = Path(__file__).parents[2]
BARE = "bare"
NAMES = (BARE, "memory", "sqlite", "postgres")
START_SECONDS = 60
STACKS = "tests.load.stack:"
ECHO = f"{STACKS}BenchStack"


@dataclass(frozen=True)
class Running:
    """A server that has answered."""

    port: int
    process: subprocess.Popen[bytes]
    start_seconds: float

    def cpu_seconds(self) -> float:
        """Return the processor time that the server and its children have used."""
        process = psutil.Process(self.process.pid)
        times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
        return sum(t.user + t.system for t in times)


class Servers:
    """Starts servers on a core of their own; this process, the generator, keeps another."""

    def __init__(self, postgres: Postgres) -> None:
        """Pin this process, where there are two cores."""
        self._postgres = postgres
        available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._core = available[1:2]
        if self._core:
            os.sched_setaffinity(0, available[:1])

    @contextmanager
    def run(
        self, name: str, stack: str = ECHO, more: Mapping[str, Any] | None = None
    ) -> Iterator[Running]:
        """Run the server ``name`` with an empty database; without a ``stack``, on the embedded one."""
        port = free_port()
        with (
            TemporaryDirectory(prefix="bench-") as folder,
            (Path(folder) / "log").open("w+") as log,
            _state(name, Path(folder), self._postgres) as state,
        ):
            command = (
                _command(port, Path(folder), state, stack, more or {}) if state else _bare(port)
            )
            started = time.perf_counter()
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            try:
                if self._core:
                    os.sched_setaffinity(process.pid, self._core)
                if not asyncio.run(_answers(port, process, echoes=stack.startswith(STACKS))):
                    log.seek(0)
                    raise RuntimeError(f"{name} does not answer; it says:\n{log.read()}")
                yield Running(port, process, time.perf_counter() - started)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @contextmanager
    def model(self) -> Iterator[str]:
        """Run a model on the core of this process; yields where it is."""
        port = free_port()
        process = subprocess.Popen(_bare(port, "tests.load.model:app"), cwd=ROOT)
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def _bare(port: int, app: str = "tests.load.bare:app") -> list[str]:
    options = ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]
    options += ["--no-access-log", "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "uvicorn", app, *options]


def _command(
    port: int, folder: Path, state: dict[str, Any], stack: str, more: Mapping[str, Any]
) -> list[str]:
    config = folder / "bench.yaml"
    service = {"host": "127.0.0.1", "access_log": False}
    config.write_text(json.dumps({"service": service, "a2a_state": state, **more}))  # JSON is YAML
    program = Path(sys.executable).with_name("llamastack-a2a")
    options = ["--config", str(config), "--port", str(port)]
    if stack:
        options += ["--stack", stack]
    return [str(program), "serve", *options]


@contextmanager
def _state(name: str, folder: Path, postgres: Postgres) -> Iterator[dict[str, Any]]:
    """Yield the ``a2a_state`` of the configuration; empty for the bare server, which has none."""
    if name == "memory":
        yield {"memory": True}
    elif name == "sqlite":
        yield {"sqlite": {"db_path": str(folder / "state.db")}}
    elif name == "postgres":
        with postgres.database() as text:
            url = make_url(text)
            database = {"host": url.host, "port": url.port, "db": url.database}
            yield {"postgres": {**database, "user": url.username, "password": "none needed"}}
    else:
        yield {}


async def _answers(port: int, process: subprocess.Popen[bytes], *, echoes: bool) -> bool:
    """Wait for the first answer; False when there will be none."""
    load, connection = Load(port), Connection(port)
    deadline = time.perf_counter() + START_SECONDS
    while process.poll() is None and time.perf_counter() < deadline:
        try:
            await (load.send(connection) if echoes else _list(connection))
        except (OSError, WrongAnswerError):
            await asyncio.sleep(0.01)
        else:
            connection.close()
            return True
    return False


async def _list(connection: Connection) -> None:
    """List no tasks: what an embedded stack says to a message is for its model to say."""
    call = b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{}}'
    await connection.post("/a2a", {"A2A-Version": "1.0"}, call)
