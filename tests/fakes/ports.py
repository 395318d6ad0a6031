"""Ports for servers that are started a little later."""

from __future__ import annotations

import random
import socket

# Below the range that systems take the ports of outgoing connections from: one of those could come first.
PORTS = range(18_000, 30_000)
_random = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free, and that no client will be given."""
    while True:
        port = _random.choice(PORTS)
        try:
            with socket.create_server((host, port)):
                return port
        except OSError:
            continue
