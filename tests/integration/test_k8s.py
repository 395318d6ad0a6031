"""Module ``k8s``: the whole server, and a Kubernetes API that it asks over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app, make_gate
from agent.auth.base import Presented
from agent.auth.k8s import K8s, make_k8s
from agent.auth.kubernetes_api import ANSWER_BYTES, KubernetesApi, Server
from agent.errors import IdentityUnavailable, PermissionDenied, SettingsError, Unauthenticated
from agent.settings import Settings
from agent.settings.access import Authentication
from tests.fakes.certificates import Authority
from tests.fakes.kubernetes import (
    AUTHENTICATION,
    AUTHORIZATION,
    CLUSTER_ID,
    CLUSTER_VERSION,
    HALF,
    HANG,
    SERVER_TOKEN,
    Kubernetes,
    serve,
    service_account,
    status_answer,
    user,
)
from tests.fakes.ports import free_port
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

ANN, BOB, EVE = "token-of-ann", "token-of-bob", "token-of-eve"
NOT_FOUND = -32001


class Agent:
    """The whole server, as its callers see it."""

    def __init__(self, http: httpx.AsyncClient, script: Script) -> None:
        self.http = http
        self.script = script

    async def call(self, token: str | None, method: str, **params: Any) -> httpx.Response:
        """Call a method of A2A."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await self.http.post("/a2a", json=body, headers=headers)

    async def send(self, token: str | None) -> httpx.Response:
        """Send a message."""
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
        return await self.call(token, "SendMessage", message=message)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return what the test set."""
        return self.now


@pytest.fixture
async def kubernetes() -> AsyncIterator[Kubernetes]:
    """Yield an API that knows ann and bob, who may come in, and eve, who may not."""
    async with serve() as api:
        populate(api)
        yield api


def populate(api: Kubernetes) -> None:
    """Make the users known."""
    api.add(ANN, user("ann", "makers"))
    api.add(BOB, user("bob"))
    api.users[EVE] = user("eve")


def section(folder: Path, url: str, **more: Any) -> dict[str, Any]:
    """Return the settings' section ``authentication``."""
    account = service_account(folder)
    named = {"k8s_cluster_api": url, "k8s_service_account": str(account)}
    return {"module": "k8s", **named} | more


@asynccontextmanager
async def agent(authentication: dict[str, Any], **more: Any) -> AsyncIterator[Agent]:
    """Serve the whole server."""
    script = Script(ANSWER)
    with scripted(script) as name:
        given = {"name": name, "stack": STACK, "a2a_state": {"memory": True}} | more
        app = create_app(Settings.model_validate(given | {"authentication": authentication}))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
            yield Agent(http, script)


def shows(token: str) -> Presented:
    """Return a request that shows a token."""
    return Presented({"authorization": f"Bearer {token}"}, address="192.0.2.1")


@asynccontextmanager
async def module(
    folder: Path, url: str, clock: Clock | None = None, **more: Any
) -> AsyncIterator[K8s]:
    """Open the module alone."""
    settings = Authentication.model_validate(section(folder, url, **more))
    account = folder / "serviceaccount"
    server = Server(
        url, account / "token", account / "ca.crt", seconds=settings.k8s_timeout_seconds
    )
    made = K8s(KubernetesApi(server), settings, clock or Clock())
    with anyio.fail_after(20):
        await made.open()
        try:
            yield made
        finally:
            await made.close()


