"""Calls leave this server's network only, on real sockets."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.errors import InvalidParams
from agent.outgoing.addresses import Allowed
from agent.outgoing.guard import Guard
from agent.outgoing.outgoing import Outcome, Outgoing
from agent.outgoing.resolver import Resolver
from tests.fakes.state import open_database, open_journal
from tests.fakes.webhooks import ANN, Story, config, open_push, rests, serve, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

pytestmark = pytest.mark.anyio

LOOPBACK = ("127.0.0.0/8",)
REFUSED = Outcome(problem="address refused")
PUBLIC = "93.184.216.34"


class Names:
    """A resolver that gives one answer after another, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        """``answers`` are lists of addresses."""
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        """Return the next answer."""
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def outgoing(
    resolve: Any = None, allow: Sequence[str] = LOOPBACK, seconds: float = 5, tls: Any = None
) -> AsyncIterator[Outgoing]:
    """Return what calls; by default it may call loopback."""
    resolver = Resolver()
    calls = Outgoing(Guard(resolve or resolver, Allowed(allow)), seconds, 4, tls)
    yield calls
    await calls.close()
    resolver.close()


@asynccontextmanager
async def listen(serve_one: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Accept connections on a loopback port; yields ``HOST:PORT``."""
    server = await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Connections:
    """Counts who connects, and says nothing."""

    def __init__(self) -> None:
        """Nobody did."""
        self.count = 0

    async def __call__(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count one."""
        self.count += 1
        writer.close()


def says(answer: bytes) -> Serve:
    """Return a server that answers so, and keeps the connection open until its client leaves."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who is called may leave before all is said.
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            await reader.read()
        writer.close()

    return serve_one


async def post(calls: Outgoing, url: str) -> Outcome:
    """Post something."""
    return await calls.post(url, {"Content-Type": "text/plain"}, b"hello")


async def test_what_is_posted_arrives() -> None:
    async with serve((201, {"Retry-After": "5"})) as webhook, outgoing() as calls:
        outcome = await post(calls, f"{webhook.url}?a=%20b")

        (posted,) = webhook.posted
        assert outcome == Outcome(201, retry_after="5")
        assert posted.body == b"hello"
        assert posted.headers["content-type"] == "text/plain"
        assert posted.headers["content-length"] == "5"
        assert f"http://{posted.headers['host']}/hook" == webhook.url


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
async def test_nothing_inside_is_called_by_default(host: str) -> None:
    connections = Connections()
    async with listen(connections) as address, outgoing(allow=()) as calls:
        port = address.rpartition(":")[2]

        assert await post(calls, f"http://{host}:{port}/") == REFUSED
    assert connections.count == 0


@pytest.mark.parametrize("allow", ["localhost", "127.0.0.1", "127.0.0.0/8"])
async def test_what_the_settings_name_is_called(allow: str) -> None:
    async def loopback(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with serve() as webhook, outgoing(loopback, [allow]) as calls:
        outcome = await post(calls, webhook.url.replace("127.0.0.1", "localhost"))

    assert outcome == Outcome(204)


async def test_a_name_that_is_public_when_it_is_given_and_inside_when_it_is_called_is_refused() -> (
    None
):
    """DNS rebinding: the address that is checked is the one that is called."""
    connections = Connections()
    names = Names([PUBLIC], ["127.0.0.1"])
    async with (
        open_database("sqlite://") as database,
        open_journal(database) as journal,
        listen(connections) as address,
        open_push(database, settings(allow=(), attempts=2), resolve=names) as push,
    ):
        port = address.rpartition(":")[2]
        await push.create(ANN, config(f"http://rebinding.example:{port}/"))
        await Story(journal).begin()
        push.wake("task")
        row = await rests(database, state="dead")

        with pytest.raises(InvalidParams) as refused:
            await push.create(ANN, config(f"http://rebinding.example:{port}/", id="again"))

    assert row.last_error == "address refused"
    assert names.asked == 4
    assert connections.count == 0
    assert refused.value.field == "url"
    assert "127.0.0.1" not in refused.value.message


async def test_a_name_is_resolved_once_for_each_call() -> None:
    """What another look at it would bring does not matter."""
    names = Names(["127.0.0.1"], [PUBLIC])
    async with serve() as webhook, outgoing(names) as calls:
        assert await post(calls, webhook.url.replace("127.0.0.1", "a.example")) == Outcome(204)
    assert names.asked == 1


async def test_connections_are_not_kept_so_that_each_call_is_checked() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.1", "10.0.0.1"])
    async with serve() as webhook, outgoing(names) as calls:
        url = webhook.url.replace("127.0.0.1", "a.example")
        assert await post(calls, url) == Outcome(204)
        assert await post(calls, url) == REFUSED
        assert len(webhook.posted) == 1


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    names = Names(["127.0.0.2", "127.0.0.1"])
    async with serve() as webhook, outgoing(names) as calls:
        assert await post(calls, webhook.url.replace("127.0.0.1", "a.example")) == Outcome(204)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """Not even to where calls are allowed."""
    connections = Connections()
    async with (
        listen(connections) as inside,
        serve((status, {"Location": f"http://{inside}/"})) as webhook,
        outgoing() as calls,
    ):
        assert await post(calls, webhook.url) == Outcome(status)
    assert connections.count == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the name anew."""
    connections = Connections()
    async with listen(connections) as proxy, serve() as webhook:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy}")
        async with outgoing() as calls:
            assert await post(calls, webhook.url) == Outcome(204)
    assert connections.count == 0


