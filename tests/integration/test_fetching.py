"""What others name is fetched, within this server's rules, on real sockets."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import PayloadTooLarge
from agent.outgoing.addresses import Allowed
from agent.outgoing.fetch import (
    UNREADABLE,
    Fetched,
    FetchFailed,
    Fetching,
    FetchRefused,
    make_fetching,
)
from agent.outgoing.guard import NOT_PUBLIC, Guard
from agent.settings import Settings
from tests.fakes.documents import answer, serve_documents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

pytestmark = pytest.mark.anyio

# Reading the certificates of the system takes longer than each of these tests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
LOOPBACK = ("127.0.0.0/8",)
HELLO = answer(b"hello", Content_Type="Text/Plain; charset=utf-8")


async def loopback(_host: str, _port: int) -> list[str]:
    """Resolve every name to this machine."""
    return ["127.0.0.1"]


@asynccontextmanager
async def fetching(
    resolve: Any = loopback, allow: Sequence[str] = LOOPBACK, seconds: float = 5
) -> AsyncIterator[Fetching]:
    """Return what fetches; by default it may call loopback."""
    made = Fetching(Guard(resolve, Allowed(allow)), seconds, NO_TLS)
    yield made
    await made.close()


async def test_a_document_comes_with_its_media_type_and_without_credentials() -> None:
    async with serve_documents({"/a?b=%20": HELLO}) as library, fetching() as fetch:
        found = await fetch.get(f"{library.url}/a?b=%20#part", 5)

    assert found == Fetched(b"hello", "text/plain")
    (request,) = library.requests
    assert b"authorization" not in request.lower()
    assert b"cookie" not in request.lower()
    assert f"Host: {library.url.removeprefix('http://')}".encode() in request


async def test_a_document_is_read_in_chunks() -> None:
    body = b"x" * 200_000
    async with (
        serve_documents({"/a": answer(body)}) as library,
        fetching() as fetch,
        fetch.stream(f"{library.url}/a", 200_000) as download,
    ):
        chunks = [chunk async for chunk in download.chunks]

    assert b"".join(chunks) == body
    assert len(chunks) > 1
    assert download.media_type == ""


@pytest.mark.parametrize("status", ["301 X", "302 X", "303 X", "307 X", "308 X"])
async def test_a_redirect_is_followed(status: str) -> None:
    answers = {"/a": answer(b"", status, Location="b/c"), "/b/c": HELLO}
    async with serve_documents(answers) as library, fetching() as fetch:
        assert (await fetch.get(f"{library.url}/a", 5)).data == b"hello"


@pytest.mark.parametrize("redirects", [3, 4])
async def test_three_redirects_are_followed_and_no_more(redirects: int) -> None:
    answers = {f"/{n}": answer(b"", "302 X", Location=f"/{n + 1}") for n in range(redirects)}
    answers[f"/{redirects}"] = HELLO
    async with serve_documents(answers) as library, fetching() as fetch:
        if redirects == 3:
            assert (await fetch.get(f"{library.url}/0", 5)).data == b"hello"
        else:
            with pytest.raises(FetchFailed):
                await fetch.get(f"{library.url}/0", 5)


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:8080/",
        "http://user:secret@127.0.0.1:8080/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://[/",
    ],
)
async def test_a_redirect_to_what_may_not_be_called_is_refused(location: str) -> None:
    answers = {"/a": answer(b"", "302 X", Location=location)}

    async def resolve(host: str, _port: int) -> list[str]:
        return [host]

    async with serve_documents(answers) as library, fetching(resolve) as fetch:
        with pytest.raises(FetchRefused) as refused:
            await fetch.get(f"{library.url}/a", 5)

    assert location not in refused.value.message
    assert len(library.requests) == 1


async def test_names_are_checked_with_each_redirect() -> None:
    """A name that stands for another address by then is not called."""
    addresses = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(_host: str, _port: int) -> list[str]:
        return addresses.pop(0)

    answers = {"/a": answer(b"", "302 X", Location="/b"), "/b": HELLO}
    async with serve_documents(answers) as library, fetching(resolve) as fetch:
        with pytest.raises(FetchRefused):
            await fetch.get(library.url.replace("127.0.0.1", "a.example") + "/a", 5)
    assert len(library.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{}/",
        "http://localhost:{}/",
        "http://user@127.0.0.1:{}/",
        "ftp://127.0.0.1:{}/",
        "file:///etc/passwd",
        "/a",
        "http://127.0.0.1:22/",
    ],
)
async def test_nothing_inside_is_called_by_default(url: str) -> None:
    async with serve_documents({"/": HELLO}) as library, fetching(allow=()) as fetch:
        with pytest.raises(FetchRefused) as refused:
            await fetch.get(url.format(library.url.rpartition(":")[2]), 5, field="documents[0]")

    assert refused.value.field == "documents[0]"
    assert library.requests == []


async def test_what_the_settings_allow_is_called() -> None:
    allowing = Settings.model_validate({"experimental": {"datasets": {"allow": LOOPBACK}}})
    allowed, refusing = (make_fetching(one, resolve=loopback) for one in (allowing, Settings()))
    async with serve_documents({"/": HELLO}) as library:
        assert (await allowed.get(f"{library.url}/", 5)).data == b"hello"
        with pytest.raises(FetchRefused, match=NOT_PUBLIC):
            await refusing.get(f"{library.url}/", 5)
    await allowed.close()
    await refusing.close()


@pytest.mark.parametrize(
    "response",
    [
        answer(b"secret", "404 Not Found"),
        answer(b"secret", "500 Oh"),
        answer(b"", "204 No Content"),
        answer(b"secret", "206 Partial Content"),
        answer(b"", "302 X"),
        answer(b"x", Content_Encoding="gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
)
async def test_what_is_no_document_is_told_in_the_same_words(response: bytes) -> None:
    async with serve_documents({"/": response}) as library, fetching() as fetch:
        with pytest.raises(FetchFailed) as failed:
            await fetch.get(f"{library.url}/", 100)
    assert failed.value.problem == UNREADABLE


@pytest.mark.parametrize(
    "response",
    [
        answer(b"123456"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n",
    ],
)
async def test_a_document_that_is_too_large_is_not_read(response: bytes) -> None:
    async with serve_documents({"/": response}) as library, fetching() as fetch:
        with pytest.raises(PayloadTooLarge, match="larger than 5 bytes"):
            await fetch.get(f"{library.url}/", 5)


async def test_a_document_that_never_ends_is_not_waited_for() -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"
    async with serve_documents({"/": begun}) as library, fetching(seconds=0.05) as fetch:
        with pytest.raises(FetchFailed):
            await fetch.get(f"{library.url}/", 5)


async def test_who_is_not_there_is_told_in_the_same_words() -> None:
    async with serve_documents({}) as library:
        pass
    async with fetching() as fetch:
        with pytest.raises(FetchFailed) as failed:
            await fetch.get(f"{library.url}/", 5)
    assert failed.value.problem == UNREADABLE


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the name anew."""
    async with serve_documents({}) as proxy, serve_documents({"/": HELLO}) as library:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with fetching() as fetch:
            assert (await fetch.get(f"{library.url}/", 5)).data == b"hello"
    assert proxy.requests == []
