"""The server as a process of its own, which can be killed and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
from sqlalchemy import make_url

from tests.durability.stack import NOTES, PAUSE
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
STOP_SECONDS = 30
LOOK_SECONDS = 0.02
STACK = "tests.durability.stack:SlowStack"


def state_of(url: str) -> dict[str, Any]:
    """Return the settings of the database at ``url``."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"sqlite": {"db_path": parsed.database}} if parsed.database else {"memory": True}
    server = {"host": parsed.host, "port": parsed.port, "db": parsed.database}
    login = {"user": parsed.username, "password": "none needed", "ssl_mode": "disable"}
    return {"postgres": server | login}


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for something that nobody here is told of: it happens in another process."""
    while True:
        met = condition()
        if met if isinstance(met, bool) else await met:
            return
        await anyio.sleep(LOOK_SECONDS)


class Process:
    """A server on a port that stays the same; ``settings`` are those of its configuration file.

    Without a ``stack`` it is the one that the settings choose. ``files`` are options of ``ulimit``.
    """

    def __init__(
        self,
        folder: Path,
        stack: str | None = STACK,
        pause_ms: int = 20,
        files: str | None = None,
        **settings: Any,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.notes = folder / "notes"
        self._stack = stack
        self._files = files
        self.config = folder / f"{self.port}.yaml"
        service = {"host": "127.0.0.1", "port": self.port, "access_log": False}
        self.config.write_text(json.dumps({"service": service} | settings))  # JSON is YAML
        self._log = folder / f"{self.port}.log"
        self._environment = os.environ | {PAUSE: str(pause_ms), NOTES: str(self.notes)}
        self._running: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start; returns when it answers."""
        program = Path(sys.executable).with_name("llamastack-a2a")
        command = [str(program), "serve", "--config", str(self.config)]
        if self._stack is not None:
            command += ["--stack", self._stack]
        if self._files is not None:
            command = ["sh", "-c", f'ulimit {self._files} && exec "$@"', "sh", *command]
        with self._log.open("ab") as log:
            # It returns when the process is there, and nothing else waits at that moment.
            self._running = subprocess.Popen(  # noqa: ASYNC220
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        with anyio.fail_after(START_SECONDS):
            await until(self._answers)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._running is not None
        assert self._running.poll() is None, self.log
        self._running.kill()
        self._running.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._running is not None
        self._running.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended; returns its exit code."""
        assert self._running is not None
        with anyio.fail_after(STOP_SECONDS):
            await until(lambda: not self._runs)
        return self._running.returncode

    def close(self) -> None:
        """End it, whatever it does."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    @property
    def log(self) -> str:
        """What it said."""
        return self._log.read_text()

    def noted(self) -> list[str]:
        """Return what its turns noted."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    @property
    def _runs(self) -> bool:
        return self._running is not None and self._running.poll() is None

    async def _answers(self) -> bool:
        assert self._runs, self.log
        async with httpx.AsyncClient(base_url=self.url) as http:
            try:
                return (await http.get("/.well-known/agent-card.json")).is_success
            except httpx.TransportError:
                return False


@asynccontextmanager
async def running(*processes: Process) -> AsyncIterator[None]:
    """Start processes, one after another; none of them is left behind."""
    try:
        for process in processes:
            await process.start()
        yield
    finally:
        for process in processes:
            process.close()
