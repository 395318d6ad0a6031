"""Who may write a task, and for how long without a sign of life."""

from __future__ import annotations

import secrets

from agent.clock import now

LEASE_SECONDS = 30.0
"""How long after its last sign of life a process is taken for dead."""

# More events than a process can have sent since it last stored some: a follower never sees a number twice,
# whoever goes on with the task.
SEQ_GAP = 1_000_000


class Holder:
    """This process, as the holder of leases."""

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        """Take a name that no other process has."""
        self.name = secrets.token_hex(8)
        self.seconds = seconds

    def until(self) -> int:
        """Return when a lease that is taken now runs out, in milliseconds since the epoch."""
        return now() + int(self.seconds * 1000)
