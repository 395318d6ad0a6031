"""What the Kubernetes API knows of tokens and users: TokenReview and SubjectAccessReview."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import msgspec

from agent.auth.unreachable import reason_of
from agent.errors import IdentityUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

AUTHENTICATION = "/apis/authentication.k8s.io/v1/tokenreviews"
AUTHORIZATION = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
CLUSTER_VERSION = "/apis/config.openshift.io/v1/clusterversions/version"
ANSWER_BYTES = 1024 * 1024
CONNECTIONS = 20
"""Most questions at once: further ones wait for their turn, within the time they have."""

_IDLE_SECONDS = 30.0
_OWN_TOKEN = re.compile(rb"[!-~]{1,65536}")
_DONE = frozenset({200, 201})


class Server(msgspec.Struct, frozen=True):
    """Where the API is and how to speak with it: ``token`` and ``ca`` are files, which may be missing.

    ``ca_key`` is the setting that names ``ca``; "" when none does: then the system's authorities will do.
    """

    url: str
    token: Path
    ca: Path
    ca_key: str = ""
    verify: bool = True
    seconds: float = 5.0


class User(msgspec.Struct, frozen=True):
    """A user as Kubernetes describes one."""

    username: Annotated[str, msgspec.Meta(min_length=1)]
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: msgspec.Raw = msgspec.Raw()
    audiences: list[str] | None = None


class _TokenReview(msgspec.Struct, frozen=True, tag_field="kind", tag="TokenReview"):
    status: _TokenStatus


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool
    denied: bool = False


class _AccessReview(msgspec.Struct, frozen=True, tag_field="kind", tag="SubjectAccessReview"):
    status: _AccessStatus


class _ClusterSpec(msgspec.Struct, frozen=True, rename={"cluster_id": "clusterID"}):
    cluster_id: Annotated[str, msgspec.Meta(min_length=1)]


class _ClusterVersion(msgspec.Struct, frozen=True, tag_field="kind", tag="ClusterVersion"):
    spec: _ClusterSpec


class KubernetesApi:
    """Asks the API. Everything that is not a clear answer raises ``IdentityUnavailable``."""

    def __init__(self, server: Server) -> None:
        """Nothing is opened."""
        self._server = server
        self._url = server.url.rstrip("/")
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Read the certificates; raises ``SettingsError``. The API need not be there yet."""
        self._http = httpx.AsyncClient(
            verify=self._tls(),
            trust_env=False,
            timeout=self._server.seconds,
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=_IDLE_SECONDS,
            ),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def user_of(self, token: str, audiences: Sequence[str] = ()) -> User | None:
        """Return whose token it is; None for one that is not good, or not for these audiences."""
        spec = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
        question = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        review = await self._ask(AUTHENTICATION, _TokenReview, question)
        if not review.status.authenticated:
            return None
        # A server that knows nothing of audiences names none.
        if audiences and set(audiences).isdisjoint(review.status.audiences or ()):
            return None
        return _read(review.status.user, User)

    async def may_get(self, user: User, path: str) -> bool:
        """Tell whether the user may ``get`` a path that is no resource."""
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": user.groups or [],
            "extra": user.extra or {},
            "nonResourceAttributes": {"path": path, "verb": "get"},
        }
        version = "authorization.k8s.io/v1"
        question = {"apiVersion": version, "kind": "SubjectAccessReview", "spec": spec}
        status = (await self._ask(AUTHORIZATION, _AccessReview, question)).status
        return status.allowed and not status.denied

    async def cluster_id(self) -> str:
        """Return the id of an OpenShift cluster."""
        return (await self._ask(CLUSTER_VERSION, _ClusterVersion)).spec.cluster_id

    async def _ask[T](self, path: str, kind: type[T], question: Any = None) -> T:
        url = self._url + path
        try:
            async with asyncio.timeout(self._server.seconds):
                status, body = await self._exchange(url, question)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as exc:
            raise _unavailable(url, f"cannot be reached: {reason_of(exc)}") from exc
        if status not in _DONE:
            raise _unavailable(url, f"answered with status {status}")
        return _read(body, kind)

    async def _exchange(self, url: str, question: Any) -> tuple[int, bytes]:
        if self._http is None:
            raise IdentityUnavailable("The server is not ready")
        request = self._http.build_request(
            "GET" if question is None else "POST",
            url,
            content=None if question is None else msgspec.json.encode(question),
            headers={
                "Accept": "application/json",
                # What is packed small may be large.
                "Accept-Encoding": "identity",
                "Authorization": f"Bearer {self._own_token()}",
                "Content-Type": "application/json",
            },
        )
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            return response.status_code, await _read_all(response.aiter_raw(), url)
        finally:
            await response.aclose()

    def _own_token(self) -> str:
        """Read the token anew each time: Kubernetes replaces it long before it expires."""
        try:
            token = self._server.token.read_bytes().strip()
        except OSError as exc:
            raise _unavailable("", f"is not asked: {self._server.token} cannot be read") from exc
        if not _OWN_TOKEN.fullmatch(token):
            raise _unavailable("", f"is not asked: {self._server.token} holds no token")
        return token.decode("ascii")

    def _tls(self) -> ssl.SSLContext:
        if not self._server.verify:
            return httpx.create_ssl_context(verify=False)
        if not self._server.ca_key and not self._server.ca.exists():
            return httpx.create_ssl_context(trust_env=False)
        try:
            tls = ssl.create_default_context(cafile=self._server.ca)
        except OSError as exc:  # ssl.SSLError is one
            key = self._server.ca_key or "authentication.k8s_service_account"
            raise SettingsError(key, "holds no certificates that can be read") from exc
        # Python 3.13 wants key identifiers (RFC 5280), which the certificates of many clusters lack.
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return tls


async def _read_all(chunks: AsyncIterator[bytes], url: str) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise _unavailable(url, "answered with too much")
    return bytes(body)


def _read[T](body: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        # What msgspec says may quote the answer, which holds the caller's token.
        logger.warning("The answer of the Kubernetes API is no %s", kind.__name__.strip("_"))
        raise IdentityUnavailable(
            "The Kubernetes API gave an answer that is not understood"
        ) from exc


def _unavailable(url: str, problem: str) -> IdentityUnavailable:
    """Tell the log what happened; the caller hears less."""
    logger.warning("The Kubernetes API%s %s", f" at {url}" if url else "", problem)
    return IdentityUnavailable("The Kubernetes API cannot be asked")
