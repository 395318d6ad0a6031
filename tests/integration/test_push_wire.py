"""What arrives at a webhook: the body in its version, who it is from, and what it is for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from a2a.compat.v0_3 import types as v0_3
from a2a.types import StreamResponse
from a2a.types import TaskState as ProtoState
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.json_format import Parse

from agent.model import PushAuthentication, TaskState
from agent.signing import load_signing_key
from tests.fakes.state import open_database, open_journal
from tests.fakes.webhooks import ANN, Story, config, open_push, rests, serve, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from a2a_state.database import Database
    from agent.settings import Settings
    from tests.fakes.webhooks import Posted

pytestmark = pytest.mark.anyio

SECRETS = ("token-secret", "credentials-secret", "query-secret", "hmac-secret")


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database("sqlite://") as opened:
        yield opened


async def posted(
    database: Database, configured: Settings | None = None, key: Any = None, **more: Any
) -> list[Posted]:
    """Return what is posted of a task with an answer in two pieces."""
    async with (
        serve() as webhook,
        open_journal(database) as journal,
        open_push(database, configured, key=key) as push,
    ):
        story = Story(journal)
        await push.create(ANN, config(f"{webhook.url}?key=query-secret", **more))
        await story.begin()
        await story.tell(story.status(TaskState.WORKING, metadata={"turn_id": "t-1"}))
        await story.tell(story.status(TaskState.WORKING, metadata={"step": {"kind": "inference"}}))
        await story.tell(*story.artifact("Hel", "lo"))
        await story.end()
        push.wake("task")
        await webhook.hears(4)
        return webhook.posted


async def test_a_1_0_webhook_gets_events_as_a_stream_has_them(database: Database) -> None:
    arrived = await posted(database)

    events = [Parse(each.body, StreamResponse()) for each in arrived]
    assert [event.WhichOneof("payload") for event in events] == [
        "task",
        "status_update",
        "artifact_update",
        "status_update",
    ]
    assert events[0].task.status.state == ProtoState.TASK_STATE_SUBMITTED
    assert events[1].status_update.status.state == ProtoState.TASK_STATE_WORKING
    update = events[2].artifact_update
    assert (update.artifact.parts[0].text, update.append, update.last_chunk) == (
        "Hello",
        False,
        True,
    )
    assert events[3].status_update.status.state == ProtoState.TASK_STATE_COMPLETED
    assert {each.headers["content-type"] for each in arrived} == {"application/a2a+json"}


async def test_a_0_3_webhook_gets_the_task_as_of_each_event(database: Database) -> None:
    arrived = await posted(database, version="0.3")

    tasks = [v0_3.Task.model_validate_json(each.body) for each in arrived]
    assert [task.status.state.value for task in tasks] == [
        "submitted",
        "working",
        "working",
        "completed",
    ]
    assert [bool(task.artifacts) for task in tasks] == [False, False, True, True]
    assert {task.id for task in tasks} == {"task"}
    (artifact,) = tasks[-1].artifacts or []
    assert artifact.parts[0].root.model_dump(exclude_none=True) == {"kind": "text", "text": "Hello"}
    assert {each.headers["content-type"] for each in arrived} == {"application/json"}


async def test_without_secrets_nothing_is_signed(database: Database) -> None:
    (first, *_) = await posted(database)

    assert first.path == "/hook"
    assert "x-a2a-notification-token" not in first.headers
    assert "authorization" not in first.headers
    assert "webhook-signature" not in first.headers
    assert "x-a2a-notification-signature" not in first.headers
    assert len(first.headers["webhook-id"]) == 32


async def test_a_token_is_sent_back(database: Database) -> None:
    arrived = await posted(database, token="token-secret")

    assert {each.headers["x-a2a-notification-token"] for each in arrived} == {"token-secret"}


@pytest.mark.parametrize(
    ("schemes", "credentials", "header"),
    [
        (["Bearer"], "abc", "Bearer abc"),
        (["bearer"], "abc", "Bearer abc"),
        (["Basic"], "ann:secret", "Basic " + base64.b64encode(b"ann:secret").decode()),
        (["basic"], "YW5uOnNlY3JldA==", "Basic YW5uOnNlY3JldA=="),
        (["ApiKey"], "abc", "ApiKey abc"),
        (["Digest", "Bearer"], "abc", "Bearer abc"),
        (["HOBA", "Custom"], "abc", "HOBA abc"),
        (["Bearer"], None, None),
        (["Basic"], None, None),
        ([], "abc", None),
    ],
)
async def test_credentials_are_sent_as_their_scheme_says(
    database: Database, schemes: list[str], credentials: str | None, header: str | None
) -> None:
    given = PushAuthentication(tuple(schemes), credentials)

    (first, *_) = await posted(database, version="0.3", authentication=given)

    assert first.headers.get("authorization") == header


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_" + base64.b64encode(b"k" * 24).decode(), b"k" * 24),
        ("hmac-secret", b"hmac-secret"),
    ],
)
async def test_a_shared_secret_signs_as_standard_webhooks_does(
    database: Database, secret: str, key: bytes
) -> None:
    for each in await posted(database, settings(hmac_secret=secret)):
        signed = f"{each.headers['webhook-id']}.{each.headers['webhook-timestamp']}.".encode()
        expected = hmac.new(key, signed + each.body, hashlib.sha256).digest()

        version, _, signature = each.headers["webhook-signature"].partition(",")
        assert version == "v1"
        assert hmac.compare_digest(base64.b64decode(signature), expected)
        assert abs(int(each.headers["webhook-timestamp"]) - time.time()) < 300


PRIVATE: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
}


def pem(path: Path, algorithm: str) -> Path:
    """Write a new private key."""
    private = PRIVATE[algorithm]()
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_a_key_signs_a_jwt_over_the_body(
    database: Database, tmp_path: Path, algorithm: str
) -> None:
    """A receiver needs the published key and any JWT library."""
    key = load_signing_key(pem(tmp_path / "key.pem", algorithm))
    published = jwt.PyJWKSet.from_json(key.jwks.decode())

    for each in await posted(database, key=key):
        token = each.headers["x-a2a-notification-signature"]
        claims = jwt.decode(
            token,
            published[jwt.get_unverified_header(token)["kid"]],
            algorithms=[algorithm],
            audience=f"http://{each.headers['host']}/hook",
            issuer="http://localhost:8080",
            options={"require": ["exp", "iat", "iss", "aud", "jti"]},
        )
        assert claims["request_body_sha256"] == hashlib.sha256(each.body).hexdigest()
        assert claims["jti"] == each.headers["webhook-id"]
        assert claims["task_id"] == "task"
        assert "authorization" not in each.headers


async def test_bearer_without_credentials_is_the_servers_own_token(
    database: Database, tmp_path: Path
) -> None:
    """As in the example of 0.3 section 9.5."""
    key = load_signing_key(pem(tmp_path / "key.pem", "ES256"))

    (first, *_) = await posted(
        database, key=key, version="0.3", authentication=PushAuthentication(("Bearer",))
    )

    token = first.headers["x-a2a-notification-signature"]
    assert first.headers["authorization"] == f"Bearer {token}"


async def test_no_secret_is_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Neither when all is well nor when a webhook fails."""
    caplog.set_level(logging.DEBUG)
    authentication = PushAuthentication(("Bearer",), "credentials-secret")
    secret = settings(hmac_secret="hmac-secret", attempts=1)

    arrived = await posted(database, secret, token="token-secret", authentication=authentication)
    async with (
        serve(500) as webhook,
        open_journal(database) as journal,
        open_push(database, secret) as push,
    ):
        url = f"{webhook.url}?key=query-secret"
        given = config(url, "other", token="token-secret", authentication=authentication)
        await push.create(ANN, given)
        await Story(journal, "other").begin()
        push.wake("other")
        await webhook.hears(1)
        await rests(database, task_id="other", state="dead")

    assert arrived[0].headers["authorization"] == "Bearer credentials-secret"
    assert any("is given up" in message for message in caplog.messages)
    assert [secret for secret in SECRETS if secret in caplog.text] == []
