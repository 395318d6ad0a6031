"""TLS, which both versions ask for: gRPC and HTTP as the server is started."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, override

import anyio
import grpc
import httpx
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import A2AServiceStub as Stub03
from a2a.types import a2a_pb2
from a2a.types.a2a_pb2_grpc import A2AServiceStub as Stub10
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.cli import exits
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import SERVER
from tests.conformance.client import in_process
from tests.durability.process import Process, running
from tests.fakes.scripted_stack import ANSWER, Script

pytestmark = pytest.mark.anyio

HOST = "localhost"


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Path]:
    """Return the settings of a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = {"tls_certificate_path": tmp_path / "cert.pem", "tls_key_path": tmp_path / "key.pem"}
    pem, unprotected = serialization.Encoding.PEM, serialization.NoEncryption()
    files["tls_certificate_path"].write_bytes(certificate.public_bytes(pem))
    files["tls_key_path"].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unprotected)
    )
    return files


@pytest.fixture
def locked(tls: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Return the same settings, but that the key has a password."""
    key = serialization.load_pem_private_key(tls["tls_key_path"].read_bytes(), None)
    password = serialization.BestAvailableEncryption(b"open, sesame")
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "locked.pem").write_bytes(key.private_bytes(pem, form, password))
    (tmp_path / "password").write_text("open, sesame\n")
    return tls | {
        "tls_key_path": tmp_path / "locked.pem",
        "tls_key_password": tmp_path / "password",
    }


class Https(Process):
    """The server as it is started, with TLS."""

    def __init__(self, folder: Path, tls: dict[str, Path], **service: Any) -> None:
        super().__init__(folder, a2a_state={"memory": True})
        self.url = f"https://{HOST}:{self.port}"
        self.trusting = ssl.create_default_context(cafile=tls["tls_certificate_path"])
        settings = json.loads(self.config.read_text())
        files = {name: str(path) for name, path in tls.items()}
        settings["service"] |= {"tls_config": files} | service
        self.config.write_text(json.dumps(settings))

    @override
    async def _answers(self) -> bool:
        assert self._runs, self.log
        async with httpx.AsyncClient(base_url=self.url, verify=self.trusting) as http:
            try:
                return (await http.get("/.well-known/agent-card.json")).is_success
            except httpx.TransportError:
                return False


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "several"])
@requirement("1.0/hsts", "1.0/https", on=SERVER)
async def test_the_server_speaks_https_and_tells_browsers_to_stay_with_it(
    locked: dict[str, Path], tmp_path: Path, workers: int
) -> None:
    process = Https(tmp_path, locked, base_url="https://agent.test", workers=workers)
    database = {"sqlite": {"db_path": str(tmp_path / "state.db")}}
    settings = json.loads(process.config.read_text()) | {"a2a_state": database}
    process.config.write_text(json.dumps(settings))
    async with (
        running(process),
        httpx.AsyncClient(base_url=process.url, verify=process.trusting) as http,
    ):
        card = await http.get("/.well-known/agent-card.json")
        call = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "none"}}
        answer = await http.post("/a2a", json=call)
        missing = await http.get("/nothing")
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://{HOST}:{process.port}/tasks")

    assert answer.json()["error"]["code"] == -32001
    for response in (card, answer, missing):
        assert response.headers["strict-transport-security"] == "max-age=31536000"


def shake_hands(port: int, certificate: Path, version: ssl.TLSVersion) -> str | None:
    """Speak one version of TLS; returns which one it was."""
    context = ssl.create_default_context(cafile=certificate)
    allow_any_version(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((HOST, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        return connection.version()


def allow_any_version(context: ssl.SSLContext) -> None:
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1


def serve_any_version(listener: socket.socket, tls: dict[str, Path]) -> None:
    """Shake hands once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["tls_certificate_path"], tls["tls_key_path"])
    allow_any_version(context)
    with listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as connection:
        connection.recv(1)


OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]
NEW = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@requirement("1.0/https", on=SERVER)
async def test_no_version_of_tls_before_1_2_is_spoken(tls: dict[str, Path], tmp_path: Path) -> None:
    """The client speaks the old ones, as it shows with another server."""
    process, certificate = Https(tmp_path, tls), tls["tls_certificate_path"]
    run = anyio.to_thread.run_sync
    async with running(process):
        for new in NEW:
            assert await run(shake_hands, process.port, certificate, new)
        for old in OLD:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await run(shake_hands, process.port, certificate, old)
    for old in OLD:
        with socket.create_server((HOST, 0)) as listener:
            async with anyio.create_task_group() as group:
                group.start_soon(run, serve_any_version, listener, tls)
                assert await run(shake_hands, listener.getsockname()[1], certificate, old)


@pytest.mark.parametrize("command", ["serve", "check"])
async def test_what_cannot_be_spoken_with_keeps_the_server_from_starting(
    locked: dict[str, Path], tmp_path: Path, command: str
) -> None:
    locked["tls_key_password"].write_text("a guess")
    process = Https(tmp_path, locked)
    program = str(Path(sys.executable).with_name("llamastack-a2a"))

    done = await anyio.run_process(
        [program, command, "--config", str(process.config)], check=False, stderr=subprocess.STDOUT
    )

    assert done.returncode == exits.USAGE
    assert done.stdout.decode().splitlines() == [
        "service.tls_config.tls_key_password: does not open the private key"
    ]


@requirement("1.0/grpc-tls", "0.3/grpc-tls")
async def test_grpc_is_spoken_over_tls_and_nothing_else_then(tls: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings: dict[str, Any] = {
        "service": {"host": "127.0.0.1", "tls_config": tls},
        "a2a": {"grpc_port": port},
    }
    trusted = grpc.ssl_channel_credentials(tls["tls_certificate_path"].read_bytes())
    async with (
        in_process(Script(ANSWER), **settings),
        grpc.aio.secure_channel(f"{HOST}:{port}", trusted) as channel,
        grpc.aio.insecure_channel(f"{HOST}:{port}") as plain,
    ):
        request = a2a_pb2.ListTasksRequest()
        assert (await Stub10(channel).ListTasks(request)).total_size == 0  # type: ignore[no-untyped-call] # generated
        older = a2a_v0_3_pb2.GetTaskRequest(name="tasks/nowhere")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Stub03(channel).GetTask(older)  # type: ignore[no-untyped-call] # generated
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Stub10(plain).ListTasks(request, timeout=5)  # type: ignore[no-untyped-call] # generated
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
