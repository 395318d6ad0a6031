"""Only what is public on the internet may be called, unless the settings say so."""

from __future__ import annotations

import pytest

from agent.outgoing.addresses import Allowed

NOT_PUBLIC = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.1.2.3 169.254.0.1
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1 192.88.99.1
192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.5 224.0.0.1 224.0.1.1 239.1.1.1 240.0.0.1 255.255.255.255
168.63.129.16
:: ::1 ::7f00:1 ::8.8.8.8 ::ffff:0:127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 4000::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1
fe80::1%eth0 2606:4700::1%eth0 fec0::1 ff02::1 ff0e::1
"""
PUBLIC = """
1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.20.0.1 223.255.255.254
2001:4860:4860::8888 2606:4700::1111 2a00:1450:4001::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_what_is_not_public_may_not_be_called(address: str) -> None:
    assert not Allowed().may_call("hooks.example.com", address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_what_is_public_may_be_called(address: str) -> None:
    assert Allowed().may_call("hooks.example.com", address)


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/8", "10.9.9.9"),
        ("fd00::/8", "fd00:ec2::254"),
        ("::1", "::1"),
        ("hooks.internal", "10.0.0.1"),
        ("Hooks.Internal", "10.0.0.1"),
    ],
)
def test_what_the_settings_name_may_be_called(entry: str, address: str) -> None:
    allowed = Allowed(["example.net", entry])

    assert allowed.may_call("hooks.internal", address)
    assert allowed.may_call("HOOKS.internal.", address)
    assert not allowed.may_call("hooks.internal.example.com", "192.168.0.1")


def test_what_is_no_address_may_not_be_called() -> None:
    assert not Allowed(["10.0.0.0/8"]).may_call("hooks.example.com", "hooks.example.com")
