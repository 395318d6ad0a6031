"""LCS's library mode: a Llama Stack of this server's own, which nobody else can reach.

It runs in a process of its own and not in this one: its packages (of MCP, of the client) are of other
versions than ours, it sets up the logging of its whole process, and what its library client raises are
no answers of a server. It listens on a socket in a folder that is closed to other users.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

from agent.errors import StackUnavailable
from agent.stacks.azure import AzureTokens
from agent.stacks.library_config import write_config
from agent.stacks.place import UNIX
from agent.stacks.remote import RemoteStack

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from agent.settings import Settings

logger = logging.getLogger(__name__)

START_SECONDS = 180.0
STOP_SECONDS = 10.0
RESTART_SECONDS, RESTART_MAX_SECONDS = 1.0, 60.0
_LOOK_SECONDS = 0.1
_SERVER = Path(__file__).with_name("library_server.py")
_STDERR = 2
AZURE_KEY = "AZURE_API_KEY"
CONFIG_VARIABLES = ("LLAMA_STACK_CONFIG", "OGX_CONFIG")


class LibraryStack(RemoteStack):
    """Starts a Llama Stack by its ``run.yaml``, and again when it dies."""

    def __init__(self, settings: Settings, config: Path) -> None:
        """Nothing is started yet."""
        super().__init__(settings)
        self._python = str(settings.llama_stack.library_python or sys.executable)
        self._config = config
        self._stores = settings.byok_rag
        entra = settings.azure_entra_id
        self._azure = AzureTokens(entra) if entra is not None else None
        self._folder: Path | None = None
        self._process: Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start it and wait until it answers; raises ``StackUnavailable`` or ``SettingsError``."""
        self._folder = Path(tempfile.mkdtemp(prefix="llamastack-a2a-"))  # for this user alone
        if self._stores:
            self._config = write_config(self._config, self._stores, self._folder)
        socket = self._folder / "socket"
        self._settings = _on(socket, self._settings)
        process = await self._start(socket)
        self._keeping = asyncio.create_task(self._keep(process, socket))
        await super().open()

    async def close(self) -> None:
        """Stop it."""
        await super().close()
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        if self._process is not None:
            await _stop(self._process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self, socket: Path) -> Process:
        try:
            process = await asyncio.create_subprocess_exec(
                self._python,
                "-P",  # modules beside the script are ours, and have common names
                str(_SERVER),
                str(socket),
                stdin=PIPE,
                stdout=_STDERR,
                env=await self._environment(),
                # Ctrl-C is for us to pass on, once running turns have ended.
                start_new_session=True,
            )
        except OSError as exc:
            raise StackUnavailable("The Llama Stack of library mode cannot be started.") from exc
        self._process = process
        await _answers(process, socket)
        return process

    async def _environment(self) -> dict[str, str]:
        """Return ours with the ``run.yaml``, and the key that LCS puts there for such files to name."""
        # The name of a distribution of Llama Stack may stand for a file.
        config = self._config.absolute() if self._config.is_file() else self._config
        given = os.environ | dict.fromkeys(CONFIG_VARIABLES, str(config))
        if self._azure is not None and AZURE_KEY not in given:
            try:
                given[AZURE_KEY] = await self._azure.token()
            except StackUnavailable as exc:
                logger.warning("%s %s is not set for Llama Stack", exc.message, AZURE_KEY)
        return given

    async def _keep(self, process: Process, socket: Path) -> None:
        """Start it again whenever it has ended."""
        pause = RESTART_SECONDS
        while True:
            code = await process.wait()
            logger.error("The Llama Stack of library mode ended (%d); it is started again", code)
            await asyncio.sleep(pause)
            try:
                process = await self._start(socket)
                pause = RESTART_SECONDS
            except StackUnavailable as exc:
                logger.error("%s", exc.message)  # noqa: TRY400 - what it said itself is in the log
                pause = min(2 * pause, RESTART_MAX_SECONDS)


def _on(socket: Path, settings: Settings) -> Settings:
    """Return settings of a Llama Stack at a socket; it asks for no key."""
    there = settings.llama_stack.model_copy(update={"url": f"{UNIX}{socket}", "api_key": None})
    return settings.model_copy(update={"llama_stack": there})


async def _answers(process: Process, socket: Path) -> None:
    """Wait until it takes connections, which is when it has started."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_unix_connection(str(socket))
                    writer.close()
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        await _stop(process)
    raise StackUnavailable("The Llama Stack of library mode does not start: see what it logged.")


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
