"""The keys of an issuer, by URL: kept for a while, fetched again within bounds."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING

from agent.auth.bearer import invalid_token
from agent.auth.public_keys import PublicKeys
from agent.auth.unreachable import reason_of, server_of
from agent.errors import IdentityUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from agent.errors import Refused
    from agent.settings.access import Authentication, Jwk

logger = logging.getLogger(__name__)

FETCH_SECONDS = 5
DOCUMENT_BYTES = 256 * 1024

UNREACHABLE = "Authentication key server cannot be reached"

_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}


class _NotFetchedError(Exception):
    """The server did not answer with a document."""


class KeySet:
    """Fetched when it is first needed, once at a time for all who wait.

    Between the end of a fetch and the next one are at least ``refetch_seconds``, whatever asks for it.
    Keys older than ``cache_seconds`` are used for as long again while newer ones are fetched, so that
    nobody whose key is known waits for the issuer.
    """

    def __init__(
        self,
        jwk: Jwk,
        authentication: Authentication,
        now: Callable[[], float] = time.monotonic,
        fetch_seconds: float = FETCH_SECONDS,
    ) -> None:
        """``now`` is in seconds, from whatever moment."""
        self._settings = jwk
        self._fetch_seconds = fetch_seconds
        self._checks_certificates = not authentication.skip_tls_verification
        self._now = now
        self._keys: PublicKeys | None = None
        self._fetched_at = 0.0
        self._next_fetch: float | None = None
        self._failure: Callable[[str], Refused] = IdentityUnavailable
        self._cause = ""
        self._fetching: asyncio.Task[None] | None = None
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the client; nothing is fetched. Raises ``SettingsError``."""
        import httpx

        self._http = httpx.AsyncClient(
            verify=self._trust(),
            headers=_HEADERS,
            timeout=self._fetch_seconds,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """End a fetch that runs, and all connections; who waits for keys is told that there are none."""
        if (fetching := self._fetching) is not None:
            self._failure, self._cause = IdentityUnavailable, UNREACHABLE
            fetching.cancel()
            await asyncio.wait([fetching])
            self._fetching = None
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def at_hand(self) -> PublicKeys | None:
        """Return the keys if they may be used; when they are old, newer ones are fetched meanwhile."""
        age = self._age()
        if age >= 2 * self._settings.cache_seconds:
            return None
        if age >= self._settings.cache_seconds:
            self._fetch_soon()
        return self._keys

    async def current(self) -> PublicKeys:
        """Return the keys. Raises ``IdentityUnavailable``, and ``Unauthenticated`` when they are none."""
        if (keys := self.at_hand()) is not None:
            return keys
        await self._fetch_if_allowed()
        if (keys := self.at_hand()) is not None:
            return keys
        raise self._failure(self._cause)

    async def newer(self, keys: PublicKeys) -> PublicKeys:
        """Return newer keys than these, or the same when there are none, or none may be fetched now."""
        if self._keys is keys:
            await self._fetch_if_allowed()
        return self._keys or keys

    def check(self) -> None:
        """Raise what the last fetch failed with, if it did: there could be keys that we do not know."""
        if self._cause:
            raise self._failure(self._cause)

    def _age(self) -> float:
        return float("inf") if self._keys is None else self._now() - self._fetched_at

    def _trust(self) -> ssl.SSLContext | bool:
        path = self._settings.ca_cert_path
        if path is None or not self._checks_certificates:
            return self._checks_certificates
        try:
            return ssl.create_default_context(cafile=path)
        except OSError as exc:  # ssl's errors are some
            key = "authentication.jwk_config.ca_cert_path"
            raise SettingsError(key, "is not a file of certificates (PEM)") from exc

    def _fetch_soon(self) -> asyncio.Task[None] | None:
        """Return the fetch that runs, begun now unless it is too early for one."""
        if self._fetching is None and (self._next_fetch is None or self._now() >= self._next_fetch):
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch_if_allowed(self) -> None:
        if (fetching := self._fetch_soon()) is None:
            return
        # Who goes away does not end it for the others; who closes it does not end those that wait.
        await asyncio.wait([fetching])
        if not fetching.cancelled():
            fetching.result()

    async def _fetch(self) -> None:
        try:
            document = await self._document()
            if self._keys is None or document != self._keys.document:
                self._keys = PublicKeys(document, self._settings.algorithms)
                logger.info("Fetched a key set; %d of its keys can be used", len(self._keys))
            self._fetched_at, self._cause = self._now(), ""
        except _NotFetchedError as exc:
            where, why = server_of(self._settings.url), reason_of(exc.__cause__ or exc)
            logger.warning("The key set cannot be fetched from %s: %s", where, why)
            self._failure = IdentityUnavailable
            self._cause = UNREACHABLE
        except ValueError as exc:
            where = server_of(self._settings.url)
            logger.warning("What the key server %s answered is no key set: %s", where, exc)
            self._failure = partial(invalid_token, counts=False)
            self._cause = "Authentication key server returned invalid data"
        finally:
            self._next_fetch = self._now() + self._settings.refetch_seconds
            self._fetching = None

    async def _document(self) -> bytes:
        """Fetch; raises ``_NotFetchedError``, and ``ValueError`` for too much."""
        import httpx

        if self._http is None:
            raise _NotFetchedError("not open")
        document = bytearray()
        try:
            async with (
                asyncio.timeout(self._fetch_seconds),
                self._http.stream("GET", self._settings.url) as response,
            ):
                if response.status_code != 200:
                    raise _NotFetchedError(f"HTTP status {response.status_code}")
                async for chunk in response.aiter_raw():
                    document += chunk
                    if len(document) > DOCUMENT_BYTES:
                        raise ValueError(f"more than {DOCUMENT_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as exc:
            raise _NotFetchedError from exc
        return bytes(document)
