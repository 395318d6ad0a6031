"""What the settings say about TLS, browsers and names of hosts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pydantic import ValidationError
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from agent.cli.serve import _uvicorn
from agent.errors import SettingsError
from agent.settings import Settings
from agent.settings.lcs import Service, Tls
from agent.transport.application import Application
from agent.transport.cors import allowed_origins
from agent.transport.front import Front
from agent.transport.hosts import with_known_hosts
from agent.transport.security_headers import security_headers
from agent.transport.tls import KeyPair, check_tls, read_key_pair, read_password

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

KEYED = {"module": "api-key-token", "api_key_config": {"api_key": "secret"}}
PASSWORD = b"open, sesame"


def settings(module: str = "noop", **service: Any) -> Settings:
    authentication = KEYED if module == "api-key-token" else {"module": module}
    return Settings.model_validate({"service": service, "authentication": authentication})


@pytest.mark.parametrize(
    ("module", "said", "origins"),
    [
        ("noop", {}, ()),
        ("noop-with-token", {}, ()),
        ("rh-identity", {}, ()),
        ("rh-identity", {"allow_origins": ["*"]}, ("*",)),
        ("api-key-token", {}, ("*",)),
        ("noop", {"allow_methods": ["GET"]}, ()),
        ("noop", {"allow_origins": ["*"]}, ("*",)),
        ("api-key-token", {"allow_origins": []}, ()),
        ("noop", {"allow_origins": ["https://a.test"]}, ("https://a.test",)),
    ],
)
def test_any_page_may_call_only_where_callers_authenticate_or_the_settings_say_so(
    module: str, said: dict[str, Any], origins: tuple[str, ...]
) -> None:
    assert allowed_origins(settings(module, cors=said)) == origins


@pytest.mark.parametrize(
    "origin", ["a.test", "https://a.test/", "https://a.test/page", "https://", "*.a.test", ""]
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    """It would never match, and the caller never learn why."""
    with pytest.raises(ValidationError, match="scheme://host"):
        settings(cors={"allow_origins": [origin]})


@pytest.mark.parametrize("said", [{}, {"allow_origins": ["*"]}, {"allow_origins": []}])
def test_credentials_need_named_origins(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(cors=said | {"allow_credentials": True})


CERTIFICATE = {"tls_certificate_path": "c.pem", "tls_key_path": "k.pem"}


@pytest.mark.parametrize(
    ("service", "value"),
    [
        ({}, None),
        ({"host": "agent.test"}, None),
        ({"base_url": "http://agent.test"}, None),
        ({"base_url": "https://agent.test"}, b"max-age=31536000"),
        ({"host": "0.0.0.0", "tls_config": CERTIFICATE}, b"max-age=31536000"),
        ({"host": "localhost", "tls_config": CERTIFICATE}, None),
        ({"base_url": "https://127.0.0.1:8443", "host": "0.0.0.0"}, None),
        ({"base_url": "https://agent.test", "hsts_seconds": 0}, b"max-age=0"),
        ({"base_url": "https://agent.test", "hsts_seconds": None}, None),
    ],
)
def test_https_alone_is_asked_for_where_there_is_https_beyond_this_machine(
    service: dict[str, Any], value: bytes | None
) -> None:
    headers = dict(security_headers(Service.model_validate(service)))

    assert headers.get(b"strict-transport-security") == value
    assert headers[b"x-content-type-options"] == b"nosniff"


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for an application."""


@pytest.mark.parametrize(
    ("module", "host"),
    [
        ("noop", "192.0.2.7"),
        ("noop", "agent.test"),
        ("noop", "0.0.0.0"),
        ("noop-with-token", "::"),
        ("api-key-token", "localhost"),
        ("api-key-token", "0.0.0.0"),
    ],
)
def test_hosts_are_not_looked_at_where_more_is_asked_or_more_may_come(
    module: str, host: str
) -> None:
    assert with_known_hosts(nothing, settings(module, host=host)) is nothing


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "::1", "[::1]"])
def test_hosts_are_looked_at_on_loopback(host: str) -> None:
    assert with_known_hosts(nothing, settings(host=host)) is not nothing


def test_the_server_takes_an_application_that_is_no_coroutine_function() -> None:
    """As the one that looks at hosts is; uvicorn would take it for one of ASGI 2."""
    app = with_known_hosts(nothing, settings())

    config = _uvicorn(settings(), app)
    config.load()

    assert config.interface == "asgi3"


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://a.test"}], ids=["program", "page"])
def test_an_answer_that_something_broke_passes_the_front_as_well(origin: dict[str, str]) -> None:
    """Starlette gives it past all middleware."""

    async def broken(_request: Request) -> Response:
        raise RuntimeError

    allowing = settings(cors={"allow_origins": ["https://a.test"]})
    app = Application(allowing, routes=[Route("/", broken)])
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/", headers=origin)

    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers.get("access-control-allow-origin") == origin.get("Origin")


