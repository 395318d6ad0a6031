"""Connections to the HTTPS port that never become one, with the server as it is started."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Any, override

import anyio
import httpx
import pytest

from tests.durability.process import Process, running
from tests.fakes.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

# The first bytes of a TLS record that holds a ClientHello.
BEGINNING = bytes([22, 3, 1, 2, 0, 1])
PATIENCE = 20
"""Less than the minute that the event loop has for it by itself."""


class Https(Process):
    """A server with TLS and ``workers`` processes, which waits half a second for what is to come."""

    def __init__(self, folder: Path, workers: int) -> None:
        database = {"sqlite": {"db_path": str(folder / "state.db")}}
        super().__init__(folder, a2a_state=database, limits={"head_seconds": 0.5})
        self.url = f"https://127.0.0.1:{self.port}"
        authority = Authority(folder)
        file = str(authority.certificate())
        tls = {"tls_certificate_path": file, "tls_key_path": file}
        self.trusting = ssl.create_default_context(cafile=authority.file)
        settings: dict[str, Any] = json.loads(self.config.read_text())
        settings["service"] |= {"tls_config": tls, "workers": workers}
        self.config.write_text(json.dumps(settings))

    @override
    async def _answers(self) -> bool:
        assert self._runs, self.log
        try:
            return (await self.card()).is_success
        except httpx.TransportError:
            return False

    async def card(self) -> httpx.Response:
        """Get the card."""
        async with httpx.AsyncClient(base_url=self.url, verify=self.trusting) as http:
            return await http.get("/.well-known/agent-card.json")


def wait(port: int, sent: bytes) -> bytes:
    """Say no more than ``sent``; returns what comes until the server closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        try:
            while data := connection.recv(1024):
                received += data
        except ConnectionError:
            pass
    return received


def wait_after_handshake(server: Https) -> bytes:
    """Shake hands and say nothing; returns what comes until the server closes the connection."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain,
        server.trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        return connection.recv(1024)


def leave_without_goodbye(server: Https) -> bytes:
    """Have a connection closed by the server, and do not answer that; returns what comes after it."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = server.trusting
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
        speaker = context.wrap_bio(inward, outward, server_hostname="127.0.0.1")
        shake(speaker, plain, inward, outward)
        received = b""
        try:
            while data := plain.recv(1024):
                received += data
        except ConnectionError:
            pass
        return received


def shake(
    speaker: ssl.SSLObject, plain: socket.socket, inward: ssl.MemoryBIO, outward: ssl.MemoryBIO
) -> None:
    """Shake hands by hand, so that nothing is answered after that."""
    while True:
        try:
            speaker.do_handshake()
        except ssl.SSLWantReadError:
            plain.sendall(outward.read())
            inward.write(plain.recv(65536))
        else:
            plain.sendall(outward.read())
            return


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "several"])
async def test_who_never_shakes_hands_is_not_waited_for_any_longer_than_for_a_head(
    tmp_path: Path, workers: int
) -> None:
    server = Https(tmp_path, workers)
    run = anyio.to_thread.run_sync
    async with running(server):
        assert await run(wait, server.port, b"") == b""
        assert await run(wait, server.port, BEGINNING) == b""
        assert await run(wait_after_handshake, server) == b""
        # What is sent after the handshake are tickets and the goodbye of the server.
        assert await run(leave_without_goodbye, server)
        card = await server.card()

    assert card.is_success
    assert "Traceback" not in server.log
