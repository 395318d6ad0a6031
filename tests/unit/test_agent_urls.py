"""What turns name by URL: in all of bounded size and time, and a few at once for each owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from agent.agents.urls import AT_ONCE, Urls, named_in
from agent.errors import InvalidParams, PayloadTooLarge
from agent.outgoing.fetch import Fetched
from agent.settings.own import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


class Web:
    """Pages of 4 bytes, which come when the gate is open."""

    def __init__(self, *, is_open: bool = True) -> None:
        """Nobody has asked."""
        self.gate = anyio.Event()
        self.running = self.most = 0
        if is_open:
            self.gate.set()

    async def get(
        self,
        url: str,
        max_bytes: int,
        *,
        field: str = "url",
        count: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Return a page."""
        assert max_bytes == Limits().file_bytes
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            await anyio.lowlevel.checkpoint()
            if "missing" in url:
                raise InvalidParams(field, "cannot be fetched")
            if count is not None:
                count(4)
        finally:
            self.running -= 1
        return Fetched(b"page", "text/plain")


def nothing(size: int) -> None:
    """Have room for all."""


def pages(count: int) -> dict[str, str]:
    """Return what names so many pages."""
    return {f"documents.{number}.content": f"https://web/{number}" for number in range(count)}


async def test_a_few_are_fetched_at_once_and_their_bytes_are_counted_in_all() -> None:
    web, counted = Web(), list[int]()
    urls = Urls(web, Limits(body_bytes=40))
    found = await urls.read("ann", pages(10), counted.append)
    assert found == dict.fromkeys(pages(10), b"page")
    assert (web.most, sum(counted)) == (AT_ONCE, 40)
    with pytest.raises(PayloadTooLarge, match="40 bytes"):
        await urls.read("ann", pages(11), counted.append)
    assert web.running == 0


async def test_who_has_many_to_fetch_waits_for_no_one_else() -> None:
    web = Web(is_open=False)
    urls = Urls(web, Limits())
    async with anyio.create_task_group() as group:
        for owner in ("ann", "ann", "bob"):
            group.start_soon(urls.read, owner, pages(9), nothing)
        await anyio.wait_all_tasks_blocked()
        assert web.running == 2 * AT_ONCE
        group.cancel_scope.cancel()
    assert web.running == 0


async def test_what_does_not_come_in_time_or_not_at_all_ends_the_others() -> None:
    web = Web(is_open=False)
    with pytest.raises(InvalidParams, match=r"documents\.0\.content: takes too long"):
        await Urls(web, Limits(), seconds=0.01).read("ann", pages(2), nothing)
    web.gate.set()
    named = pages(2) | {"messages.0.content": "https://missing"}
    with pytest.raises(InvalidParams, match=r"messages\.0\.content: cannot be fetched"):
        await Urls(web, Limits()).read("ann", named, nothing)
    assert web.running == 0


async def test_too_many_are_refused_and_what_a_uri_has_in_it_is_not_fetched() -> None:
    urls = Urls(Web(), Limits(parts=2))
    with pytest.raises(InvalidParams, match="too many URLs"):
        await urls.read("ann", pages(3), nothing)
    within = {"documents.0.content": "data:,a%20b", "documents.1.content": "DATA:;base64,Qg=="}
    assert list((await urls.read("ann", within, nothing)).values()) == [b"a b", b"B"]


def test_images_and_documents_are_found_with_their_paths() -> None:
    image = {"type": "image", "image": {"url": {"uri": "https://a"}}}
    said = {
        "messages": ({"content": [{"type": "text", "text": "x"}, image]}, {"content": image}),
        "documents": [{"content": {"uri": "https://b"}}, {"content": "text"}],
    }
    assert dict(named_in(said)) == {
        "messages.0.content.1": "https://a",
        "messages.1.content": "https://a",
        "documents.0.content": "https://b",
    }
