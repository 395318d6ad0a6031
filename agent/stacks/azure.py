"""Tokens of Microsoft Entra ID, which a Llama Stack shows to Azure's models (LCS's ``azure_entra_id``)."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import msgspec

from agent.errors import StackUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.settings.lcs import AzureEntraId

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
LEEWAY_SECONDS = 60.0
"""A token is replaced so long before it ends; turns that have it already may take that long."""
PAUSE_SECONDS = 5.0
"""After a failure nobody asks for so long, and those who need a token are told so at once."""
_LONGEST_SECONDS = 24 * 3600.0
_ANSWER_BYTES = 64 * 1024


class _Granted(msgspec.Struct):
    """What is read of an answer of the token endpoint (RFC 6749 section 5.1)."""

    access_token: str
    expires_in: float = 0.0


class AzureTokens:
    """The token of one client: fetched once for all who need it, and again shortly before it ends."""

    def __init__(
        self,
        settings: AzureEntraId,
        clock: Callable[[], float] = time.monotonic,
        patience: float = REQUEST_SECONDS,
    ) -> None:
        """Nothing is asked yet; ``clock`` tells seconds, and ``patience`` is how many a token may take."""
        self._settings = settings
        self._clock = clock
        self._patience = patience
        self._asking = asyncio.Lock()
        self._token = ""
        self._good_until = self._ends_at = self._paused_until = float("-inf")

    async def token(self) -> str:
        """Return a token that is good for a while; raises ``StackUnavailable``."""
        if self._clock() >= self._good_until:
            async with self._asking:
                if self._clock() >= self._good_until:  # who held the lock may have fetched it
                    await self._refresh()
        return self._token

    async def _refresh(self) -> None:
        """Fetch a token; while one is there that has not ended, a failure is not told."""
        if self._clock() >= self._paused_until:
            try:
                async with asyncio.timeout(self._patience):
                    granted = await self._fetch()
                self._keep(granted)
            except (httpx.HTTPError, TimeoutError, msgspec.MsgspecError, _Refused) as exc:
                logger.warning("Entra ID gives no token for Azure: %s", _reason(exc))
                self._paused_until = self._clock() + PAUSE_SECONDS
        if self._clock() >= self._ends_at:
            raise StackUnavailable("Entra ID gives no token for Azure's models.")

    def _keep(self, granted: _Granted) -> None:
        lasts = min(granted.expires_in, _LONGEST_SECONDS)
        self._token = granted.access_token
        self._ends_at = self._clock() + lasts
        # Half of its time, of one that hardly lasts: else it would be fetched for every turn.
        self._good_until = self._ends_at - min(LEEWAY_SECONDS, lasts / 2)

    async def _fetch(self) -> _Granted:
        """Ask as RFC 6749 section 4.4 says; redirects are not followed."""
        asked = self._settings
        tenant = quote(asked.tenant_id.get_secret_value(), safe="")
        form = {
            "grant_type": "client_credentials",
            "client_id": asked.client_id.get_secret_value(),
            "client_secret": asked.client_secret.get_secret_value(),
            "scope": asked.scope,
        }
        url = f"{asked.authority_host}/{tenant}/oauth2/v2.0/token"
        async with httpx.AsyncClient(timeout=self._patience) as http:
            answer = await http.post(url, data=form)
        if answer.status_code != httpx.codes.OK or len(answer.content) > _ANSWER_BYTES:
            raise _Refused(answer.status_code)
        granted = msgspec.json.decode(answer.content, type=_Granted)
        if not granted.access_token or granted.expires_in <= 0:
            raise _Refused(answer.status_code)
        return granted


class _Refused(Exception):
    """There was an answer, and no token in it; the argument is its status."""


def _reason(exc: Exception) -> str:
    """Say what went wrong without a word of the answer, which may repeat what was sent."""
    if isinstance(exc, _Refused):
        return f"it answered with status {exc.args[0]}"
    return type(exc).__name__
