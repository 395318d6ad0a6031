"""The one way in: who asks, and what they may do, for every binding and for REST."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec

from agent.auth.base import can_be_id
from agent.caller import Caller
from agent.errors import Unauthenticated
from agent.mcp_credentials import read_mcp_headers
from agent.stacks import NO_CREDENTIALS, Credentials
from agent.trail import begin_request

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from agent.audit import Audit
    from agent.auth.access import Access
    from agent.auth.attempts import Attempts
    from agent.auth.base import Authenticator, Identity, Presented


class Gate:
    """Lets callers in, by the module that the settings name."""

    def __init__(
        self,
        authenticator: Authenticator,
        access: Access,
        attempts: Attempts,
        audit: Audit | None = None,
    ) -> None:
        """Keep what it works with; ``attempts`` counts those that failed, ``audit`` tells of them."""
        self._audit = audit
        self._authenticator = authenticator
        self._access = access
        self._attempts = attempts

    async def open(self) -> None:
        """Open the module."""
        await self._authenticator.open()

    async def close(self) -> None:
        """Close the module."""
        await self._authenticator.close()

    async def caller(self, presented: Presented) -> Caller:
        """Return the caller; raises ``Refused``, and ``InvalidParams`` for headers that cannot be read.

        Who fails too often is not asked for a while.
        """
        if self._audit is None:
            begin_request(presented.headers.get("x-request-id"))
            credential = self._authenticator.credential(presented)
            return self._caller(await self._identity(presented, credential), presented)
        with self._audit.entering(presented) as trail:
            credential = self._authenticator.credential(presented)
            trail.shows_credentials = credential is not None
            identity = await self._identity(presented, credential)
            trail.user_id, trail.username = identity.user_id, identity.username
            return msgspec.structs.replace(self._caller(identity, presented), trail=trail)

    def recording(self, caller: Caller, operation: str) -> AbstractContextManager[Caller]:
        """Have the audit log, if there is one, tell how what is done inside ends; yields the caller."""
        if self._audit is None:
            return nullcontext(caller)
        return self._audit.recording(caller, operation)

    def _caller(self, identity: Identity, presented: Presented) -> Caller:
        return Caller(
            identity.user_id,
            actions=self._access.actions(identity.roles),
            username=identity.username,
            address=presented.address,
            credentials=_credentials(identity, presented),
            skip_user_id_check=identity.skip_user_id_check,
            org_id=identity.org_id,
        )

    async def _identity(self, presented: Presented, credential: str | None) -> Identity:
        if credential is None:
            return await self._identify(presented)
        if self._authenticator.always_checks:
            return await self._attempts.count(presented, self._identify)
        return await self._attempts.guard(presented, credential, self._identify)

    async def _identify(self, presented: Presented) -> Identity:
        identity = await self._authenticator.identify(presented)
        if not can_be_id(identity.user_id):
            raise Unauthenticated("The user id cannot be one", counts=False)
        return identity


def _credentials(identity: Identity, presented: Presented) -> Credentials:
    shown = presented.headers.get("mcp-headers")
    if not shown and not identity.token:
        return NO_CREDENTIALS
    return Credentials(identity.token, read_mcp_headers(shown) if shown else {})
