"""The gRPC server on a socket, over a service that does what a test wants."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

pytest.importorskip("grpc")

import grpc
from a2a.compat.v0_3 import a2a_v0_3_pb2 as v03
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.types import a2a_pb2 as v1
from a2a.types import a2a_pb2_grpc
from google.rpc import error_details_pb2 as rpc
from grpc_status import rpc_status

from agent.auth.base import Identity, Immediate
from agent.dialects.v1_0 import Dialect1
from agent.errors import (
    ContentTypeNotSupported,
    SettingsError,
    StreamEnded,
    TaskNotFound,
    TooManyTasks,
)
from agent.extensions import Extensions
from agent.grpc_binding import make_grpc
from agent.grpc_binding.calls import write_all
from agent.grpc_binding.messages import Binary
from agent.model import Task, TaskState, TaskStatus
from agent.operations import Operations
from agent.settings import Settings
from tests.fakes.gates import open_gate
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from agent.auth.base import Presented
    from agent.caller import Caller
    from agent.dialects import Encoder
    from agent.following import Numbered
    from agent.grpc_binding.server import GrpcServer

pytestmark = pytest.mark.anyio

EXTENSION, REQUIRED = "https://x.example/1", "https://x.example/2"
HELLO = v1.Message(message_id="m-1", role=v1.ROLE_USER, parts=[v1.Part(text="hi")])
SEND = v1.SendMessageRequest(message=HELLO)


stub_1_0: Any = a2a_pb2_grpc.A2AServiceStub
stub_0_3: Any = a2a_v0_3_pb2_grpc.A2AServiceStub


def task(**metadata: Any) -> Task:
    """Return a task with something in it."""
    return Task("t", "c", TaskStatus(TaskState.WORKING), metadata=metadata or None)


class Service:
    """Remembers who asked for what; answers with ``answer``, which may be an error."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[Caller, Any]] = []

        self.send = self.get = self.stream = self._answered

    async def _answered(self, caller: Caller, request: Any, _size: int = 0) -> Any:
        self.asked.append((caller, request))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Followed:
    """Tells ``events``, waits for ``gate``, then ends or fails."""

    def __init__(
        self, *events: Task, gate: anyio.Event | None = None, error: Exception | None = None
    ) -> None:
        self.events = events
        self.gate = gate
        self.error = error
        self.left = anyio.Event()

    async def follow(
        self, encoder: Encoder[Any], idle: float
    ) -> AsyncGenerator[list[Numbered[Any]]]:
        """Number the events from 1; silence is told once."""
        try:
            for seq, event in enumerate(self.events, 1):
                yield [(seq, encoder.event(event))]
            if self.gate is not None:
                with anyio.move_on_after(idle):
                    await self.gate.wait()
                if not self.gate.is_set():
                    yield []
            if self.error is not None:
                raise self.error
        finally:
            self.left.set()


class ByName(Immediate):
    """Believes the header that names the caller."""

    async def identify(self, presented: Presented) -> Identity:
        """Return whoever that is."""
        return Identity(presented.headers.get("authorization", "nobody"))


def settings(port: int, **changes: Any) -> Settings:
    """Return settings with gRPC on a loopback port."""
    a2a = {"grpc_port": port} | changes.pop("a2a", {})
    return Settings.model_validate({"service": {"host": "127.0.0.1"}, "a2a": a2a} | changes)


def make(answer: Any, configured: Settings) -> GrpcServer:
    """Return a server that is not open yet."""
    service: Any = answer if isinstance(answer, Service) else Service(answer)
    nothing: Any = None
    operations = Operations(service, nothing, Extensions(configured.a2a.extensions))
    server = make_grpc(configured, operations, open_gate(ByName()))
    assert server is not None
    return server


@asynccontextmanager
async def served(answer: Any, **changes: Any) -> AsyncIterator[Any]:
    """Serve ``answer``; yields a channel to the server."""
    port = free_port()
    with anyio.fail_after(10):
        async with (
            make(answer, settings(port, **changes)).serving(checkpoint),
            connected(port) as c,
        ):
            yield c


