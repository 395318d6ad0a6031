"""What has really answered a request: told by whoever knows, heard by whoever writes the header."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engines.operations import Group

type Engine = Literal["forwarded", "emulated", "embedded"]

_told: ContextVar[dict[Group, Engine] | None] = ContextVar("told", default=None)


@contextmanager
def hearing() -> Iterator[dict[Group, Engine]]:
    """Return what is filled with what is told during a request, by group."""
    heard: dict[Group, Engine] = {}
    token = _told.set(heard)
    try:
        yield heard
    finally:
        _told.reset(token)


def tell(group: Group, engine: Engine) -> None:
    """Say what answers a request of this group; where nobody hears it, nothing comes of it."""
    heard = _told.get()
    if heard is not None:
        heard[group] = engine
