"""One way to make an operation answer with a status, on a server that is set up for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.contract.operations import Pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import httpx

    type Provoke = Callable[["Server"], Awaitable[httpx.Response]]


class Server(NamedTuple):
    """A server: how it is reached, the folder of what it keeps, and a header that lets callers in."""

    http: httpx.AsyncClient
    folder: Path
    known: dict[str, str]


class Case(NamedTuple):
    """``provoke`` makes the request, looks at what is essential, and returns the answer."""

    pair: Pair
    server: str
    about: str
    provoke: Provoke

    @property
    def name(self) -> str:
        """What the test is called."""
        return f"{self.pair.operation} {self.pair.status} {self.about}"


class Cases:
    """The cases of a module."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def shows(self, operation: str, status: int, on: str = "plain") -> Callable[[Provoke], Provoke]:
        """Return a decorator that adds a case, which is about what its function is called."""

        def add(provoke: Provoke) -> Provoke:
            about = getattr(provoke, "__name__", "").strip("_").replace("_", " ")
            self.all.append(Case(Pair(operation, status), on, about, provoke))
            return provoke

        return add
