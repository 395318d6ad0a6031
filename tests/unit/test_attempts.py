"""The limit on failed authentications by address."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import anyio
import pytest

from agent.auth.access import Access
from agent.auth.attempts import REMEMBERED, WAITING, WINDOW_SECONDS, Attempts
from agent.auth.base import Identity, Immediate, Presented
from agent.auth.gate import Gate
from agent.auth.good_credentials import EACH, GoodCredentials
from agent.auth.recent import Recent
from agent.errors import (
    IdentityUnavailable,
    InvalidParams,
    MalformedCredentials,
    PermissionDenied,
    RequestError,
    TooManyAttempts,
    Unauthenticated,
)
from agent.settings.own import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

ADDRESS = "192.0.2.1"
OTHER = "192.0.2.2"
LIMIT = 3


def numbered(number: int) -> str:
    """Return an address."""
    return str(IPv4Address("10.0.0.0") + number)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return what the test set."""
        return self.now


class Module(Immediate):
    """Knows who shows ``good``, or ``bob-`` and more; ``errors`` are raised for what else is shown."""

    def __init__(self, *, always_checks: bool = False, knows_ids: bool = True) -> None:
        self.always_checks = always_checks
        self.knows_ids = knows_ids
        self.asked: list[str] = []
        self.good = {"good"}
        self.errors: dict[str, RequestError] = {}
        self.hold: asyncio.Event | None = None

    def credential(self, presented: Presented) -> str | None:
        """Look at one header, and no other."""
        return presented.headers.get("authorization")

    async def identify(self, presented: Presented) -> Identity:
        """Note what is shown, and judge it."""
        shown = presented.headers.get("authorization", "")
        self.asked.append(shown)
        if self.hold is not None:
            await self.hold.wait()
        is_bob = shown.startswith("bob-")
        if shown in self.good or is_bob:
            user_id = "bob" if is_bob and self.knows_ids else "ann"
            return Identity(user_id, skip_user_id_check=not self.knows_ids)
        raise self.errors.get(shown) or Unauthenticated("Nobody")


class Door:
    """A gate with a module and a clock of the test."""

    def __init__(self, limit: int = LIMIT, wait_seconds: float = 10, **module: bool) -> None:
        self.module, self.clock = Module(**module), Clock()
        limits = Limits(auth_failures_per_minute=limit)
        self.attempts = Attempts(limits, self.clock, wait_seconds)
        self.gate = Gate(self.module, Access(()), self.attempts)

    async def shows(self, shown: str | Mapping[str, str] | None, address: str = ADDRESS) -> object:
        """Return the user id, or the error."""
        headers = {"authorization": shown} if isinstance(shown, str) else shown or {}
        try:
            return (await self.gate.caller(Presented(headers, address=address))).user_id
        except RequestError as exc:
            return exc

    async def fails(self, times: int, address: str = ADDRESS) -> None:
        """Show what is wrong."""
        for number in range(times):
            assert isinstance(await self.shows(f"bad-{number}", address), Unauthenticated)


async def test_after_the_last_failure_allowed_the_module_is_not_asked_for_the_rest_of_the_minute() -> (
    None
):
    door = Door()
    await door.fails(2)
    door.clock.now += 10.5
    await door.fails(1)
    asked = len(door.module.asked)

    refused = await door.shows("another")

    assert isinstance(refused, TooManyAttempts)
    assert refused.retry_after == 50
    assert str(refused) == "Too many failed authentication attempts: Try again in 50 seconds."
    assert len(door.module.asked) == asked


async def test_when_the_minute_is_over_the_address_begins_anew() -> None:
    door = Door()
    await door.fails(LIMIT)
    door.clock.now += WINDOW_SECONDS

    await door.fails(LIMIT)

    assert isinstance(await door.shows("bad"), TooManyAttempts)


async def test_requests_that_are_refused_do_not_make_it_longer() -> None:
    door = Door()
    await door.fails(LIMIT)
    for _ in range(20):
        door.clock.now += 2
        assert isinstance(await door.shows("bad"), TooManyAttempts)
    door.clock.now += 20

    assert await door.shows("good") == "ann"


async def test_failures_further_apart_than_a_minute_do_not_add_up() -> None:
    door = Door()
    for _ in range(5):
        await door.fails(LIMIT - 1)
        door.clock.now += WINDOW_SECONDS

    assert await door.shows("good") == "ann"


async def test_another_address_is_not_concerned() -> None:
    door = Door()
    door.module.good.add("unseen")
    await door.fails(LIMIT)

    assert await door.shows("unseen", OTHER) == "ann"


async def test_credentials_that_were_good_lately_pass_at_any_time() -> None:
    door = Door()
    assert await door.shows("good") == "ann"
    await door.fails(LIMIT)

    assert await door.shows("good") == "ann"
    assert await door.shows({"authorization": "good", "x-rh-identity": "any"}) == "ann"