async def test_a_receiver_that_says_nothing_is_not_waited_for() -> None:
    async with listen(says(b"")) as silent, outgoing(seconds=0.05) as calls:
        assert await post(calls, f"http://{silent}/") == Outcome(problem="timeout")


async def test_headers_that_come_a_byte_at_a_time_are_not_waited_for() -> None:
    """Each byte is in time, all of them are not."""
    async with listen(says(b"HTTP/1.1 200 OK\r\nX: ")) as slow, outgoing(seconds=0.05) as calls:
        assert await post(calls, f"http://{slow}/") == Outcome(problem="timeout")


async def test_a_name_that_is_never_resolved_is_not_waited_for() -> None:
    async def hang(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with outgoing(hang, seconds=0.01) as calls:
        assert await post(calls, "http://slow.example/") == Outcome(problem="timeout")


async def test_a_long_answer_is_not_read() -> None:
    """The status is enough; a gigabyte may come, and does not."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    async with listen(says(head + b"x" * 8192)) as talkative, outgoing() as calls:
        assert await post(calls, f"http://{talkative}/") == Outcome(200)


@pytest.mark.parametrize("headers", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_breaks_off_after_its_status_has_said_enough(headers: bytes) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n5")
        writer.close()

    async with listen(break_off) as other, outgoing() as calls:
        assert await post(calls, f"http://{other}/") == Outcome(200)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 0 \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX" + b"x" * 200_000,
    ],
)
async def test_what_does_not_speak_http_is_a_failure(answer: bytes) -> None:
    async with listen(says(answer)) as other, outgoing() as calls:
        assert await post(calls, f"http://{other}/") == Outcome(problem="connection")


async def test_who_hangs_up_is_a_failure() -> None:
    async with listen(Connections()) as address, outgoing() as calls:
        assert await post(calls, f"http://{address}/") == Outcome(problem="connection")


async def test_who_is_not_there_is_a_failure() -> None:
    async with listen(Connections()) as address:
        pass
    async with outgoing() as calls:
        assert await post(calls, f"http://{address}/") == Outcome(problem="connection")


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("hooks.example", Outcome(200)), ("other.example", Outcome(problem="tls"))],
)
async def test_https_is_for_the_name_and_not_for_the_address(
    tmp_path: Path, name: str, outcome: Outcome
) -> None:
    served, trusting = certificate(tmp_path, "hooks.example")
    answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    async with (
        listen(answer, served) as address,
        outgoing(Names(["127.0.0.1"]), tls=trusting) as calls,
    ):
        port = address.rpartition(":")[2]

        assert await post(calls, f"https://{name}:{port}/") == outcome


async def test_a_certificate_that_nobody_trusts_is_a_failure(tmp_path: Path) -> None:
    served, _ = certificate(tmp_path, "hooks.example")
    async with (
        listen(says(b""), served) as address,
        outgoing(Names(["127.0.0.1"])) as calls,
    ):
        port = address.rpartition(":")[2]

        assert await post(calls, f"https://hooks.example:{port}/") == Outcome(problem="tls")


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return how a server with a new certificate for ``name`` serves, and how its clients trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.public_bytes(Encoding.PEM)
    )
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(file)
    return serving, ssl.create_default_context(cafile=str(file))
