"""Host names -> addresses, off the event loop and in bounded time."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

THREADS = 16


class Resolver:
    """Asks the system. It has threads of its own: names whose servers hang delay nothing else."""

    def __init__(self) -> None:
        """Threads start when they are needed."""
        self._threads = ThreadPoolExecutor(THREADS, "resolver")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of ``host``, each once; raises ``OSError`` or ``UnicodeError``."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)
