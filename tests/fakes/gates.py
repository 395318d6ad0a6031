"""Ways in for tests that are about something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.auth.access import Access
from agent.auth.attempts import Attempts
from agent.auth.gate import Gate
from agent.auth.noop import Noop
from agent.settings.own import Limits

if TYPE_CHECKING:
    from agent.auth.base import Authenticator


def open_gate(authenticator: Authenticator | None = None) -> Gate:
    """Let everybody in, as the anonymous user unless told otherwise, to do all that needs no rule."""
    return Gate(authenticator or Noop(), Access(()), Attempts(Limits()))