def connected(port: int) -> Any:
    """Return a channel, to be closed by whoever opens it."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}")


async def rest(call: Any) -> tuple[list[Any], Any]:
    """Return what a stream has yet to tell, and the error that it ends with."""
    events = []
    try:
        while (event := await call.read()) is not grpc.aio.EOF:
            events.append(event)
    except grpc.aio.AioRpcError as exc:
        return events, exc
    return events, None


async def refused(call: Any) -> tuple[Any, str, dict[str, Any]]:
    """Return the code, the text and the details of a call that fails, as grpc's own reader has them."""
    if hasattr(call, "read"):
        events, error = await rest(call)
        assert events == []
    else:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        error = failed.value
    status = rpc_status.from_call(error)
    found: dict[str, Any] = {}
    for detail in status.details if status else ():
        name = detail.type_url.rpartition(".")[2]
        found[name] = getattr(rpc, name).FromString(detail.value)
    return error.code(), error.details(), found


async def test_the_service_parameters_come_from_the_metadata() -> None:
    """What is given several times becomes one list, as with HTTP."""
    service = Service(task())
    metadata = (
        ("a2a-version", "1.0.3"),
        ("authorization", "Bearer ann"),
        ("a2a-extensions", f"{EXTENSION}, https://unknown.example"),
        ("a2a-extensions", REQUIRED),
        ("idempotency-key", "key-1"),
        ("last-event-id", "3"),
        ("some-bin", b"\x00"),
    )
    extensions = [{"uri": EXTENSION}, {"uri": REQUIRED, "required": True}]
    async with served(service, a2a={"extensions": extensions}) as channel:
        call = stub_1_0(channel).SendMessage(SEND, metadata=metadata)
        assert (await call).task.id == "t"
        echoed = dict(await call.initial_metadata())
    ((caller, request),) = service.asked
    assert (caller.owner, caller.address) == ("Bearer ann", "127.0.0.1")
    assert (request.idempotency_key, request.last_event_id) == ("key-1", 3)
    assert request.extensions == (EXTENSION, REQUIRED)
    assert echoed["a2a-extensions"] == f"{EXTENSION}, {REQUIRED}"


async def test_callers_of_0_3_have_their_own_name_for_extensions() -> None:
    request = v03.SendMessageRequest(
        request=v03.Message(message_id="m", role=v03.ROLE_USER, content=[v03.Part(text="hi")])
    )
    async with served(task(), a2a={"extensions": [{"uri": EXTENSION}]}) as channel:
        call = stub_0_3(channel).SendMessage(request, metadata=(("x-a2a-extensions", EXTENSION),))
        assert (await call).task.id == "t"
        assert dict(await call.initial_metadata())["x-a2a-extensions"] == EXTENSION


@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage", "GetTask"])
async def test_a_required_extension_must_be_named(operation: str) -> None:
    service = Service(task())
    request = v1.GetTaskRequest(id="t") if operation == "GetTask" else SEND
    extensions = [{"uri": REQUIRED, "required": True}]
    async with served(service, a2a={"extensions": extensions}) as channel:
        code, text, details = await refused(getattr(stub_1_0(channel), operation)(request))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert REQUIRED in text
    assert details["ErrorInfo"].reason == "EXTENSION_SUPPORT_REQUIRED"
    assert service.asked == []


@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage", "GetTask"])
@pytest.mark.parametrize("version", ["0.2", "2.0", "x"])
async def test_an_unknown_version_is_refused_on_every_call(operation: str, version: str) -> None:
    service = Service(task())
    request = v1.GetTaskRequest(id="t") if operation == "GetTask" else SEND
    async with served(service) as channel:
        call = getattr(stub_1_0(channel), operation)(request, metadata=(("a2a-version", version),))
        code, _, details = await refused(call)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert details["ErrorInfo"].reason == "VERSION_NOT_SUPPORTED"
    assert details["ErrorInfo"].domain == "a2a-protocol.org"
    assert service.asked == []


@pytest.mark.parametrize(
    ("version", "served_1_0", "served_0_3"),
    [("1.0", True, False), ("0.3", False, True), ("", False, True)],
)
async def test_strictly_a_service_is_of_the_version_that_the_call_names(
    version: str, served_1_0: bool, served_0_3: bool
) -> None:
    """None is 0.3."""
    metadata = (("a2a-version", version),) if version else ()
    async with served(task(), a2a={"strict_version": True}) as channel:
        calls = {
            stub_1_0(channel).GetTask(v1.GetTaskRequest(id="t"), metadata=metadata): served_1_0,
            stub_0_3(channel).GetTask(v03.GetTaskRequest(name="tasks/t"), metadata=metadata): (
                served_0_3
            ),
        }
        for call, is_served in calls.items():
            if is_served:
                assert (await call).id == "t"
            else:
                assert (await refused(call))[2]["ErrorInfo"].reason == "VERSION_NOT_SUPPORTED"


