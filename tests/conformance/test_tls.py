"""gRPC over TLS, which both versions ask for."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import A2AServiceStub as Stub03
from a2a.types import a2a_pb2
from a2a.types.a2a_pb2_grpc import A2AServiceStub as Stub10
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conformance._requirements import requirement
from tests.conformance.client import in_process
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from pathlib import Path

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
