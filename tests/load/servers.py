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
    from collections.abc import Iterator

    from tests.fakes.postgres import Postgres

ROOT = Path(__file__).parents[2]
BARE = "bare"
NAMES = (BARE, "memory", "sqlite", "postgres")
START_SECONDS = 60


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
    def run(self, name: str, stack: str = "BenchStack") -> Iterator[Running]:
        """Run the server ``name`` with an empty database."""
        port = free_port()
        with (
            TemporaryDirectory(prefix="bench-") as folder,
            (Path(folder) / "log").open("w+") as log,
            _state(name, Path(folder), self._postgres) as state,
        ):
            command = _command(port, Path(folder), stack, state) if state else _bare(port)
            started = time.perf_counter()
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            try:
                if self._core:
                    os.sched_setaffinity(process.pid, self._core)
                if not asyncio.run(_answers(port, process)):
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


def _bare(port: int) -> list[str]:
    options = ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]
    options += ["--no-access-log", "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "uvicorn", "tests.load.bare:app", *options]


def _command(port: int, folder: Path, stack: str, state: dict[str, Any]) -> list[str]:
    config = folder / "bench.yaml"
    service = {"host": "127.0.0.1", "access_log": False}
    config.write_text(json.dumps({"service": service, "a2a_state": state}))  # JSON is YAML
    program = Path(sys.executable).with_name("llamastack-a2a")
    options = ["--config", str(config), "--port", str(port), "--stack", f"tests.load.stack:{stack}"]
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


async def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait for the first answer; False when there will be none."""
    load, connection = Load(port), Connection(port)
    deadline = time.perf_counter() + START_SECONDS
    while process.poll() is None and time.perf_counter() < deadline:
        try:
            await load.send(connection)
        except (OSError, WrongAnswerError):
            await asyncio.sleep(0.01)
        else:
            connection.close()
            return True
    return False
