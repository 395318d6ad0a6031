"""A process that trains: told what to do by a line of JSON, it tells how it gets on by such lines.

Its standard input stays open for as long as it is to run: it ends when that ends, so also when this
server dies. It gets no secret of ours: neither in its environment nor by what it is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import msgspec

from agent.jobs.progress import JobFailed
from agent.training.told import Failed, read_told

if TYPE_CHECKING:
    from asyncio import StreamReader
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator, Coroutine, Sequence

    from agent.training.told import Told

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a worker has to end by itself; less than what a stopping server gives its jobs."""

LINE_BYTES = 64 * 1024
LOG_BYTES = 4 * 1024 * 1024
LOG = "log.txt"
CACHE = "cache"

# A worker trains on one device: the first of those that it may use.
_DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
# Where things are found, and how many processors may be used.
_PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)
_CODE = Path(__file__).parents[2]


async def told_by(
    command: Sequence[str], job: bytes, folder: Path, stop_seconds: float = STOP_SECONDS
) -> AsyncGenerator[Told]:
    """Start a worker, yield what it tells, and stop it however this ends; its log is in ``folder``.

    It is killed when it has not ended ``stop_seconds`` after it was told to.

    Raises ``JobFailed`` when it cannot be started, tells what is not understood, or breaks.
    """
    process = await _start(command, folder)
    assert process.stdin is not None  # noqa: S101 - all three are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    logged = asyncio.create_task(_log(process.stderr, folder / LOG))
    try:
        process.stdin.write(job + b"\n")
        while line := await _line(process.stdout):
            yield _told(line)
        code = await process.wait()
        if code:
            raise JobFailed(f"The training process broke (it ended with {code}).")
    finally:
        await _to_its_end(_stop(process, logged, stop_seconds))


async def _start(command: Sequence[str], folder: Path) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=LINE_BYTES,
            cwd=folder,
            env=_environment(folder),
            # A group of its own: whatever it starts is stopped with it, and Ctrl-C is not for it.
            start_new_session=True,
        )
    except OSError as exc:
        raise JobFailed("The training process cannot be started.") from exc


def _environment(folder: Path) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    devices = {name: os.environ.get(name, "0").partition(",")[0] for name in _DEVICES}
    return (
        passed_on
        | devices
        | {
            "PYTHONPATH": str(_CODE),
            "HOME": str(folder / CACHE),
            "HF_HOME": str(folder / CACHE),
            # What is trained lies in a folder of this server: nothing is fetched, and nothing told.
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
    )


async def _line(stdout: StreamReader) -> bytes:
    try:
        return await stdout.readline()
    except ValueError as exc:  # longer than the limit
        raise JobFailed("The training process told too much at once.") from exc


def _told(line: bytes) -> Told:
    try:
        told = read_told(line)
    except msgspec.DecodeError as exc:
        raise JobFailed("The training process told what is not understood.") from exc
    if isinstance(told, Failed):
        raise JobFailed(told.reason)
    return told


async def _log(stderr: StreamReader, path: Path) -> None:
    """Write down what the process logs, up to a limit."""
    room = LOG_BYTES
    with path.open("ab", buffering=0) as file:
        while chunk := await stderr.read(LINE_BYTES):
            try:
                file.write(chunk[:room])
            except OSError:
                logger.warning("What a training process logs cannot be written down")
                chunk, room = b"", 0
            room = max(0, room - len(chunk))


async def _stop(process: Process, logged: asyncio.Task[None], seconds: float) -> None:
    """End the process with all that it has started: by asking, and if that is not heard, by force."""
    if process.stdin is not None:
        process.stdin.close()
    _signal(process, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    _signal(process, signal.SIGKILL)
    await process.wait()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(STOP_SECONDS):
            await logged


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Wait for the end of what is bounded, also when canceled meanwhile: a worker is gone after that."""
    task, canceled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            canceled = True
    if canceled:
        raise asyncio.CancelledError


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