async def test_what_is_good_elsewhere_tells_nothing_to_who_guesses_on() -> None:
    door = Door()
    assert await door.shows("good", OTHER) == "ann"
    await door.fails(LIMIT)

    assert isinstance(await door.shows("good"), TooManyAttempts)


async def test_nobody_pushes_out_the_good_credentials_of_others() -> None:
    door = Door()
    await door.shows("good")
    for number in range(REMEMBERED + 1):
        assert await door.shows(f"bob-{number}") == "bob"
    await door.fails(LIMIT)

    assert await door.shows("good") == "ann"
    assert await door.shows(f"bob-{REMEMBERED + 1 - EACH}") == "bob"
    assert isinstance(await door.shows(f"bob-{REMEMBERED - EACH}"), TooManyAttempts)


async def test_where_callers_choose_their_id_an_address_pushes_out_none_of_another() -> None:
    door = Door(knows_ids=False)
    await door.shows("good")
    for number in range(REMEMBERED + 1):
        assert await door.shows(f"bob-{number}", OTHER) == "ann"
    await door.fails(LIMIT)

    assert await door.shows("good") == "ann"


async def test_a_module_that_always_checks_lets_good_credentials_in_from_a_refused_address() -> (
    None
):
    door = Door(always_checks=True)
    await door.fails(LIMIT)

    refused = await door.shows("bad")
    assert isinstance(refused, TooManyAttempts)
    assert refused.retry_after == WINDOW_SECONDS
    assert await door.shows("good") == "ann"


async def test_a_module_that_always_checks_lets_nobody_wait() -> None:
    door = Door(always_checks=True)
    door.module.hold = asyncio.Event()
    with anyio.fail_after(30):
        tasks = [asyncio.create_task(door.shows(f"bad-{number}")) for number in range(50)]
        await anyio.wait_all_tasks_blocked()
        assert len(door.module.asked) == 50
        door.module.hold.set()
        said = await asyncio.gather(*tasks)

    assert [type(each) for each in said] == [Unauthenticated] * LIMIT + [TooManyAttempts] * 47


async def test_good_credentials_that_were_never_seen_are_refused_with_the_address() -> None:
    door = Door()
    await door.fails(LIMIT)

    assert isinstance(await door.shows("good"), TooManyAttempts)


async def test_credentials_that_are_good_no_more_are_refused_after_they_failed_once() -> None:
    door = Door()
    await door.shows("good")
    await door.fails(LIMIT)
    door.module.good.clear()

    assert isinstance(await door.shows("good"), Unauthenticated)
    assert isinstance(await door.shows("good"), TooManyAttempts)


async def test_a_request_that_shows_nothing_is_not_counted_and_not_refused() -> None:
    door = Door()
    for _ in range(10):
        assert isinstance(await door.shows(None), Unauthenticated)
    await door.fails(LIMIT)

    assert isinstance(await door.shows(None), Unauthenticated)


NO_GUESS = [
    PermissionDenied("no"),
    IdentityUnavailable("down"),
    InvalidParams("user_id", "is long"),
    Unauthenticated("Expired", counts=False),
]


@pytest.mark.parametrize("always_checks", [True, False])
@pytest.mark.parametrize("error", NO_GUESS, ids=repr)
async def test_only_wrong_credentials_are_counted(
    error: RequestError, *, always_checks: bool
) -> None:
    door = Door(always_checks=always_checks)
    door.module.errors["known"] = error
    for _ in range(10):
        assert await door.shows("known") is error
    await door.fails(LIMIT)

    if always_checks:
        assert await door.shows("known") is error
    else:
        assert isinstance(await door.shows("known"), TooManyAttempts)


@pytest.mark.parametrize("error", NO_GUESS, ids=repr)
async def test_only_wrong_credentials_are_no_good_ones_any_more(error: RequestError) -> None:
    door = Door()
    await door.shows("good")
    door.module.good.clear()
    door.module.errors["good"] = error
    assert await door.shows("good") is error
    await door.fails(LIMIT)

    assert await door.shows("good") is error


async def test_credentials_that_cannot_be_read_are_counted() -> None:
    door = Door()
    door.module.errors["mess"] = MalformedCredentials("What is that?")
    for _ in range(LIMIT):
        await door.shows("mess")

    assert isinstance(await door.shows("mess"), TooManyAttempts)


async def test_what_the_module_does_not_look_at_is_not_counted() -> None:
    door = Door()
    for number in range(LIMIT + 1):
        shown = await door.shows({"x-rh-identity": f"bad-{number}"})
        assert isinstance(shown, Unauthenticated)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "unknown"),
    ],
    ids=["one network of IPv6", "IPv4 written as IPv6", "no address"],
)
async def test_what_is_one_place_is_counted_together(one: str, other: str) -> None:
    door = Door()
    await door.fails(LIMIT, one)

    assert isinstance(await door.shows("bad", other), TooManyAttempts)


