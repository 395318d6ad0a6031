"""Addresses that show wrong credentials too often, against the whole server on real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from pydantic import ValidationError

from agent.app import create_app
from agent.settings import Settings
from tests.durability.process import Process, running
from tests.fakes.api_key import KEYED, SHOWN
from tests.fakes.issuer import Issuer, new_key, sign
from tests.fakes.kubernetes import AUTHENTICATION, serve, service_account, user
from tests.fakes.ports import free_port
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

LIMIT = 3
TOO_MANY = -32058
WRONG = "wr0ng"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}


class Agent:
    """The whole server, as callers at different addresses see it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def call(
        self, token: str | None = WRONG, address: str = "", query: str = "", **headers: str
    ) -> httpx.Response:
        """Call a method over JSON-RPC; ``address`` is what the proxy says of the caller."""
        shown = {"authorization": f"Bearer {token}"} if token else {}
        shown |= {"x-forwarded-for": address} if address else {}
        return await self.http.post(f"/a2a{query}", json=LIST, headers=shown | headers)

    async def fail(self, address: str = "") -> None:
        """Fail as often as is allowed."""
        for _ in range(LIMIT):
            assert (await self.call(address=address)).status_code == 401


@asynccontextmanager
async def agent(authentication: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[Agent]:
    """Serve with an API key."""
    with scripted(Script(ANSWER)) as name, anyio.fail_after(30):
        given = {
            "name": name,
            "stack": STACK,
            "a2a_state": {"memory": True},
            "limits": {"auth_failures_per_minute": LIMIT},
            "authentication": authentication or KEYED,
        }
        app = create_app(Settings.model_validate(given | more))
        async with (
            run_server(app, proxies=["127.0.0.1"]) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            yield Agent(http)


KEY = SHOWN["authorization"].removeprefix("Bearer ")


async def test_an_address_that_fails_too_often_is_told_when_to_come_back() -> None:
    async with agent() as served:
        await served.fail()
        refused = await served.call()

    assert refused.status_code == 429
    seconds = refused.headers["retry-after"]
    assert 0 < int(seconds) <= 60
    error = refused.json()["error"]
    assert error["code"] == TOO_MANY
    said = f"Too many failed authentication attempts: Try again in {seconds} seconds."
    assert error["message"] == said
    assert "www-authenticate" not in refused.headers


async def test_the_right_key_passes_when_it_was_seen_before_and_waits_when_it_was_not() -> None:
    async with agent() as served:
        await served.fail()
        assert (await served.call(KEY)).status_code == 429

        assert (await served.call(KEY, "192.0.2.7")).status_code == 200
        await served.fail("192.0.2.7")
        assert (await served.call(KEY, "192.0.2.7")).status_code == 200
        assert (await served.call(address="192.0.2.7")).status_code == 429
        assert (await served.call(KEY)).status_code == 429


async def test_the_right_key_is_the_same_however_it_is_written_and_whatever_is_beside_it() -> None:
    async with agent() as served:
        assert (await served.call(KEY)).status_code == 200
        await served.fail()

        for written in (f"bearer {KEY}", f"BEARER   {KEY}"):
            other = await served.call(None, authorization=written, **{"x-rh-identity": written})
            assert other.status_code == 200


async def test_a_wrong_parameter_beside_the_right_key_locks_nobody_out() -> None:
    async with agent() as served:
        assert (await served.call(KEY)).status_code == 200
        for _ in range(LIMIT + 1):
            refused = await served.call(KEY, query="?user_id=")
            assert refused.json()["error"]["code"] == -32602
        # Neither is the address refused, nor is the key forgotten.
        await served.fail()

        assert (await served.call(KEY)).status_code == 200


async def test_callers_behind_a_trusted_proxy_are_told_apart() -> None:
    async with agent() as served:
        await served.fail("192.0.2.1")
        await served.fail("2001:db8::1")

        assert (await served.call(address="192.0.2.1")).status_code == 429
        assert (await served.call(address="2001:db8::ffff")).status_code == 429
        assert (await served.call(address="192.0.2.2")).status_code == 401
        assert (await served.call(address="2001:db8:0:1::1")).status_code == 401


@pytest.mark.parametrize(
    ("more", "variable", "believed"),
    [
        ({}, None, False),
        ({}, "127.0.0.0/8", True),
        ({"trusted_proxies": ["127.0.0.1"]}, "192.0.2.99", True),
        ({"trusted_proxies": ["192.0.2.99"]}, "127.0.0.1", False),
        ({"trusted_proxies": ["*"]}, None, True),
    ],
    ids=["nobody", "variable", "settings", "settings-not-variable", "everybody"],
)
async def test_only_a_trusted_proxy_says_where_callers_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, Any],
    variable: str | None,
    *,
    believed: bool,
) -> None:
    """Not even what is on the same machine is one by itself: tunnels end there."""
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if variable is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", variable)
    limits = {"auth_failures_per_minute": LIMIT}
    state = {"memory": True}
    process = Process(tmp_path, authentication=KEYED, limits=limits, a2a_state=state)
    service = json.loads(process.config.read_text())
    service["service"] |= more
    process.config.write_text(json.dumps(service))
    async with running(process), httpx.AsyncClient(base_url=process.url, timeout=20) as http:
        served = Agent(http)
        for number in range(LIMIT):
            assert (await served.call(address=f"198.51.100.{number}")).status_code == 401
        last = await served.call(address="198.51.100.77")

    assert last.status_code == (401 if believed else 429)


