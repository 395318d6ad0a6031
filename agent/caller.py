"""Who asks: whose objects they work on, what they may do, and what they showed."""

from __future__ import annotations

import msgspec

from agent.stacks import NO_CREDENTIALS, Credentials
from agent.trail import Trail  # noqa: TC001 - msgspec resolves the annotations of fields


class Caller(msgspec.Struct, frozen=True):
    """Whose request this is: everything that is read or written belongs to this owner and tenant.

    ``actions`` are LCS's, as far as the caller may take them. Who acts on the objects of another has
    that one as ``owner``, and is ``user_id`` all the same. ``address`` is the peer's. ``trail`` is for
    the audit log, if there is one. ``skip_user_id_check`` and ``org_id`` are what ``Identity`` says.
    """

    owner: str
    tenant: str = ""
    actions: frozenset[str] = frozenset()
    username: str = ""
    address: str = ""
    credentials: Credentials = NO_CREDENTIALS
    acts_as: str | None = None
    trail: Trail | None = None
    skip_user_id_check: bool = False
    org_id: str = ""

    @property
    def user_id(self) -> str:
        """Who it is."""
        return self.owner if self.acts_as is None else self.acts_as

    def within(self, tenant: str) -> Caller:
        """Return the caller within a tenant."""
        if self.trail is not None:
            self.trail.tenant = tenant
        return msgspec.structs.replace(self, tenant=tenant)

    def acting_for(self, owner: str) -> Caller:
        """Return the caller as one who may work on another's objects.

        Their own credentials stay behind: the owner has said what is done there, and sees what comes of it.
        """
        if self.trail is not None:
            self.trail.owner = owner
        return msgspec.structs.replace(
            self, owner=owner, acts_as=self.user_id, credentials=NO_CREDENTIALS
        )

    def note(self, name: str, value: str | None) -> None:
        """Have the audit log know which object this is about, by its id."""
        if self.trail is not None:
            self.trail.note(name, value)