async def test_networks_of_ipv6_are_counted_apart() -> None:
    door = Door()
    await door.fails(LIMIT, "2001:db8:1:2::1")

    await door.fails(1, "2001:db8:1:3::1")


async def test_of_parallel_requests_no_more_are_checked_than_may_fail() -> None:
    door = Door()
    door.module.hold = asyncio.Event()
    with anyio.fail_after(30):
        tasks = [asyncio.create_task(door.shows(f"bad-{number}")) for number in range(50)]
        await anyio.wait_all_tasks_blocked()
        assert len(door.module.asked) == LIMIT
        door.module.hold.set()
        said = await asyncio.gather(*tasks)

    assert [type(each) for each in said] == [Unauthenticated] * LIMIT + [TooManyAttempts] * 47
    assert len(door.module.asked) == LIMIT


async def test_good_credentials_that_come_in_parallel_wait_and_all_pass() -> None:
    door = Door()
    door.module.good = {f"good-{number}" for number in range(50)}
    door.module.hold = asyncio.Event()
    with anyio.fail_after(30):
        tasks = [asyncio.create_task(door.shows(shown)) for shown in sorted(door.module.good)]
        await anyio.wait_all_tasks_blocked()
        door.module.hold.set()
        said = await asyncio.gather(*tasks)

    assert said == ["ann"] * 50


async def test_who_waits_too_long_is_told_that_nothing_is_known_of_the_credentials() -> None:
    door = Door(wait_seconds=0.001)
    door.module.hold = asyncio.Event()
    with anyio.fail_after(30):
        tasks = [asyncio.create_task(door.shows(f"{number}")) for number in range(LIMIT)]
        await anyio.wait_all_tasks_blocked()

        assert isinstance(await door.shows("good"), IdentityUnavailable)

        door.module.hold.set()
        await asyncio.gather(*tasks)


async def test_no_more_requests_wait_than_the_bound() -> None:
    door = Door(limit=1)
    door.module.hold = asyncio.Event()
    with anyio.fail_after(30):
        tasks = [asyncio.create_task(door.shows(f"{number}")) for number in range(1 + WAITING)]
        await anyio.wait_all_tasks_blocked()

        assert isinstance(await door.shows("good"), IdentityUnavailable)

        door.module.hold.set()
        await asyncio.gather(*tasks)


async def test_a_request_that_is_given_up_gives_its_place_back() -> None:
    door = Door(limit=1)
    door.module.hold = asyncio.Event()
    with anyio.fail_after(30):
        gone = asyncio.create_task(door.shows("bad"))
        await anyio.wait_all_tasks_blocked()
        waits = asyncio.create_task(door.shows("good"))
        await anyio.wait_all_tasks_blocked()
        assert not waits.done()
        gone.cancel()
        door.module.hold.set()

        assert await waits == "ann"


async def test_the_log_tells_once_when_an_address_begins_to_be_refused_and_shows_no_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    door = Door()
    with caplog.at_level(logging.DEBUG, "agent.auth"):
        await door.fails(LIMIT, "2001:db8::1")
        for _ in range(3):
            await door.shows("bad", "2001:db8::1")

    assert [record.getMessage() for record in caplog.records] == [
        "3 failed authentications from 2001:db8::/64 within a minute: refused for 60 seconds"
    ]


async def test_addresses_without_failures_are_not_remembered() -> None:
    """Else those that come and go would push out those that fail."""
    door = Door()
    await door.fails(LIMIT)
    for number in range(REMEMBERED + 1):
        door.module.good.add(f"good-{number}")
        await door.shows(f"good-{number}", numbered(number))

    assert isinstance(await door.shows("bad"), TooManyAttempts)


async def test_no_more_addresses_are_remembered_than_the_bound() -> None:
    door = Door()
    await door.fails(LIMIT)
    for number in range(REMEMBERED):
        await door.fails(1, numbered(number))

    assert isinstance(await door.shows("bad"), Unauthenticated)


def test_no_more_good_credentials_are_remembered_than_the_bound() -> None:
    good = GoodCredentials(3)
    for name in ("a", "b", "c"):
        good.add(name.encode(), f"owner of {name}")
    assert b"a" in good
    good.add(b"d", "owner of d")
    good.discard(b"c")
    good.discard(b"never seen")

    assert [name in good for name in (b"a", b"b", b"c", b"d")] == [True, False, False, True]
    assert len(good) == 2


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1

    recent.put("c", 3)

    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    assert len(recent) == 2
