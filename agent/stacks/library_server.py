"""Serves Llama Stack on a socket: run as a script, by a Python that has Llama Stack and perhaps not us.

``LLAMA_STACK_CONFIG`` is its ``run.yaml``; for OGX, as it is called later, ``OGX_CONFIG`` is.
Ends when standard input does: with whoever started it.
"""

import os
import signal
import sys
import threading
from importlib.util import find_spec

SHUTDOWN_SECONDS = 5


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(socket: str) -> None:
    """Serve until told to stop."""
    import uvicorn

    threading.Thread(target=_end_with_starter, daemon=True).start()
    package = "llama_stack" if find_spec("llama_stack") else "ogx"
    uvicorn.run(
        f"{package}.core.server.server:create_app",
        factory=True,
        uds=socket,
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main(sys.argv[1])
