"""One limit on tokens: whose it is, what it begins with, and how it is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_state.quotas import MOST, Balance, Renewed
from agent.quotas.period import read_period

if TYPE_CHECKING:
    from agent.settings.quotas import QuotaLimiter

EVERYBODY = ""
"""The subject of a limiter that all users share."""


class Limiter:
    """A limiter of the settings."""

    def __init__(self, settings: QuotaLimiter) -> None:
        """Read the settings, which are checked already."""
        self.name = settings.name
        self.period = read_period(settings.period)
        self.period_text = str(self.period)
        self._of_all = settings.type == "cluster_limiter"
        self._initial = settings.initial_quota
        self._increase = settings.quota_increase

    def begin(self, user_id: str, at: int) -> Balance:
        """Return the balance of a user, or of all, as it is when it is first used."""
        subject, renew_at = self.subject(user_id), self.period.after(at, 1)
        return Balance(self.name, subject, self._initial, at, self.period_text, renew_at)

    def subject(self, user_id: str) -> str:
        """Return whose tokens a user's turns spend."""
        return EVERYBODY if self._of_all else user_id

    def refusal(self, user_id: str, *, reserved: bool = False) -> str:
        """Say, in LCS's words, that nothing is left; ``reserved``: beside what is held back."""
        who = "Cluster" if self._of_all else f"User {user_id}"
        beside = " beside those held back for what is running" if reserved else ""
        return f"{who} has no available tokens{beside}."

    def renewed(self, balance: Balance, at: int) -> Renewed:
        """Return what becomes of a balance whose period is over."""
        renew_at, passed = self._next(balance, at)
        if not self._increase:
            return Renewed(balance, self.period_text, renew_at, reset_to=self._initial)
        # A server that was down for long makes up for all that it missed.
        missed = passed - self.period.passed(balance.since, balance.renew_at) + 1
        increase = min(self._increase * missed, MOST)
        return Renewed(balance, self.period_text, renew_at, increase=increase)

    def taken_over(self, balance: Balance, at: int) -> Renewed:
        """Return a balance of another period as one of this: what is left stays until this one is over."""
        renew_at, _ = self._next(balance, at)
        return Renewed(balance, self.period_text, renew_at)

    def _next(self, balance: Balance, at: int) -> tuple[int, int]:
        """Return when the period ends that runs, and how many have passed."""
        passed = self.period.passed(balance.since, at)
        return self.period.after(balance.since, passed + 1), passed