async def test_a_wrong_parameter_is_named() -> None:
    async with served(task()) as channel:
        code, _, details = await refused(stub_1_0(channel).SendMessage(v1.SendMessageRequest()))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details["BadRequest"].field_violations[0].field == "message"
        metadata = (("last-event-id", "x"),)
        code, _, details = await refused(stub_1_0(channel).SendMessage(SEND, metadata=metadata))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details["BadRequest"].field_violations[0].field == "Last-Event-ID"


@pytest.mark.parametrize("service", ["lf.a2a.v1.A2AService", "a2a.v1.A2AService"])
async def test_bytes_that_are_no_message_are_the_callers_fault(service: str) -> None:
    """With grpc's own reader it would be an internal error."""
    async with served(task()) as channel:
        call = channel.unary_unary(f"/{service}/SendMessage")
        code, _, details = await refused(call(b"\xff\xff"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details["ErrorInfo"].reason == "INVALID_REQUEST"


async def test_a_message_beyond_the_limit_is_refused() -> None:
    service = Service(task())
    async with served(service, limits={"body_bytes": 1000}) as channel:
        large = v1.SendMessageRequest(message=HELLO)
        large.message.parts.add().text = "x" * 1000
        code, _, _ = await refused(stub_1_0(channel).SendMessage(large))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert service.asked == []
        assert (await stub_1_0(channel).SendMessage(SEND)).task.id == "t"


@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_an_internal_error_says_nothing_but_its_id(
    operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(RuntimeError("a secret")) as channel:
        code, text, details = await refused(getattr(stub_1_0(channel), operation)(SEND))
    assert (code, text) == (grpc.StatusCode.INTERNAL, "Internal error")
    assert details["RequestInfo"].request_id in caplog.text
    assert "a secret" in caplog.text
    assert "a secret" not in str(details)


@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_who_comes_when_there_is_too_much_to_do_is_told_when_to_come_again(
    operation: str,
) -> None:
    async with served(TooManyTasks(7)) as channel:
        code, _, details = await refused(getattr(stub_1_0(channel), operation)(SEND))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details["RetryInfo"].retry_delay.seconds == 7


async def test_0_3_names_the_error_in_its_text() -> None:
    async with served(TaskNotFound()) as channel:
        code, text, details = await refused(
            stub_0_3(channel).GetTask(v03.GetTaskRequest(name="tasks/t"))
        )
    assert (code, text) == (
        grpc.StatusCode.NOT_FOUND,
        "TaskNotFoundError: There is no such task.",
    )
    assert details["ErrorInfo"].reason == "TASK_NOT_FOUND"


async def test_a_stream_ends_with_the_number_of_its_last_event() -> None:
    async with served(Followed(*[task(n=n) for n in range(50)])) as channel:
        call = stub_1_0(channel).SendStreamingMessage(SEND)
        assert [event.task.metadata["n"] async for event in call] == list(range(50))
        assert await call.code() is grpc.StatusCode.OK
        assert dict(await call.trailing_metadata())["last-event-id"] == "50"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StreamEnded(), grpc.StatusCode.ABORTED),
        (ContentTypeNotSupported(), grpc.StatusCode.INVALID_ARGUMENT),
        (RuntimeError("a secret"), grpc.StatusCode.INTERNAL),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_in_a_stream_becomes_its_status(error: Exception, code: Any) -> None:
    """After all events, and with the number of the last one."""
    async with served(Followed(task(n=1), task(n=2), error=error)) as channel:
        call = stub_1_0(channel).SendStreamingMessage(SEND)
        assert [(await call.read()).task.metadata["n"] for _ in range(2)] == [1, 2]
        found, text, _ = await refused(call)
        assert found is code
        assert "secret" not in text
        assert dict(await call.trailing_metadata())["last-event-id"] == "2"


async def test_who_leaves_a_stream_is_followed_no_more() -> None:
    followed = Followed(task(), gate=anyio.Event())
    async with served(followed) as channel:
        call = stub_1_0(channel).SendStreamingMessage(SEND)
        assert (await call.read()).task.id == "t"
        call.cancel()
        await followed.left.wait()


async def test_a_stream_in_which_nothing_happens_for_long_ends() -> None:
    followed = Followed(task(), gate=anyio.Event())
    async with served(followed, limits={"stream_idle_seconds": 0.1}) as channel:
        call = stub_1_0(channel).SendStreamingMessage(SEND)
        assert (await call.read()).task.id == "t"
        code, _, details = await refused(call)
        assert code is grpc.StatusCode.ABORTED
        assert details["ErrorInfo"].reason == "STREAM_ENDED"
        assert dict(await call.trailing_metadata())["last-event-id"] == "1"


async def test_a_stream_whose_caller_does_not_read_ends_and_says_where() -> None:
    """What was written before is still read."""
    followed = Followed(*[task(n=n, text="x" * 100_000) for n in range(500)])

    async def tell(_request: bytes, context: Any) -> None:
        binary = Binary(Dialect1(), v1.StreamResponse)
        try:
            await write_all(context, followed.follow(binary, 1), patience=0.1)
        except StreamEnded:
            await context.abort(grpc.StatusCode.ABORTED, "", context.trailing_metadata())

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        "test", {"Tell": grpc.unary_stream_rpc_method_handler(tell)}
    )
    server.add_generic_rpc_handlers([handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with anyio.fail_after(10):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            tell_all: Any = channel.unary_stream("/test/Tell")
            call = tell_all(b"")
            first = await call.read()
            await followed.left.wait()
            events, error = await rest(call)
            numbers = [
                v1.StreamResponse.FromString(event).task.metadata["n"] for event in [first, *events]
            ]
            assert error.code() is grpc.StatusCode.ABORTED
            assert numbers == list(range(len(numbers)))
            assert len(numbers) < 500
            assert dict(await call.trailing_metadata())["last-event-id"] == str(len(numbers))
        await server.stop(None)


async def test_a_server_that_stops_takes_no_new_calls_and_lets_streams_end() -> None:
    followed = Followed(task(n=1), task(n=2), gate=anyio.Event())
    service = Service(followed)
    service.get = Service(task()).get
    port, stop = free_port(), anyio.Event()

    async def serve() -> None:
        async with make(service, settings(port)).serving(checkpoint):
            await stop.wait()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks, connected(port) as channel:
            tasks.start_soon(serve)
            call = stub_1_0(channel).SendStreamingMessage(SEND, wait_for_ready=True)
            assert (await call.read()).task.metadata["n"] == 1
            stop.set()
            code = None
            while code is not grpc.StatusCode.UNAVAILABLE:
                async with connected(port) as other:
                    code = await stub_1_0(other).GetTask(v1.GetTaskRequest(id="t")).code()
            assert followed.gate is not None
            followed.gate.set()
            events, error = await rest(call)
            assert [event.task.metadata["n"] for event in events] == [2]
            assert error is None


async def test_a_stream_that_goes_on_ends_with_its_task_when_the_server_stops() -> None:
    followed = Followed(task(), gate=anyio.Event(), error=StreamEnded())
    port = free_port()

    async def stop_tasks() -> None:
        assert followed.gate is not None
        followed.gate.set()

    with anyio.fail_after(10):
        async with connected(port) as channel:
            server = make(followed, settings(port, a2a={"drain_seconds": 0.1}))
            async with server.serving(stop_tasks):
                call = stub_1_0(channel).SendStreamingMessage(SEND)
                assert (await call.read()).task.id == "t"
            events, error = await rest(call)
        assert (events, error.code()) == ([], grpc.StatusCode.ABORTED)


async def test_a_stream_that_does_not_end_at_all_is_cut_off() -> None:
    followed = Followed(task(), gate=anyio.Event())
    port = free_port()
    with anyio.fail_after(10):
        async with connected(port) as channel:
            server = make(followed, settings(port, a2a={"drain_seconds": 0.1}))
            async with server.serving(checkpoint):
                call = stub_1_0(channel).SendStreamingMessage(SEND)
                assert (await call.read()).task.id == "t"
            _, error = await rest(call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        await followed.left.wait()


async def test_a_port_that_is_taken_is_a_settings_error() -> None:
    port = free_port()
    second = make(task(), settings(port)).serving(checkpoint)
    async with make(task(), settings(port)).serving(checkpoint):
        with pytest.raises(SettingsError, match=rf"a2a\.grpc_port: cannot listen on .*:{port}"):
            await second.__aenter__()


async def test_several_processes_share_a_port() -> None:
    """Two servers in one process will do: the socket cannot tell."""
    port = free_port()
    configured = settings(port, service={"host": "127.0.0.1", "workers": 2})
    async with AsyncExitStack() as opened:
        for _ in range(configured.service.workers):
            await opened.enter_async_context(make(task(), configured).serving(checkpoint))
        channel = await opened.enter_async_context(connected(port))
        assert (await stub_1_0(channel).GetTask(v1.GetTaskRequest(id="t"))).id == "t"


def test_without_a_port_there_is_no_server() -> None:
    nothing: Any = None
    assert make_grpc(Settings(), nothing, open_gate()) is None


def run_python(code: str) -> str:
    """Run Python in a process of its own; returns what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_nothing_of_grpc_is_imported_without_a_port() -> None:
    said = run_python(
        "import sys\n"
        "from agent.app import create_app\n"
        "from agent.settings import Settings\n"
        "create_app(Settings(a2a_state={'memory': True}))\n"
        "print('grpc' in sys.modules, 'agent.grpc_binding.server' in sys.modules)\n"
    )

    assert said == "False False\n"


def test_without_the_extra_the_setting_says_what_to_install() -> None:
    """A process in which grpc cannot be imported stands for one where it is not installed."""
    said = run_python(
        "import sys; sys.modules['grpc'] = None\n"
        "from agent.errors import SettingsError\n"
        "from agent.grpc_binding import make_grpc\n"
        "from agent.settings import Settings\n"
        "try:\n"
        "    make_grpc(Settings(a2a={'grpc_port': 9090}), None, None)\n"
        "except SettingsError as exc:\n"
        "    print(exc)\n"
    )

    assert said == "a2a.grpc_port: needs the extra grpc: pip install 'llamastack-a2a[grpc]'\n"


@pytest.mark.parametrize("password", [None, "open sesame"])
async def test_tls_is_that_of_https(tmp_path: Path, password: str | None) -> None:
    assert await answers_over_tls(*write_certificate(tmp_path, password))


async def test_a_password_that_the_key_does_not_have_does_no_harm(tmp_path: Path) -> None:
    certificate, tls = write_certificate(tmp_path, None)
    (tmp_path / "password").write_text("of another key")
    tls["tls_key_password"] = str(tmp_path / "password")

    assert await answers_over_tls(certificate, tls)


def test_a_password_that_does_not_open_the_key_is_a_settings_error(tmp_path: Path) -> None:
    _, tls = write_certificate(tmp_path, "open sesame")
    (tmp_path / "password").write_text("wrong")

    with pytest.raises(SettingsError, match=r"service\.tls_config\.tls_key_password"):
        make(task(), settings(1, service={"tls_config": tls}))


async def answers_over_tls(certificate: bytes, tls: dict[str, str]) -> bool:
    """Serve over TLS, and call once."""
    port = free_port()
    with anyio.fail_after(10):
        server = make(task(), settings(port, service={"host": "127.0.0.1", "tls_config": tls}))
        credentials = grpc.ssl_channel_credentials(certificate)
        options = [("grpc.ssl_target_name_override", "localhost")]
        async with (
            server.serving(checkpoint),
            grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel,
        ):
            answer = await stub_1_0(channel).GetTask(v1.GetTaskRequest(id="t"))
            return bool(answer.id == "t")


def write_certificate(folder: Path, password: str | None) -> tuple[bytes, dict[str, str]]:
    """Write a certificate for localhost and its key; returns it, and the settings for both."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    encryption = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password.encode())
    )
    tls = {"tls_certificate_path": folder / "cert.pem", "tls_key_path": folder / "key.pem"}
    tls["tls_certificate_path"].write_bytes(certificate)
    tls["tls_key_path"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    if password is not None:
        tls["tls_key_password"] = folder / "password"
        tls["tls_key_password"].write_text(f"{password}\n")
    return certificate, {key: str(path) for key, path in tls.items()}
