"""What the audit log holds back, so that those who may do nothing cannot fill a disk with it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    type Line = dict[str, Any]

SECONDS = 1.0
"""How long lines like one that was told are held back."""

KEPT = 1000
"""Of how many kinds of lines this is kept in mind."""


class _Told:
    """When a line was told, and what was held back since: how many, and the last of them."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.count = 0
        self.last: Line = {}

    @property
    def line(self) -> Line:
        """The last one, with the number of those before it."""
        return repeated(self.last, self.count - 1)


class HeldBack:
    """Of lines that are alike one a second is told; ``repeated`` says of how many more it tells."""

    def __init__(self, clock: Callable[[], float], kept: int = KEPT) -> None:
        """``clock`` tells seconds and never goes back."""
        self._clock = clock
        self._kept = kept
        # The one that was told longest ago is the first.
        self._told: OrderedDict[Hashable, _Told] = OrderedDict()

    def add(self, kind: Hashable, line: Line) -> Iterator[Line]:
        """Yield the line, unless one of its kind was told within the last second."""
        now = self._clock()
        before = self._told.get(kind)
        if before is not None and now < before.at + SECONDS:
            before.count += 1
            before.last = line
            return
        self._tell(kind, now)
        yield repeated(line, 0 if before is None else before.count)
        if len(self._told) > self._kept:
            _, forgotten = self._told.popitem(last=False)
            if forgotten.count:
                yield forgotten.line

    def due(self) -> Iterator[Line]:
        """Yield what has been held back for long enough."""
        now = self._clock()
        while self._told:
            kind, told = next(iter(self._told.items()))
            if now < told.at + SECONDS:
                return
            del self._told[kind]
            if told.count:
                self._tell(kind, now)
                yield told.line

    def rest(self) -> Iterator[Line]:
        """Yield all that is held back."""
        while self._told:
            _, told = self._told.popitem(last=False)
            if told.count:
                yield told.line

    def _tell(self, kind: Hashable, now: float) -> None:
        self._told[kind] = _Told(now)
        self._told.move_to_end(kind)


def repeated(line: Line, count: int) -> Line:
    """Return the line with the number of those that it stands for beside itself, if there are any."""
    return line | {"repeated": count} if count else line