async def test_a_good_token_of_somebody_with_the_role_comes_in(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    async with agent(section(tmp_path, kubernetes.url)) as served:
        answer = await served.send(ANN)

    assert answer.status_code == 200
    assert answer.json()["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert served.script.owners == ["uid-of-ann"]


async def test_the_api_is_asked_as_kubernetes_wants_it(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    async with agent(section(tmp_path, kubernetes.url)) as served:
        await served.send(ANN)

    review, access = kubernetes.asked
    assert (review.path, access.path) == (AUTHENTICATION, AUTHORIZATION)
    assert review.body["spec"] == {"token": ANN}
    assert access.body["spec"] == {
        "user": "ann",
        "uid": "uid-of-ann",
        "groups": ["makers", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=ann"]},
        "nonResourceAttributes": {"path": "/ls-access", "verb": "get"},
    }
    assert {asked.authorization for asked in kubernetes.asked} == {f"Bearer {SERVER_TOKEN}"}
    assert review.client == access.client, "the connection is used again"


async def test_a_token_that_is_not_good_or_no_more_is_answered_with_401(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    async with agent(section(tmp_path, kubernetes.url, k8s_cache_seconds=0)) as served:
        never = await served.send("no-such-token")
        assert (await served.send(ANN)).status_code == 200
        del kubernetes.users[ANN]
        expired = await served.send(ANN)

    for answer in (never, expired):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == (
            'Bearer realm="llamastack-a2a", error="invalid_token", '
            'error_description="Invalid or expired Kubernetes token"'
        )
        assert answer.json()["error"]["message"] == (
            "Missing or invalid credentials provided by client: Invalid or expired Kubernetes token"
        )
    assert len(served.script.requests) == 1


async def test_without_a_token_the_api_is_not_asked(kubernetes: Kubernetes, tmp_path: Path) -> None:
    async with agent(section(tmp_path, kubernetes.url)) as served:
        answer = await served.send(None)

    assert answer.status_code == 401
    assert "No Authorization header found" in answer.json()["error"]["message"]
    assert kubernetes.asked == []


async def test_somebody_without_the_role_is_answered_with_403(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    async with agent(section(tmp_path, kubernetes.url)) as served:
        answer = await served.send(EVE)

    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == (
        "User does not have permission to access this endpoint: "
        "User uid-of-eve is not authorized to access this endpoint."
    )
    assert served.script.requests == []


async def test_what_one_user_makes_is_not_there_for_another(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    async with agent(section(tmp_path, kubernetes.url)) as served:
        task = (await served.send(ANN)).json()["result"]["task"]["id"]

        mine = await served.call(ANN, "GetTask", id=task)
        theirs = await served.call(BOB, "GetTask", id=task)
        listed = await served.call(BOB, "ListTasks")

    assert mine.json()["result"]["id"] == task
    assert theirs.json()["error"]["code"] == NOT_FOUND
    assert listed.json()["result"]["tasks"] == []


async def test_the_administrator_of_the_cluster_is_the_cluster(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.add("admin", user("kube:admin", uid=""))
    async with agent(section(tmp_path, kubernetes.url, k8s_cache_seconds=0)) as served:
        for _ in range(2):
            assert (await served.send("admin")).status_code == 200

    assert set(served.script.owners) == {CLUSTER_ID}
    assert len(kubernetes.bodies(CLUSTER_VERSION)) == 1, "a cluster keeps its id"


async def test_an_administrator_of_a_cluster_without_an_id_does_not_come_in(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.add("admin", user("kube:admin", uid="some"))
    kubernetes.said[CLUSTER_VERSION] = status_answer(404, "NotFound")
    async with agent(section(tmp_path, kubernetes.url)) as served:
        assert (await served.send("admin")).status_code == 503


async def test_a_user_without_a_uid_does_not_come_in(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    """Names are not ids: one could be another's uid."""
    kubernetes.add("oidc", user("uid-of-ann", uid=""))
    async with agent(section(tmp_path, kubernetes.url)) as served:
        answer = await served.send("oidc")

    assert answer.status_code == 401
    assert "The Kubernetes user has no uid" in answer.json()["error"]["message"]


def json_answer(**body: Any) -> tuple[int, bytes]:
    """Return an answer in JSON."""
    return 201, json.dumps(body).encode()


TRUE = {"authenticated": True}
BROKEN: dict[str, tuple[str, tuple[int, bytes] | str]] = {
    "our own credentials are refused": (AUTHENTICATION, status_answer(401, "Unauthorized")),
    "we may not ask whose token it is": (AUTHENTICATION, status_answer(403, "Forbidden")),
    "we may not ask who may come in": (AUTHORIZATION, status_answer(403, "Forbidden")),
    "the API is broken": (AUTHENTICATION, status_answer(500, "InternalError")),
    "the API is busy": (AUTHORIZATION, status_answer(429, "TooManyRequests")),
    "no JSON": (AUTHENTICATION, (200, b"<html>welcome</html>")),
    "nothing": (AUTHENTICATION, (200, b"")),
    "no UTF-8": (AUTHENTICATION, (200, b'{"kind": "\xff"}')),
    "JSON of something else": (AUTHENTICATION, json_answer(kind="Pod", status=TRUE)),
    "no status": (AUTHENTICATION, json_answer(kind="TokenReview")),
    "authenticated in words": (
        AUTHENTICATION,
        json_answer(kind="TokenReview", status={"authenticated": "true"}),
    ),
    "authenticated nobody": (AUTHENTICATION, json_answer(kind="TokenReview", status=TRUE)),
    "authenticated no name": (
        AUTHENTICATION,
        json_answer(kind="TokenReview", status=TRUE | {"user": {"username": "", "uid": "x"}}),
    ),
    "allowed in words": (
        AUTHORIZATION,
        json_answer(kind="SubjectAccessReview", status={"allowed": "yes"}),
    ),
    "neither allowed nor not": (AUTHORIZATION, json_answer(kind="SubjectAccessReview", status={})),
    "nested without end": (
        AUTHENTICATION,
        (201, b'{"kind": "TokenReview", "x": ' + b"[" * 500_000),
    ),
    "too much": (
        AUTHENTICATION,
        json_answer(
            kind="TokenReview", status=TRUE | {"user": user("ann")}, pad="x" * ANSWER_BYTES
        ),
    ),
}


@pytest.fixture(scope="module")
async def breakable(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Kubernetes, Agent]]:
    """Yield one server for many broken answers: it must come through all of them."""
    async with serve() as api:
        populate(api)
        named = section(tmp_path_factory.mktemp("breakable"), api.url, k8s_cache_seconds=0)
        async with agent(named) as served:
            yield api, served


@pytest.mark.parametrize("case", BROKEN)
async def test_when_the_api_gives_no_clear_answer_nobody_comes_in(
    case: str, breakable: tuple[Kubernetes, Agent], caplog: pytest.LogCaptureFixture
) -> None:
    api, served = breakable
    before = len(served.script.requests)
    path, said = BROKEN[case]
    with anyio.fail_after(20):
        api.said[path] = said
        answer = await served.send(ANN)
        api.said.clear()
        assert len(served.script.requests) == before
        again = await served.send(ANN)

    assert answer.status_code == 503
    assert answer.json()["error"]["message"].startswith("Unable to verify credentials: ")
    assert "www-authenticate" not in answer.headers
    assert again.status_code == 200
    logged = [record for record in caplog.records if record.name.startswith("agent.auth")]
    assert logged, "who runs the server is told why"
    assert ANN not in caplog.text
    assert SERVER_TOKEN not in caplog.text


@pytest.mark.parametrize("path", [AUTHENTICATION, AUTHORIZATION])
@pytest.mark.parametrize("said", [HANG, HALF])
async def test_an_api_that_does_not_answer_in_time_lets_nobody_in(
    path: str, said: str, kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.said[path] = said
    authentication = section(tmp_path, kubernetes.url, k8s_timeout_seconds=0.2)
    async with agent(authentication) as served:
        answer = await served.send(ANN)

    assert answer.status_code == 503
    assert served.script.requests == []


async def test_denied_wins_over_allowed(kubernetes: Kubernetes, tmp_path: Path) -> None:
    status = {"allowed": True, "denied": True}
    kubernetes.said[AUTHORIZATION] = json_answer(kind="SubjectAccessReview", status=status)
    async with module(tmp_path, kubernetes.url) as k8s:
        with pytest.raises(PermissionDenied):
            await k8s.identify(shows(ANN))


async def test_an_api_that_is_down_is_an_error_until_it_is_there(tmp_path: Path) -> None:
    port = free_port()
    async with agent(section(tmp_path, f"http://127.0.0.1:{port}")) as served:
        assert (await served.send(ANN)).status_code == 503
        with socket.create_server(("127.0.0.1", port)) as listener:
            api = Kubernetes()
            populate(api)
            async with run_server(api, (listener, f"http://127.0.0.1:{port}")):
                assert (await served.send(ANN)).status_code == 200


async def test_redirects_are_not_followed(kubernetes: Kubernetes, tmp_path: Path) -> None:
    kubernetes.said[AUTHENTICATION] = (307, b"")
    async with serve() as elsewhere:
        elsewhere.add(ANN, user("ann"))
        kubernetes.headers = [(b"location", f"{elsewhere.url}{AUTHENTICATION}".encode())]
        async with agent(section(tmp_path, kubernetes.url)) as served:
            assert (await served.send(ANN)).status_code == 503

        assert elsewhere.asked == []


async def test_the_servers_own_token_is_read_anew(kubernetes: Kubernetes, tmp_path: Path) -> None:
    async with module(tmp_path, kubernetes.url, k8s_cache_seconds=0) as k8s:
        await k8s.identify(shows(ANN))
        kubernetes.server_token = "next-token"
        with pytest.raises(IdentityUnavailable):
            await k8s.identify(shows(ANN))
        service_account(tmp_path, "next-token")

        assert (await k8s.identify(shows(ANN))).user_id == "uid-of-ann"


@pytest.mark.parametrize("held", [b"", b"two words\n", b"a\r\nX-Evil: b", None], ids=repr)
async def test_without_a_token_of_its_own_the_server_does_not_ask(
    held: bytes | None, kubernetes: Kubernetes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with module(tmp_path, kubernetes.url) as k8s:
        token = tmp_path / "serviceaccount" / "token"
        if held is None:
            token.unlink()
        else:
            token.write_bytes(held)
        with pytest.raises(IdentityUnavailable):
            await k8s.identify(shows(ANN))

    assert kubernetes.asked == []
    assert str(token) in caplog.text


async def test_parallel_requests_with_one_token_make_one_review(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    async with agent(section(tmp_path, kubernetes.url)) as served:
        answers = await asyncio.gather(*(served.send(ANN) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(kubernetes.bodies(AUTHENTICATION)) == 1
    assert len(kubernetes.bodies(AUTHORIZATION)) == 1


async def test_parallel_requests_with_one_bad_token_make_one_review(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.hold = asyncio.Event()
    async with module(tmp_path, kubernetes.url) as k8s:
        asked = [asyncio.create_task(k8s.identify(shows("bad"))) for _ in range(50)]
        await kubernetes.hears()
        kubernetes.hold.set()
        said = await asyncio.gather(*asked, return_exceptions=True)

    assert {type(each) for each in said} == {Unauthenticated}
    assert len(kubernetes.asked) == 1


async def test_who_goes_away_leaves_the_others_their_answer(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.hold = asyncio.Event()
    async with module(tmp_path, kubernetes.url) as k8s:
        first = asyncio.create_task(k8s.identify(shows(ANN)))
        second = asyncio.create_task(k8s.identify(shows(ANN)))
        await kubernetes.hears()
        first.cancel()
        await asyncio.wait([first])
        kubernetes.hold.set()

        assert (await second).user_id == "uid-of-ann"
        assert first.cancelled()
    assert len(kubernetes.bodies(AUTHENTICATION)) == 1


async def test_a_module_that_is_closed_lets_nobody_wait(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.said[AUTHENTICATION] = HANG
    async with module(tmp_path, kubernetes.url) as k8s:
        asked = asyncio.create_task(k8s.identify(shows(ANN)))
        await kubernetes.hears()
        await k8s.close()

        with pytest.raises(IdentityUnavailable):
            await asked
        with pytest.raises(IdentityUnavailable):
            await k8s.identify(shows(ANN))


async def test_who_was_let_in_is_remembered_for_seconds_and_no_longer(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    clock = Clock()
    async with module(tmp_path, kubernetes.url, clock, k8s_cache_seconds=10) as k8s:
        first = await k8s.identify(shows(ANN))
        del kubernetes.users[ANN]
        clock.now += 9.9
        assert await k8s.identify(shows(ANN)) == first
        assert first.token == ANN
        assert len(kubernetes.asked) == 2
        clock.now += 0.1

        with pytest.raises(Unauthenticated):
            await k8s.identify(shows(ANN))


async def test_who_was_not_let_in_is_not_remembered(kubernetes: Kubernetes, tmp_path: Path) -> None:
    async with module(tmp_path, kubernetes.url) as k8s:
        with pytest.raises(PermissionDenied):
            await k8s.identify(shows(EVE))
        kubernetes.allowed.add(("eve", "/ls-access"))

        assert (await k8s.identify(shows(EVE))).username == "eve"


async def test_the_path_and_the_audiences_are_those_of_the_settings(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.add("for-us", user("carl") | {"audiences": ["agent"]}, "/agent")
    more = {"k8s_virtual_path": "/agent", "k8s_audiences": ["agent", "agents"]}
    async with agent(section(tmp_path, kubernetes.url, **more)) as served:
        good = await served.send("for-us")
        for_others = await served.send(ANN)
        kubernetes.audience_aware = False
        unaware = await served.send(ANN)

    assert good.status_code == 200
    assert for_others.status_code == unaware.status_code == 401
    assert kubernetes.bodies(AUTHENTICATION)[0]["spec"]["audiences"] == ["agent", "agents"]


async def test_a_certificate_of_the_named_authority_is_believed_and_no_other(
    tmp_path: Path,
) -> None:
    known, unknown = Authority(tmp_path), Authority(tmp_path, "unknown")
    async with serve(known.certificate()) as api:
        populate(api)
        for authority, status in ((known, 200), (unknown, 503)):
            named = section(tmp_path, api.url, k8s_ca_cert_path=str(authority.file))
            async with agent(named) as served:
                assert (await served.send(ANN)).status_code == status
        assert len(api.asked) == 2


async def test_the_authority_of_the_service_account_is_believed_in_a_pod(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    account = service_account(tmp_path)
    (account / "ca.crt").write_bytes(authority.file.read_bytes())
    async with serve(authority.certificate()) as api:
        populate(api)
        host, port = api.url.removeprefix("https://").split(":")
        pod = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        given = {"module": "k8s", "k8s_service_account": str(account)}
        k8s = make_k8s(Authentication.model_validate(given), pod)
        await k8s.open()
        try:
            assert (await k8s.identify(shows(ANN))).user_id == "uid-of-ann"
        finally:
            await k8s.close()


async def test_a_certificate_for_another_host_is_not_believed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serve(authority.certificate("192.0.2.1")) as api:
        named = section(tmp_path, api.url, k8s_ca_cert_path=str(authority.file))
        async with agent(named) as served:
            assert (await served.send(ANN)).status_code == 503
        assert api.asked == []


async def test_without_verification_any_certificate_is_believed_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(Authority(tmp_path).certificate("192.0.2.1")) as api:
        populate(api)
        async with agent(section(tmp_path, api.url, skip_tls_verification=True)) as served:
            assert (await served.send(ANN)).status_code == 200
    assert "LET ANYBODY IN: authentication.skip_tls_verification is on" in caplog.text


async def test_the_log_names_the_api_that_cannot_be_reached(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with module(tmp_path, url) as k8s:
        with pytest.raises(IdentityUnavailable):
            await k8s.identify(shows(ANN))

    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"The Kubernetes API at {url}{AUTHENTICATION} cannot be reached: ")
    assert "Error(" not in said


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["absent", "broken"])
async def test_an_authority_that_cannot_be_read_is_told_at_start(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    given = section(tmp_path, "https://127.0.0.1:1", k8s_ca_cert_path=str(file))
    k8s = make_k8s(Authentication.model_validate(given), {})

    with pytest.raises(SettingsError, match=r"^authentication\.k8s_ca_cert_path: "):
        await k8s.open()
    await k8s.close()


def test_outside_of_a_pod_the_api_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=r"^authentication\.k8s_cluster_api: is missing"):
        make_gate(Settings.model_validate({"authentication": {"module": "k8s"}}))


@pytest.mark.parametrize("rest", ["user:secret@host", "host?a=b", "host/#there"])
def test_the_api_is_a_host_and_a_path_and_nothing_else(rest: str) -> None:
    given = {"module": "k8s", "k8s_cluster_api": f"https://{rest}"}
    with pytest.raises(SettingsError, match=r"^authentication\.k8s_cluster_api: ") as refused:
        make_k8s(Authentication.model_validate(given), {})
    assert "secret" not in str(refused.value)


async def test_grpc_asks_the_same_module(kubernetes: Kubernetes, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    import grpc
    from a2a.types import a2a_pb2 as v1
    from a2a.types import a2a_pb2_grpc

    stub_of: Any = a2a_pb2_grpc.A2AServiceStub
    port = free_port()
    message = v1.Message(message_id="m", role=v1.ROLE_USER, parts=[v1.Part(text="hi")])
    codes = {}
    more: dict[str, Any] = {"service": {"host": "127.0.0.1"}, "a2a": {"grpc_port": port}}
    async with (
        agent(section(tmp_path, kubernetes.url), **more) as served,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for token in (ANN, EVE, "bad"):
            metadata = (("authorization", f"Bearer {token}"), ("a2a-version", "1.0"))
            request = v1.SendMessageRequest(message=message)
            codes[token] = await stub_of(channel).SendMessage(request, metadata=metadata).code()

    assert codes == {
        ANN: grpc.StatusCode.OK,
        EVE: grpc.StatusCode.PERMISSION_DENIED,
        "bad": grpc.StatusCode.UNAUTHENTICATED,
    }
    assert served.script.owners == ["uid-of-ann"]