def test_what_to_do_for_pages_that_are_kept_out_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any page can ask, as often as it likes; what it writes cannot break a line of the log."""

    async def done(_request: Request) -> Response:
        return PlainTextResponse("done")

    allowing = settings(cors={"allow_origins": ["https://a.test"]})
    app = Application(allowing, routes=[Route("/", done, methods=["GET", "POST"])])
    asking = {"Access-Control-Request-Method": "POST"}
    with TestClient(app) as client, caplog.at_level("WARNING", "agent.transport.cors"):
        client.options("/", headers=asking | {"Origin": "https://a.test"})
        client.post("/", headers={"Origin": "https://a.test"})
        client.post("/", headers={"Origin": "http://testserver"})
        assert caplog.messages == []
        long = "https://b.test/" + "\x0b" * 1000
        assert client.options("/", headers=asking | {"Origin": long}).status_code == 400
        assert client.post("/", headers={"Origin": "https://b.test"}).status_code == 403

    (line,) = caplog.messages
    assert "https://b.test" in line
    assert "service.cors.allow_origins" in line
    assert len(line) < 400
    assert line.isprintable()


async def test_a_response_keeps_what_it_says_itself() -> None:
    """Header for header, in whatever order."""
    own = [(b"content-security-policy", b"default-src 'self'"), (b"x-own", b"1")]
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await Front(app, settings())({"type": "http", "headers": []}, receive, send)

    assert sent[0]["headers"] == [
        *own,
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def tls(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> Tls:
    """Return settings of a certificate and its key, which has a password."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "agent.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    (tmp_path / "cert").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key").write_bytes(written(key, PASSWORD))
    (tmp_path / "plain key").write_bytes(written(key))
    (tmp_path / "other key").write_bytes(written(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "password").write_bytes(PASSWORD + b"\n")
    (tmp_path / "wrong").write_bytes(b"\xffwrong")
    (tmp_path / "guess").write_bytes(b"guess")
    return Tls(
        tls_certificate_path=tmp_path / "cert",
        tls_key_path=tmp_path / "key",
        tls_key_password=tmp_path / "password",
    )


def written(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_a_key_with_a_password_is_opened_with_it(tls: Tls) -> None:
    check_tls(tls)
    assert read_password(tls) == PASSWORD.decode()


def test_without_tls_there_is_nothing_to_check() -> None:
    check_tls(Tls())


def test_a_password_that_the_key_does_not_have_does_no_harm(tls: Tls, tmp_path: Path) -> None:
    plain = tls.model_copy(update={"tls_key_path": tmp_path / "plain key"})

    check_tls(plain)
    assert read_key_pair(plain) == read_key_pair(tls)


def test_the_key_is_read_without_its_password(tls: Tls, tmp_path: Path) -> None:
    key, certificates = (tmp_path / "plain key").read_bytes(), (tmp_path / "cert").read_bytes()

    assert read_key_pair(tls) == KeyPair(key, certificates)
    assert read_key_pair(Tls()) is None


@pytest.mark.parametrize(
    ("changed", "key_name", "problem"),
    [
        ({"tls_certificate_path": "none"}, "tls_certificate_path", "cannot be read"),
        ({"tls_certificate_path": "."}, "tls_certificate_path", "cannot be read"),
        ({"tls_certificate_path": "key"}, "tls_certificate_path", "no certificate in PEM"),
        ({"tls_key_path": "none"}, "tls_key_path", "cannot be read"),
        ({"tls_key_path": "cert"}, "tls_key_path", "no private key in PEM"),
        ({"tls_key_path": "other key"}, "tls_key_path", "is not the key of the certificate"),
        ({"tls_key_password": "none"}, "tls_key_password", "cannot be read"),
        ({"tls_key_password": "guess"}, "tls_key_password", "does not open the private key"),
        ({"tls_key_password": "wrong"}, "tls_key_password", "is not UTF-8 text"),
        ({"tls_key_password": None}, "tls_key_password", "the private key is encrypted"),
    ],
)
def test_what_is_wrong_with_the_files_of_tls_is_said_of_the_key_that_names_them(
    tls: Tls, tmp_path: Path, changed: dict[str, str | None], key_name: str, problem: str
) -> None:
    """And never with what is in them."""
    files = {name: file and tmp_path / file for name, file in changed.items()}

    for reading in (check_tls, read_key_pair):
        with pytest.raises(SettingsError) as caught:
            reading(tls.model_copy(update=files))

        ((path, text),) = caught.value.problems
        assert path == f"service.tls_config.{key_name}"
        assert problem in text
        assert PASSWORD.decode() not in text
