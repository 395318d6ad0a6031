"""URLs that callers give are read one way, and their hosts must be public."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.outgoing.addresses import Allowed
from agent.outgoing.guard import NOT_PUBLIC, Guard, Refused, port_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.outgoing.guard import Resolve

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"


class Names:
    """A resolver; ``asked`` is what it was asked for."""

    def __init__(self, **names: Sequence[str]) -> None:
        """Know ``names``; everything else is public."""
        self._names = names
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses."""
        self.asked.append((host, port))
        return self._names.get(host.partition(".")[0], [PUBLIC])


def guard(names: Any = None, allow: Sequence[str] = (), **settings: Any) -> Guard:
    """Return a guard that asks ``names``."""
    return Guard(names or Names(), Allowed(allow), **settings)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://hooks.example.com/a?b=c", "hooks.example.com", 443),
        ("http://hooks.example.com", "hooks.example.com", 80),
        ("HTTPS://HOOKS.EXAMPLE.COM:8443/", "hooks.example.com", 8443),
        ("https://hooks.example.com./", "hooks.example.com.", 443),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
        ("https://under_score.example:65535/", "under_score.example", 65535),
        ("https://93.184.216.34/", "93.184.216.34", 443),
        ("https://[2606:4700::1111]:1024/", "2606:4700::1111", 1024),
    ],
)
async def test_a_public_url_is_taken(url: str, host: str, port: int) -> None:
    names = Names()

    checked = await guard(names).check(url)

    assert (checked.raw_host.decode(), port_of(checked)) == (host, port)
    assert names.asked == [(host, port)]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "http:hooks.example.com/",
        "https:///hooks",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "unix:///var/run/docker.sock",
        "http+unix://hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:1023/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:http/",
        "https://hooks.example.com\r\nX: y/",
        "https://hooks example.com/",
        "https://hooks..example.com/",
        "https://.example.com/",
        "https://ho%6fks.example.com/",
        "https://hooks.example.com/" + 2048 * "a",
        # Spellings of 127.0.0.1 and of localhost.
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0X7F.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1.:8080/",
        "http://127.0.0.0x1/",
        "http://1.2.3.4.5/",
        "http://１２７.０.０.１/",  # noqa: RUF001 - digits of full width, which some resolvers take
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::ffff:0x7f.1]/",
    ],
)
async def test_what_is_no_sound_url_is_refused_without_asking_anybody(url: str) -> None:
    names = Names()

    with pytest.raises(Refused) as refused:
        await guard(names).check(url)

    assert refused.value.problem != NOT_PUBLIC
    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [[], ["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["169.254.169.254"]],
    ids=str,
)
async def test_every_address_of_a_host_must_be_public(addresses: list[str]) -> None:
    with pytest.raises(Refused, match=NOT_PUBLIC):
        await guard(Names(hooks=addresses)).check("https://hooks.example.com/")


async def unknown(_host: str, _port: int) -> Sequence[str]:
    raise OSError("no such host: secret")


async def hang(_host: str, _port: int) -> Sequence[str]:
    await asyncio.Event().wait()
    return []


@pytest.mark.parametrize(
    "host",
    [
        *("hooks", "hooks.", "localhost", "a.localhost", "db.internal", "db.internal.", "a.b.corp"),
        *("printer.local", "nas.lan", "x.home.arpa", "DB.Internal"),
    ],
)
async def test_a_name_that_is_not_of_the_internet_is_refused_in_the_same_words(host: str) -> None:
    """What exists inside the network is not told."""
    with pytest.raises(Refused, match=f"^{NOT_PUBLIC}$"):
        await guard(unknown).check(f"https://{host}/")


async def test_a_name_that_cannot_be_one_is_refused_in_the_same_words() -> None:
    async def fail(_host: str, _port: int) -> Sequence[str]:
        raise UnicodeError("label too long")

    with pytest.raises(Refused, match=f"^{NOT_PUBLIC}$"):
        await guard(fail).check("https://hooks.example.com/")


@pytest.mark.parametrize("resolve", [unknown, hang])
@pytest.mark.parametrize("host", ["hooks.example.com", "localhost.example", "internal.test"])
async def test_a_name_that_is_not_known_yet_is_taken_but_not_called(
    host: str, resolve: Resolve
) -> None:
    """A name server that is away for a moment does not refuse what callers ask for."""
    checked = guard(resolve, resolve_seconds=0.001)

    assert (await checked.check(f"https://{host}/")).host == host
    with pytest.raises(Refused, match=f"^{NOT_PUBLIC}$"):
        await checked.addresses(host, 443)


async def test_not_every_address_of_a_host_is_tried() -> None:
    """A host with a thousand of them would take a thousand time-outs."""
    many = [f"93.184.216.{number}" for number in range(100)]

    assert await guard(Names(hooks=many)).addresses("hooks.example.com", 443) == many[:4]


async def test_plain_http_can_be_switched_off() -> None:
    strict = guard(https_only=True)

    await strict.check("https://hooks.example.com/")
    with pytest.raises(Refused, match=r"^must begin with https://$"):
        await strict.check("http://hooks.example.com/")


async def test_ports_can_be_named() -> None:
    strict = guard(ports=(443, 22))

    await strict.check("https://hooks.example.com/")
    await strict.check("https://hooks.example.com:22/")
    with pytest.raises(Refused, match="port"):
        await strict.check("https://hooks.example.com:8443/")
    with pytest.raises(Refused, match="port"):
        await strict.check("http://hooks.example.com/")


async def test_what_the_settings_name_is_exempt_from_the_addresses_only() -> None:
    """Not from the rest."""
    lenient = guard(Names(hooks=["10.0.0.1"]), allow=["hooks.internal"])

    await lenient.check("http://hooks.internal/")
    with pytest.raises(Refused):
        await lenient.check("http://user@hooks.internal/")
    with pytest.raises(Refused):
        await lenient.check("http://hooks.internal:22/")
