"""How often an issuer is asked for its keys, and for how long its keys and tokens are good."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic import ValidationError

from agent.auth.base import Presented
from agent.auth.jwk_token import JwkToken, _Jwt
from agent.auth.key_set import DOCUMENT_BYTES, KeySet
from agent.errors import IdentityUnavailable, SettingsError, Unauthenticated
from agent.settings.access import Authentication, Jwk
from agent.settings.load import load
from tests.fakes.issuer import Issuer, new_key, sign
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Clock:
    """Shows what a test says."""

    def __init__(self) -> None:
        self.seconds = float(NOW)

    def __call__(self) -> float:
        """Return seconds since whenever."""
        return self.seconds


class Module:
    """``jwk-token`` at a time that a test sets; counts the tokens that it checks."""

    def __init__(self, issuer: Issuer) -> None:
        self.clock = Clock()
        jwk = Jwk(url=issuer.url)
        self.module = JwkToken(jwk, Authentication(), self.clock, self.clock)
        self.checks = 0
        self.module._jwt = _Counting(self)

    async def fetched(self) -> None:
        """Wait for a fetch that nobody waits for."""
        while (fetching := self.module._keys._fetching) is not None:
            await asyncio.wait([fetching])

    async def user(self, token: str) -> str:
        """Return whose a token is."""
        shown = Presented({"authorization": f"Bearer {token}"})
        return (await self.module.identify(shown)).user_id

    async def refusal(self, token: str) -> str:
        """Return why a token is refused."""
        with pytest.raises(Unauthenticated) as refused:
            await self.user(token)
        return refused.value.cause

    async def cannot_tell(self, token: str) -> None:
        """Expect that nobody knows."""
        with pytest.raises(IdentityUnavailable):
            await self.user(token)


class _Counting(_Jwt):
    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module

    def decode_complete(self, *args: Any, **named: Any) -> dict[str, Any]:
        self.module.checks += 1
        return super().decode_complete(*args, **named)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """Return an issuer that serves its keys."""
    async with Issuer(issued_at=NOW).serving() as serves:
        yield serves


@pytest.fixture
async def module(issuer: Issuer) -> AsyncIterator[Module]:
    """Return the module, open."""
    with anyio.fail_after(10):
        made = Module(issuer)
        await made.module.open()
        try:
            yield made
        finally:
            await made.module.close()


def unknown(number: int) -> str:
    """Return a token that names a key nobody has."""
    return sign(_STRANGER, {"alg": "ES256", "kid": f"random-{number}"}, {"exp": NOW + 99_999})


_STRANGER = new_key("ES256")


async def test_keys_are_fetched_once_an_hour(issuer: Issuer, module: Module) -> None:
    token = issuer.token(exp=NOW + 99_999)
    assert issuer.fetches == 0
    for after, fetches in ((0, 1), (1, 1), (3599, 1), (3600, 2), (7199, 2), (7200, 3)):
        module.clock.seconds = NOW + after
        assert await module.user(token) == "ann"
        await module.fetched()
        assert issuer.fetches == fetches


async def test_nobody_waits_for_an_issuer_that_hangs_while_there_are_keys(
    issuer: Issuer, module: Module
) -> None:
    """Only those wait, and for one fetch, whose key is not among them."""
    known = issuer.token(exp=NOW + 99_999)
    await module.user(known)
    issuer.held, issuer.asked = asyncio.Event(), asyncio.Event()
    module.clock.seconds = NOW + 3600

    for token in (known, issuer.token(exp=NOW + 99_998), known):
        assert await module.user(token) == "ann"
    await issuer.asked.wait()
    issuer.rotate()
    waiting = [asyncio.create_task(module.user(issuer.token(exp=NOW + 99_999))) for _ in range(3)]
    await anyio.wait_all_tasks_blocked()
    assert await module.user(known) == "ann"
    assert not any(each.done() for each in waiting)
    issuer.held.set()

    assert await asyncio.gather(*waiting) == ["ann"] * 3
    assert await module.refusal(known) == "Token signed by unknown key"
    assert issuer.fetches == 2


async def test_keys_that_are_too_old_are_not_used_before_newer_ones_are_there(
    issuer: Issuer, module: Module
) -> None:
    old = issuer.token(exp=NOW + 99_999)
    await module.user(old)
    issuer.rotate()
    module.clock.seconds = NOW + 7200
    assert await module.refusal(old) == "Token signed by unknown key"


async def test_all_who_wait_share_one_fetch(issuer: Issuer, module: Module) -> None:
    """Whoever goes away does not end it for the others, not even who began it."""
    issuer.held = asyncio.Event()
    waiting = [
        asyncio.create_task(module.user(issuer.token(user_id=f"u-{number}")))
        for number in range(20)
    ]
    await issuer.asked.wait()
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    issuer.held.set()

    assert await asyncio.gather(*waiting[1:]) == [f"u-{number}" for number in range(1, 20)]
    assert issuer.fetches == 1


async def test_random_key_ids_make_one_fetch_in_so_many_seconds(
    issuer: Issuer, module: Module
) -> None:
    """Whether they come one by one or all at once; callers that are known are let in meanwhile."""
    await module.user(issuer.token())
    for after, fetches in ((0, 1), (9.9, 1), (10, 2), (19.9, 2), (20, 3)):
        module.clock.seconds = NOW + after
        for number in range(5):
            assert await module.refusal(unknown(number)) == "Token signed by unknown key"
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(module.refusal, unknown(number))
        assert await module.user(issuer.token()) == "ann"
        assert issuer.fetches == fetches


async def test_wrong_signatures_make_no_more_fetches_than_that(
    issuer: Issuer, module: Module
) -> None:
    await module.user(issuer.token())
    for after, fetches in ((0, 1), (10, 2)):
        module.clock.seconds = NOW + after
        for number in range(5):
            forged = sign(_STRANGER, {"alg": "ES256", "kid": "key-1"}, {"n": number})
            assert await module.refusal(forged) == "Invalid token signature"
        assert issuer.fetches == fetches


async def test_what_cannot_be_a_good_token_makes_no_fetch(issuer: Issuer, module: Module) -> None:
    for header in ({"alg": "HS256"}, {"alg": "none"}, {"alg": "ES256", "crit": ["a"]}):
        await module.refusal(sign(_STRANGER, header, {}, "ES256"))
    for token in ("text", "a.b.c", "..", issuer.token(more="x" * 16 * 1024)):
        await module.refusal(token)
    assert issuer.fetches == 0


async def test_a_new_key_is_found_within_seconds(issuer: Issuer, module: Module) -> None:
    """The old key is refused from then on, also for a token that was found good just before."""
    old = issuer.token()
    await module.user(old)
    issuer.rotate()
    module.clock.seconds = NOW + 9.9
    assert await module.refusal(issuer.token()) == "Token signed by unknown key"
    assert await module.user(old) == "ann"
    module.clock.seconds = NOW + 10
    assert await module.user(issuer.token()) == "ann"
    assert await module.refusal(old) == "Token signed by unknown key"
    assert issuer.fetches == 2


async def test_a_key_that_changes_under_its_id_is_found_too(issuer: Issuer, module: Module) -> None:
    await module.user(issuer.token())
    issuer.rotate()
    issuer.kid = issuer.keys[0]["kid"] = "key-1"
    module.clock.seconds = NOW + 10

    assert await module.user(issuer.token()) == "ann"


async def test_old_keys_are_used_while_there_are_no_others(issuer: Issuer, module: Module) -> None:
    """For an hour; the issuer is asked every ten seconds at most."""
    token = issuer.token(exp=NOW + 99_999)
    await module.user(token)
    issuer.answer = BROKEN
    for after, fetches in ((3599, 1), (3600, 2), (3609, 2), (3610, 3), (7199, 4)):
        module.clock.seconds = NOW + after
        assert await module.user(token) == "ann"
        await module.fetched()
        assert issuer.fetches == fetches
    for after, fetches in ((7200, 4), (7209, 5), (7210, 5)):
        module.clock.seconds = NOW + after
        await module.cannot_tell(token)
        assert issuer.fetches == fetches
    issuer.answer = None
    module.clock.seconds = NOW + 7219
    assert await module.user(token) == "ann"


@pytest.mark.parametrize("answer", [b"{}", b"", BROKEN], ids=["rubbish", "closed", "500"])
async def test_an_issuer_that_fails_is_not_asked_again_at_once(
    issuer: Issuer, module: Module, answer: bytes
) -> None:
    issuer.answer = answer
    for _ in range(5):
        with pytest.raises((Unauthenticated, IdentityUnavailable)):
            await module.user(issuer.token())
    assert issuer.fetches == 1
    issuer.answer = None
    module.clock.seconds = NOW + 10
    assert await module.user(issuer.token()) == "ann"


async def test_an_unknown_key_cannot_be_told_from_a_new_one_while_fetching_fails(
    issuer: Issuer, module: Module
) -> None:
    """A wrong signature can: its key is known."""
    await module.user(issuer.token())
    issuer.answer = BROKEN
    module.clock.seconds = NOW + 10
    await module.cannot_tell(unknown(1))
    await module.cannot_tell(unknown(2))
    forged = sign(_STRANGER, {"alg": "ES256", "kid": "key-1"}, {})
    assert await module.refusal(forged) == "Invalid token signature"
    assert await module.user(issuer.token(more=1)) == "ann"
    assert issuer.fetches == 2


async def test_a_token_is_checked_once_a_minute(issuer: Issuer, module: Module) -> None:
    """Each for itself; another token of the same user is another."""
    token = issuer.token(exp=NOW + 99_999)
    for after, checks in ((0, 1), (1, 1), (59.9, 1), (60, 2), (119, 2), (120, 3)):
        module.clock.seconds = NOW + after
        assert await module.user(token) == "ann"
        assert module.checks == checks
    await module.user(issuer.token(exp=NOW + 99_998))
    assert module.checks == 4


async def test_a_token_that_is_remembered_expires(issuer: Issuer, module: Module) -> None:
    """It is checked again from its expiry on, for as long as clocks may differ."""
    token = issuer.token(exp=NOW + 5)
    for after, checks in ((0, 1), (4.9, 1), (5, 2), (6, 3), (34.9, 4)):
        module.clock.seconds = NOW + after
        assert await module.user(token) == "ann"
        assert module.checks == checks
    module.clock.seconds = NOW + 35
    assert await module.refusal(token) == "Token has expired"


async def test_a_token_is_not_remembered_when_the_clock_is_set_back(
    issuer: Issuer, module: Module
) -> None:
    token = issuer.token()
    await module.user(token)
    module.clock.seconds = NOW - 20
    assert await module.user(token) == "ann"
    assert module.checks == 2


async def test_refused_tokens_are_not_remembered(issuer: Issuer, module: Module) -> None:
    token = issuer.token(nbf=NOW + 60)
    assert await module.refusal(token) == "Token is not valid yet"
    module.clock.seconds = NOW + 30
    assert await module.user(token) == "ann"


@asynccontextmanager
async def key_set(issuer: Issuer, **more: Any) -> AsyncIterator[KeySet]:
    """Yield the keys alone, open."""
    keys = KeySet(Jwk(url=issuer.url), Authentication(), Clock(), **more)
    await keys.open()
    try:
        with anyio.fail_after(10):
            yield keys
    finally:
        await keys.close()


async def test_a_fetch_takes_no_longer_than_it_may(issuer: Issuer) -> None:
    issuer.held = asyncio.Event()
    async with key_set(issuer, fetch_seconds=0.05) as keys:
        with pytest.raises(IdentityUnavailable):
            await keys.current()
    assert issuer.fetches == 1


async def test_a_fetch_ends_with_the_server(issuer: Issuer) -> None:
    """Whoever waits for it, or comes later, is told."""
    issuer.held = asyncio.Event()
    async with key_set(issuer) as keys:
        waiting = asyncio.create_task(keys.current())
        await issuer.asked.wait()
    with pytest.raises(IdentityUnavailable, match="server cannot be reached"):
        await waiting
    with pytest.raises(IdentityUnavailable, match="server cannot be reached"):
        await keys.current()


async def test_a_fetch_that_ends_before_it_began_is_told_too(issuer: Issuer) -> None:
    async with key_set(issuer) as keys:
        waiting = asyncio.create_task(keys.current())
        await asyncio.sleep(0)
    with pytest.raises(IdentityUnavailable, match="server cannot be reached"):
        await waiting
    assert issuer.fetches == 0


async def test_closing_can_be_given_up(issuer: Issuer) -> None:
    """Being canceled is not swallowed."""
    issuer.held = asyncio.Event()
    async with key_set(issuer) as keys:
        waiting = asyncio.create_task(keys.current())
        await issuer.asked.wait()
        closing = asyncio.create_task(keys.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        with pytest.raises(IdentityUnavailable):
            await waiting


@pytest.mark.parametrize("more", [0, 1], ids=["as-large-as-may-be", "larger"])
async def test_a_key_set_is_no_larger_than_it_may(issuer: Issuer, more: int) -> None:
    issuer.answer = issuer.document.ljust(DOCUMENT_BYTES + more)
    async with key_set(issuer) as keys:
        if more:
            with pytest.raises(Unauthenticated):
                await keys.current()
        else:
            assert len(await keys.current()) == 1


async def test_the_log_names_the_server_that_gives_no_keys_and_says_why(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """On one line, and not as Python writes errors."""
    issuer.answer = BROKEN
    async with key_set(issuer) as keys:
        with pytest.raises(IdentityUnavailable):
            await keys.current()
    gone = KeySet(Jwk(url=f"http://127.0.0.1:{free_port()}/keys"), Authentication())
    await gone.open()
    with pytest.raises(IdentityUnavailable):
        await gone.current()
    await gone.close()

    answered, refused = [
        record.getMessage() for record in caplog.records if record.name == "agent.auth.key_set"
    ]
    server = issuer.url.rpartition("/")[0]
    assert answered == f"The key set cannot be fetched from {server}: HTTP status 500"
    where = gone._settings.url.removesuffix("/keys")
    assert refused.startswith(f"The key set cannot be fetched from {where}: ")
    assert "Error(" not in refused


async def test_certificates_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for content in (None, b"", b"text"):
        if content is not None:
            path.write_bytes(content)
        keys = KeySet(Jwk(url="https://a", ca_cert_path=path), Authentication())
        with pytest.raises(SettingsError, match="ca_cert_path: is not a file of certificates"):
            await keys.open()
        await keys.close()


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("algorithms: [RS256, HS256]", "algorithms[1]"),
        ("algorithms: [none]", "algorithms[0]"),
        ("algorithms: []", "algorithms"),
        ("refetch_seconds: 0", "refetch_seconds"),
        ("cache_seconds: 9", "refetch_seconds"),
        ("jwt_configuration: {leeway_seconds: 301}", "jwt_configuration.leeway_seconds"),
        ("jwt_configuration: {leeway_seconds: -1}", "jwt_configuration.leeway_seconds"),
        ("jwt_configuration: {audience: ['']}", "jwt_configuration.audience[0]"),
        (
            "jwt_configuration: {role_rules: [{jsonpath: '$[', operator: in, value: [a], roles: [r]}]}",
            "jwt_configuration.role_rules[0].jsonpath",
        ),
        (
            "jwt_configuration: {role_rules: [{jsonpath: $.a, operator: in, value: a, roles: [r]}]}",
            "jwt_configuration.role_rules[0].value",
        ),
        (
            "jwt_configuration: {role_rules: [{jsonpath: $.a, operator: match, value: '(', roles: [r]}]}",
            "jwt_configuration.role_rules[0].value",
        ),
    ],
)
def test_settings_that_would_let_anybody_in_stop_the_start(
    tmp_path: Path, more: str, key: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "authentication:\n  module: jwk-token\n  jwk_config:\n"
        f"    url: https://auth.example/keys\n    {more}\n"
    )
    with pytest.raises(SettingsError) as refused:
        load(file, {})
    assert [path for path, _ in refused.value.problems] == [f"authentication.jwk_config.{key}"]


def test_a_url_holds_no_password() -> None:
    with pytest.raises(ValidationError, match="key sets are public"):
        Jwk(url="https://user:secret@auth.example/keys")
