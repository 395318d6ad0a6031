"""The agent card over HTTP: dialects, conditions, caching."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.card import Card, load_card
from agent.card_dialects import Features
from agent.card_http import card_response, key_set_response
from agent.settings import Settings
from tests.fakes import keys

pytestmark = pytest.mark.anyio

MODIFIED = "Fri, 02 Jan 2026 03:04:05 GMT"


def card(version: str = "hybrid", **a2a: str) -> Card:
    """Return a card that is served in this version by default."""
    settings = Settings.model_validate({"a2a": {"card_version": version} | a2a})
    features = Features(input_modes=("text/plain",), output_modes=("text/plain",))
    return load_card(settings, features, datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))


def client(served: Card) -> httpx.AsyncClient:
    """Return a client of a server that has nothing but this card."""

    async def endpoint(request: Request) -> Response:
        return card_response(request, served)

    async def key_set(request: Request) -> Response:
        return key_set_response(request, served)

    app = Starlette(routes=[Route("/card", endpoint), Route("/keys", key_set)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent")


async def test_the_card_is_public_and_may_be_kept() -> None:
    """By caches, and by scripts of any origin."""
    served = card()
    async with client(served) as http:
        answer = await http.get("/card", headers={"Host": "evil.example"})

    assert answer.status_code == 200
    assert answer.content == served.bodies["hybrid"].content
    assert b"evil" not in answer.content
    assert {name: answer.headers[name] for name in answer.headers} == {
        "access-control-allow-origin": "*",
        "cache-control": "public, max-age=300",
        "etag": served.bodies["hybrid"].etag,
        "last-modified": MODIFIED,
        "content-length": str(len(answer.content)),
        "content-type": "application/json",
    }


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ("", "0.3"),
        ("?version=hybrid", "hybrid"),
        ("?version=1.0", "1.0"),
        ("?version=1.0.0", "1.0"),
        ("?version=0.3", "0.3"),
        ("?version=0.3.0", "0.3"),
    ],
)
async def test_the_version_is_chosen_by_query_else_by_setting(query: str, version: str) -> None:
    """Patch numbers do not count."""
    served = card("0.3")
    async with client(served) as http:
        answer = await http.get(f"/card{query}")

    assert answer.content == served.bodies[version].content
    assert answer.headers["etag"] == served.bodies[version].etag


def test_every_body_has_its_own_entity_tag_which_a_restart_keeps() -> None:
    """Since it depends on the content alone."""
    tags = {name: body.etag for name, body in card().bodies.items()}

    assert len(set(tags.values())) == 3
    assert tags == {name: body.etag for name, body in card("1.0").bodies.items()}


@pytest.mark.parametrize("version", ["", "2.0", "1", "../x"])
async def test_an_unknown_version_is_refused(version: str) -> None:
    """As A2A's other bindings refuse it."""
    async with client(card()) as http:
        answer = await http.get("/card", params={"version": version})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["details"][0]["reason"]) == (400, "VERSION_NOT_SUPPORTED")


async def test_head_has_the_headers_of_get() -> None:
    """And no body."""
    async with client(card()) as http:
        got, head = await http.get("/card"), await http.head("/card")

    assert head.headers == got.headers
    assert head.content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": "{etag}"},
        {"If-None-Match": "W/{etag}"},
        {"If-None-Match": '"a, b", {etag}'},
        {"If-None-Match": "*"},
        {"If-None-Match": "{etag}", "If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"},
        {"If-Modified-Since": MODIFIED},
        {"If-Modified-Since": "Sat, 03 Jan 2026 00:00:00 +0100"},
        {"If-Modified-Since": "Sat, 03 Jan 2026 00:00:00 -0000"},
    ],
)
async def test_who_has_the_card_is_told_so(method: str, headers: dict[str, str]) -> None:
    """With the same validators, and nothing else to read."""
    served = card()
    etag = served.bodies["hybrid"].etag
    headers = {name: value.replace("{etag}", etag) for name, value in headers.items()}
    async with client(served) as http:
        answer = await http.request(method, "/card", headers=headers)

    assert answer.status_code == 304
    assert answer.content == b""
    assert {name: answer.headers[name] for name in answer.headers} == {
        "access-control-allow-origin": "*",
        "cache-control": "public, max-age=300",
        "etag": etag,
        "last-modified": MODIFIED,
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": '"other"'},
        {"If-None-Match": "without quotes"},
        {"If-None-Match": '"other"', "If-Modified-Since": MODIFIED},
        {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"},
        {"If-Modified-Since": "yesterday"},
        {"If-Modified-Since": "Fri, 99 Foo 2026 03:04:05 GMT"},
        {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"},
        {"If-Modified-Since": "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT"},
        {"If-Modified-Since": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
        {"If-Modified-Since": "Mon, 01 Jan 0001 00:00:00 +2359"},
        {"If-Modified-Since": ""},
    ],
)
async def test_who_has_another_card_gets_this_one(headers: dict[str, str]) -> None:
    """Entity tags count before dates, and a condition that makes no sense does not count."""
    async with client(card()) as http:
        answer = await http.get("/card", headers=headers)

    assert answer.status_code == 200


async def test_an_entity_tag_of_one_dialect_does_not_stand_for_another() -> None:
    """The URL with ``?version=`` is another resource."""
    served = card()
    async with client(served) as http:
        answer = await http.get(
            "/card?version=1.0", headers={"If-None-Match": served.bodies["0.3"].etag}
        )

    assert answer.status_code == 200


async def test_the_public_key_is_served_as_the_card_is(tmp_path: Path) -> None:
    """To everybody, and with conditions."""
    key = keys.write(tmp_path / "key.pem")
    served = card(signing_key=str(key))
    async with client(served) as http:
        answer = await http.get("/keys")
        again = await http.get("/keys", headers={"If-None-Match": answer.headers["etag"]})

    assert [jwk["kty"] for jwk in answer.json()["keys"]] == ["EC"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert (again.status_code, again.content) == (304, b"")


async def test_without_a_signing_key_there_is_no_public_key() -> None:
    """Not an empty set of keys either."""
    async with client(card()) as http:
        answer = await http.get("/keys")

    assert answer.status_code == 404


def test_the_entity_tag_of_a_signed_card_is_kept_by_a_restart(tmp_path: Path) -> None:
    """The signatures are the same, and so is the content."""
    key = keys.write(tmp_path / "key.pem")

    assert card(signing_key=str(key)).bodies == card(signing_key=str(key)).bodies
