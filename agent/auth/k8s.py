"""LCS's ``k8s``: tokens of a Kubernetes cluster, whose roles say who may come in."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.auth.base import Identity, can_be_id
from agent.auth.bearer import bearer_token, invalid_token, shown_token
from agent.auth.kubernetes_api import KubernetesApi, Server
from agent.auth.recent import Recent
from agent.errors import IdentityUnavailable, PermissionDenied, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.auth.base import Presented
    from agent.settings.access import Authentication

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KUBE_ADMIN = "kube:admin"
REMEMBERED = 10_000


class _LetIn(msgspec.Struct, frozen=True):
    identity: Identity
    until: float


class K8s:
    """Asks the cluster whose token it is and whether that user may come in.

    Who was let in is remembered for a few seconds, by a hash of the token; who was not is asked about
    each time. Requests that come with one token while it is being asked about share the answer.
    """

    always_checks = False  # the cluster would be asked for every guess

    def __init__(
        self,
        api: KubernetesApi,
        settings: Authentication,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked."""
        self._api = api
        self._path = settings.k8s_virtual_path
        self._audiences = settings.k8s_audiences
        self._cache_seconds = settings.k8s_cache_seconds
        self._clock = clock
        self._let_in: Recent[bytes, _LetIn] = Recent(REMEMBERED)
        self._asking: dict[bytes, asyncio.Task[Identity]] = {}
        self._cluster_id: str | None = None

    async def open(self) -> None:
        """See ``KubernetesApi.open``."""
        await self._api.open()

    async def close(self) -> None:
        """Stop asking."""
        for task in (tasks := list(self._asking.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._api.close()

    def credential(self, presented: Presented) -> str | None:
        """Return the token."""
        return shown_token(presented.headers)

    async def identify(self, presented: Presented) -> Identity:
        """See ``Authenticator.identify``."""
        token = bearer_token(presented.headers)
        digest = hashlib.sha256(token.encode()).digest()
        known = self._let_in.get(digest)
        if known is None or known.until <= self._clock():
            identity = await self._asked(digest, token)
        else:
            identity = known.identity
        return msgspec.structs.replace(identity, token=token)

    async def _asked(self, digest: bytes, token: str) -> Identity:
        """Ask, or wait for who asks already; whoever goes away leaves the others their answer."""
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask(digest, token))
            self._asking[digest] = task
            task.add_done_callback(lambda done: self._answered(digest, done))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise IdentityUnavailable("The server is stopping") from None
            raise

    def _answered(self, digest: bytes, task: asyncio.Task[Identity]) -> None:
        del self._asking[digest]
        if not task.cancelled():
            task.exception()  # Everybody who waited for it may be gone: then it is heard here.

    async def _ask(self, digest: bytes, token: str) -> Identity:
        self._let_in.drop(digest)
        until = self._clock() + self._cache_seconds
        user = await self._api.user_of(token, self._audiences)
        if user is None:
            raise invalid_token("Invalid or expired Kubernetes token")
        is_admin = user.username == KUBE_ADMIN
        if not can_be_id(user.username) or not (is_admin or can_be_id(user.uid)):
            problem = "The Kubernetes user has no uid, or none that can be used"
            raise invalid_token(problem, counts=False)
        if not await self._api.may_get(user, self._path):
            named = user.uid or user.username
            raise PermissionDenied(f"User {named} is not authorized to access this endpoint.")
        # The administrator of a cluster has no uid that stays.
        user_id = await self._cluster() if is_admin else user.uid
        identity = Identity(user_id, user.username)
        if self._cache_seconds:
            self._let_in.put(digest, _LetIn(identity, until))
        return identity

    async def _cluster(self) -> str:
        if self._cluster_id is None:
            self._cluster_id = await self._api.cluster_id()
        return self._cluster_id


def make_k8s(settings: Authentication, environment: Mapping[str, str]) -> K8s:
    """Return the module; in a pod the API need not be named. Raises ``SettingsError``."""
    url = settings.k8s_cluster_api or _own_cluster(environment)
    if not re.fullmatch(r"https?://[A-Za-z0-9._\[\]:-]+(/[A-Za-z0-9._~/-]*)?", url):
        raise SettingsError("authentication.k8s_cluster_api", "must be a host and at most a path")
    account = settings.k8s_service_account or SERVICE_ACCOUNT
    server = Server(
        url,
        token=account / "token",
        ca=settings.k8s_ca_cert_path or account / "ca.crt",
        ca_key="authentication.k8s_ca_cert_path" if settings.k8s_ca_cert_path else "",
        verify=not settings.skip_tls_verification,
        seconds=settings.k8s_timeout_seconds,
    )
    return K8s(KubernetesApi(server), settings)


def _own_cluster(environment: Mapping[str, str]) -> str:
    """Return the API of the cluster that this process is a pod of."""
    host = environment.get("KUBERNETES_SERVICE_HOST")
    port = environment.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        problem = "is missing; outside of a pod module k8s needs it"
        raise SettingsError("authentication.k8s_cluster_api", problem)
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
