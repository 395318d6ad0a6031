"""Events for Splunk's HTTP Event Collector: sent in the background, some at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx

from agent.backlog import Backlog
from agent.card import own_version
from agent.errors import AgentError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from agent.settings import Settings

logger = logging.getLogger(__name__)

AT_ONCE = 50
"""How many events one request carries at most."""

TOKEN_BYTES = 4096
ANSWER_BYTES = 4096
_TOKEN = re.compile(rb"[!-~]+")


class SplunkError(AgentError):
    """Splunk did not take events."""


class Splunk:
    """Sends what it is told; what cannot be sent is lost, which the log tells of now and then."""

    def __init__(self, settings: Settings) -> None:
        """``settings.splunk`` must be there, and enabled: then it is complete."""
        given = settings.splunk
        if given is None or given.url is None or given.token_path is None:
            raise SplunkError("Splunk is not configured")
        self._url = given.url
        self._token_path = given.token_path
        self._seconds = given.timeout
        self._verifies = given.verify_ssl
        self._about = {
            "host": socket.gethostname(),
            "source": f"{given.source} (v{own_version()})",
            "index": given.index,
        }
        self._backlog: Backlog[bytes] = Backlog("events for Splunk", self._send, batch=AT_ONCE)
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Start sending; whether Splunk is there shows when there is something to send."""
        if not self._verifies:
            logger.warning("splunk.verify_ssl is off: whoever is in between can read the token")
        self._http = httpx.AsyncClient(
            verify=await asyncio.to_thread(_tls, verifies=self._verifies),
            trust_env=False,
            timeout=self._seconds,
        )
        await self._backlog.open()

    async def close(self) -> None:
        """Send what waits, as far as there is time."""
        await self._backlog.close()
        if self._http is not None:
            await self._http.aclose()

    def tell(self, sourcetype: str, event: Mapping[str, Any]) -> None:
        """Have an event sent: later, or never; raises nothing for that."""
        at = {"time": int(time.time()), "sourcetype": sourcetype, "event": event}
        # Whatever text a model may have made: in ASCII all of it can be written.
        encoded = json.dumps(self._about | at).encode("ascii")
        self._backlog.add(encoded, len(encoded))

    async def _send(self, events: Sequence[bytes]) -> None:
        # Read each time: it may have been changed.
        token = await asyncio.to_thread(self._token)
        headers = {"Authorization": f"Splunk {token}", "Content-Type": "application/json"}
        try:
            async with asyncio.timeout(self._seconds):
                status = await self._post(headers, b"\n".join(events))
        except (TimeoutError, httpx.TimeoutException):
            raise SplunkError("Splunk did not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            # Not chained: the URL, which others may put into what they say, may hold a secret.
            raise SplunkError(f"Splunk cannot be reached ({type(exc).__name__})") from None
        if not 200 <= status < 300:
            raise SplunkError(f"Splunk HEC request failed with status {status}")

    async def _post(self, headers: Mapping[str, str], body: bytes) -> int:
        assert self._http is not None  # noqa: S101 - nothing is sent before it is open
        posting = self._http.stream("POST", self._url, headers=headers, content=body)
        async with posting as response:
            read = 0
            # A connection is kept when its answer was read.
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > ANSWER_BYTES:
                    break
            return response.status_code

    def _token(self) -> str:
        try:
            with self._token_path.open("rb") as file:
                token = file.read(TOKEN_BYTES).strip()
        except OSError as exc:
            raise SplunkError(f"splunk.token_path cannot be read: {exc.strerror}") from None
        if not _TOKEN.fullmatch(token):
            raise SplunkError("splunk.token_path holds nothing that can be a token")
        return token.decode("ascii")


def make_splunk(settings: Settings) -> Splunk | None:
    """Return what sends events; None where none are wanted."""
    return Splunk(settings) if settings.splunk is not None and settings.splunk.enabled else None


def _tls(*, verifies: bool) -> ssl.SSLContext:
    if not verifies:
        return httpx.create_ssl_context(verify=False)
    tls = httpx.create_ssl_context()
    # Those of the operating system as well, among which a company's own may be.
    tls.load_default_certs()
    return tls