@pytest.mark.parametrize(
    "proxies", [["10.0.0.1/8"], ["proxy"], ["*", "10.0.0.5"], [""]], ids=json.dumps
)
def test_a_proxy_is_trusted_by_its_address(proxies: list[str]) -> None:
    """What would never be the address of one is told, instead of trusting nobody silently."""
    with pytest.raises(ValidationError, match="must be addresses such as"):
        Settings.model_validate({"service": {"trusted_proxies": proxies}})


@asynccontextmanager
async def of_issuer(issuer: Issuer) -> AsyncIterator[Agent]:
    """Serve those whom an issuer knows."""
    config = {"url": issuer.url, "refetch_seconds": 1}
    async with agent({"module": "jwk-token", "jwk_config": config}) as served:
        yield served


def guess(issuer: Issuer, number: int = 0) -> str:
    """Return a token that somebody else signed."""
    header = {"alg": "ES256", "kid": issuer.kid}
    return sign(new_key("ES256"), header, issuer.claims(number=number))


async def test_a_token_that_was_never_seen_is_let_in_past_any_number_of_forged_ones() -> None:
    """Also with keys that were not fetched yet: forged ones cannot keep them away."""
    async with Issuer().serving() as issuer, of_issuer(issuer) as served:
        for number in range(LIMIT):
            # Refused for what they are, before any key is needed.
            assert (await served.call(f"text-{number}")).status_code == 401
        assert issuer.fetches == 0

        assert (await served.call(issuer.token())).status_code == 200
        assert (await served.call(guess(issuer))).status_code == 429
        assert (await served.call(issuer.token(user_id="ben"))).status_code == 200


async def test_a_caller_whose_token_expired_is_told_so_wherever_others_guess() -> None:
    """So that they get another one; and it does not count."""
    async with Issuer().serving() as issuer, of_issuer(issuer) as served:
        old = issuer.token(exp=int(issuer.issued_at) - 3600)
        for _ in range(LIMIT + 1):
            assert (await served.call(old)).status_code == 401
        for number in range(LIMIT):
            assert (await served.call(guess(issuer, number))).status_code == 401
        assert (await served.call(guess(issuer))).status_code == 429

        assert "Token has expired" in (await served.call(old)).text


async def test_what_an_identity_source_does_wrong_does_not_count() -> None:
    async with Issuer().serving() as issuer, of_issuer(issuer) as served:
        issuer.answer = b"{}"
        for _ in range(LIMIT + 1):
            said = await served.call(issuer.token())
            assert said.status_code == 401
            assert "returned invalid data" in said.text


