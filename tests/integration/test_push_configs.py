"""Callers manage the webhooks of their tasks."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import text

from agent.caller import Caller
from agent.errors import InvalidParams, StateError
from agent.model import PushAuthentication
from tests.fakes.state import open_database
from tests.fakes.webhooks import ANN, Clock, config, open_push, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database(database_url) as opened:
        yield opened


async def test_configurations_are_returned_as_they_were_given(database: Database) -> None:
    given = config(
        "http://127.0.0.1:9000/hook?key=k",
        id="one",
        token="t",
        authentication=PushAuthentication(("Bearer",), "c"),
    )
    async with open_push(database) as push:
        assert await push.create(ANN, given) == given
        assert await push.get(ANN, "task", "one") == given
        assert (await push.list(ANN, "task", 0, "")).configs == [given]


async def test_the_one_configuration_of_0_3_is_that_of_the_task_or_the_oldest(
    database: Database,
) -> None:
    clock = Clock()
    async with open_push(database, clock=clock) as push:
        assert await push.get(ANN, "task", None) is None
        for id_ in ("z", "a"):
            await push.create(ANN, config("http://127.0.0.1:9000/", id=id_))
            clock.now += 1
        oldest = await push.get(ANN, "task", None)
        await push.create(ANN, config("http://127.0.0.1:9000/", version="0.3"))
        own = await push.get(ANN, "task", None)

    assert oldest is not None
    assert own is not None
    assert (oldest.id, own.id) == ("z", "task")


@pytest.mark.parametrize("version", ["1.0", "0.3"])
async def test_what_comes_with_every_message_of_a_task_is_one_webhook(
    database: Database, version: str
) -> None:
    """Unless it differs in anything but its id."""
    given = config(
        "http://127.0.0.1:9000/",
        version=version,
        token="t",
        authentication=PushAuthentication(("Bearer",), "c"),
    )
    async with open_push(database) as push:
        first = await push.create(ANN, given)
        second = await push.create(ANN, given, again=True)
        other = await push.create(ANN, msgspec.structs.replace(given, token="u"), again=True)
        another = await push.create(ANN, given)

    assert first == second
    if version == "1.0":
        assert len({each.id for each in (first, other, another)}) == 3


async def test_another_owners_or_tenants_configuration_is_not_there(database: Database) -> None:
    async with open_push(database) as push:
        await push.create(ANN, config("http://127.0.0.1:9000/", id="one"))
        for other in (Caller("bob"), Caller("ann", "red")):
            assert await push.get(other, "task", "one") is None
            assert (await push.list(other, "task", 0, "")).configs == []
            await push.delete(other, "task", "one")
        assert await push.get(ANN, "task", "one") is not None


async def test_configurations_are_listed_in_pages(database: Database) -> None:
    """What comes and goes between two pages does not shift the rest."""
    async with open_push(database) as push:
        for id_ in ("b", "d", "ä", "A", "c"):
            await push.create(ANN, config("http://127.0.0.1:9000/", id=id_))
        first = await push.list(ANN, "task", 2, "")
        await push.delete(ANN, "task", "A")
        await push.create(ANN, config("http://127.0.0.1:9000/", id="B"))
        second = await push.list(ANN, "task", 2, first.next_page_token)
        third = await push.list(ANN, "task", 2, second.next_page_token)

    assert [[each.id for each in page.configs] for page in (first, second, third)] == [
        ["A", "b"],
        ["c", "d"],
        ["ä"],
    ]
    assert third.next_page_token == ""


@pytest.mark.parametrize("token", ["?", "a", "ä", "/w=="])
async def test_a_page_token_that_is_none_is_refused(database: Database, token: str) -> None:
    async with open_push(database) as push:
        with pytest.raises(InvalidParams) as refused:
            await push.list(ANN, "task", 2, token)

    assert refused.value.field == "pageToken"


async def test_a_task_has_so_many_configurations_at_most(database: Database) -> None:
    """Changing one of them is possible all the same."""
    async with open_push(database, settings(configs_per_task=2)) as push:
        for id_ in ("a", "b"):
            await push.create(ANN, config("http://127.0.0.1:9000/", id=id_))
        with pytest.raises(InvalidParams):
            await push.create(ANN, config("http://127.0.0.1:9000/", id="c"))
        await push.create(ANN, config("http://127.0.0.1:9000/changed", id="b"))
        await push.create(ANN, config("http://127.0.0.1:9000/", "other", id="c"))

        urls = [each.url for each in (await push.list(ANN, "task", 0, "")).configs]
    assert urls == ["http://127.0.0.1:9000/", "http://127.0.0.1:9000/changed"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "ftp://127.0.0.1/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        (
            {"url": "http://169.254.169.254/latest/meta-data/", "version": "0.3"},
            "pushNotificationConfig.url",
        ),
        ({"id": "i" * 257}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"token": "a\r\nX-Evil: 1"}, "token"),
        ({"token": "ä"}, "token"),
        ({"token": "t" * 4097}, "token"),
        ({"authentication": PushAuthentication(("Bearer",), "a\nb")}, "authentication.credentials"),
        ({"authentication": PushAuthentication(("Bear er",), "a")}, "authentication.scheme"),
        (
            {"authentication": PushAuthentication(("Basic", ""), "a"), "version": "0.3"},
            "pushNotificationConfig.authentication.schemes",
        ),
    ],
)
async def test_what_cannot_be_sent_is_refused(
    database: Database, changes: dict[str, Any], field: str
) -> None:
    async with open_push(database) as push:
        with pytest.raises(InvalidParams) as refused:
            await push.create(ANN, config(**{"url": "http://127.0.0.1:9000/", **changes}))

        assert refused.value.field == field
        assert (await push.list(ANN, "task", 0, "")).configs == []


async def test_an_error_of_the_database_does_not_hold_the_secrets_it_was_given(
    database: Database,
) -> None:
    """It is logged with all its causes."""
    async with open_push(database) as push:
        await database.write(lambda c: c.execute(text("ALTER TABLE push_configs RENAME TO gone")))
        authentication = PushAuthentication(("Bearer",), "credentials-secret")
        given = config(
            "http://127.0.0.1:9000/?key=query-secret",
            token="token-secret",
            authentication=authentication,
        )
        with pytest.raises(StateError) as failed:
            await push.create(ANN, given)

    logged = "".join(traceback.format_exception(failed.value))
    assert "push_configs" in logged
    assert "-secret" not in logged
