"""Places for connections: who comes takes that of whoever is idle for longest when there is none left."""

from __future__ import annotations

import logging
from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from agent.cli.seldom import Seldom

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """Who has a place."""

    def give_way(self) -> None:
        """End at once."""


class Places:
    """The connections of one process: at most ``most``, those that are idle in the order of that."""

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        """Make ``most`` places; ``clock`` tells seconds."""
        self._most = most
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._busy: set[Connection] = set()
        self._seldom = Seldom(clock)

    def take(self, connection: Connection) -> bool:
        """Give a place to a new connection, which is idle; returns whether there is one."""
        if len(self._idle) + len(self._busy) >= self._most:
            if not self._idle:
                self._tell("All %d connections are busy: new ones are refused")
                return False
            self._tell("There are %d connections: those that are idle give way to new ones")
            longest, _ = self._idle.popitem(last=False)
            longest.give_way()
        self._idle[connection] = None
        return True

    def begin(self, connection: Connection) -> None:
        """Note that a connection is busy from now on."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy.add(connection)

    def end(self, connection: Connection) -> None:
        """Note that a connection is idle again."""
        if connection in self._busy:
            self._busy.remove(connection)
            self._idle[connection] = None

    def leave(self, connection: Connection) -> None:
        """Take the place back, if it has one."""
        self._idle.pop(connection, None)
        self._busy.discard(connection)

    def _tell(self, line: str) -> None:
        if self._seldom.is_due(line):
            _log.warning(line, self._most)