async def test_an_identity_that_was_never_seen_is_let_in_past_any_number_of_malformed_ones() -> (
    None
):
    ann = {"type": "User", "user": {"user_id": "ann", "username": "Ann"}}
    good = base64.b64encode(json.dumps({"identity": ann}).encode()).decode()
    async with agent({"module": "rh-identity"}) as served:
        for _ in range(LIMIT):
            assert (await served.call(None, **{"x-rh-identity": "!"})).status_code == 400

        assert (await served.call(None, **{"x-rh-identity": "!"})).status_code == 429
        assert (await served.call(None, **{"x-rh-identity": good})).status_code == 200


async def test_who_shows_nothing_is_told_to_show_something_however_often() -> None:
    async with agent() as served:
        for _ in range(LIMIT + 1):
            assert (await served.call(None)).status_code == 401
        await served.fail()

        assert (await served.call(None)).status_code == 401


async def test_every_binding_counts_and_refuses() -> None:
    pytest.importorskip("grpc")
    import grpc
    from a2a.types import a2a_pb2 as v1
    from a2a.types import a2a_pb2_grpc

    stub_of: Any = a2a_pb2_grpc.A2AServiceStub
    port = free_port()
    metadata = (("authorization", f"Bearer {WRONG}"), ("a2a-version", "1.0"))
    more: dict[str, Any] = {"service": {"host": "127.0.0.1"}, "a2a": {"grpc_port": port}}
    async with (
        agent(**more) as served,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):

        async def rest() -> int:
            shown = {"authorization": f"Bearer {WRONG}"}
            return (await served.http.get("/tasks", headers=shown)).status_code

        async def rpc() -> Any:
            request = v1.ListTasksRequest()
            return await stub_of(channel).ListTasks(request, metadata=metadata).code()

        assert (await served.call()).status_code == 401
        assert await rest() == 401
        assert await rpc() is grpc.StatusCode.UNAUTHENTICATED

        assert (await served.call()).status_code == 429
        assert await rest() == 429
        assert await rpc() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_log_tells_once_and_without_credentials(caplog: pytest.LogCaptureFixture) -> None:
    async with agent() as served:
        await served.fail("192.0.2.1")
        for _ in range(3):
            await served.call(address="192.0.2.1")

    told = [record for record in caplog.records if record.name == "agent.auth.attempts"]
    assert len(told) == 1
    assert "192.0.2.1" in told[0].getMessage()
    assert WRONG not in caplog.text


async def test_guesses_in_parallel_are_not_more_guesses(tmp_path: Path) -> None:
    async with serve() as kubernetes:
        account = str(service_account(tmp_path))
        named = {"k8s_cluster_api": kubernetes.url, "k8s_service_account": account}
        async with agent({"module": "k8s"} | named) as served:
            calls = (served.call(f"guess-{number}") for number in range(40))
            statuses = [answer.status_code for answer in await asyncio.gather(*calls)]

    assert sorted(statuses) == [401] * LIMIT + [429] * (40 - LIMIT)
    assert len(kubernetes.bodies(AUTHENTICATION)) == LIMIT


async def test_a_cluster_is_not_asked_about_new_tokens_of_a_refused_address(tmp_path: Path) -> None:
    """But still about those that were good there, also when nothing is remembered of their user."""
    async with serve() as kubernetes:
        kubernetes.add("ann's", user("ann"))
        kubernetes.add("new", user("ann"))
        kubernetes.add("no-id's", user("oidc", uid=""))
        account = str(service_account(tmp_path))
        named = {"k8s_cluster_api": kubernetes.url, "k8s_service_account": account}
        async with agent({"module": "k8s", "k8s_cache_seconds": 0} | named) as served:
            for _ in range(LIMIT + 1):  # Somebody that the cluster knows guesses nothing.
                assert (await served.call("no-id's")).status_code == 401
            assert (await served.call("ann's")).status_code == 200
            await served.fail()
            asked = len(kubernetes.bodies(AUTHENTICATION))

            assert (await served.call("new")).status_code == 429
            assert len(kubernetes.bodies(AUTHENTICATION)) == asked
            assert (await served.call("ann's")).status_code == 200
            assert len(kubernetes.bodies(AUTHENTICATION)) == asked + 1
