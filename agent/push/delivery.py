"""Serves one configuration: posts what is new, one event after another, as long as all goes well."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from a2a_state.push_configs import ACTIVE, DEAD, DONE
from agent.errors import StateError
from agent.outgoing.outgoing import Outcome
from agent.push.news import News
from agent.push.notification import body
from agent.push.retry import is_delivered, problem
from agent.replay import numbered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from a2a_state.push_configs import PushConfigRow, PushConfigs
    from a2a_state.tasks import Tasks
    from agent.model import Event
    from agent.outgoing.outgoing import Outgoing
    from agent.push.notification import Headers
    from agent.push.retry import Retry

logger = logging.getLogger(__name__)

LEASE_MARGIN_SECONDS = 10.0
"""What a lease is longer than one call: for the database, and for clocks that differ."""

UNREADABLE = Outcome(problem="the task cannot be read")
BROKEN = Outcome(problem="internal error")


class _Unreadable(Exception):
    """What is stored of a task makes no sense."""


class Lease:
    """How long a configuration is held: each event renews it, and no call outlives it."""

    def __init__(self, call_seconds: float, clock: Callable[[], int]) -> None:
        """``clock`` tells milliseconds since the epoch."""
        self._call = int(call_seconds * 1000)
        self._all = self._call + int(LEASE_MARGIN_SECONDS * 1000)
        self._clock = clock

    def until(self) -> int:
        """Return when a lease that is taken now runs out."""
        return self._clock() + self._all

    def lasts(self, until: int) -> bool:
        """Whether there is time for one more call."""
        return self._clock() + self._call < until


class Deliveries:
    """Serves configurations; several at once, each on its own."""

    def __init__(
        self,
        configs: PushConfigs,
        tasks: Tasks,
        outgoing: Outgoing,
        headers: Headers,
        retry: Retry,
        lease: Lease,
        clock: Callable[[], int],
    ) -> None:
        """Keep what is needed; ``clock`` tells milliseconds since the epoch."""
        self._configs = configs
        self._tasks = tasks
        self._outgoing = outgoing
        self._headers = headers
        self._retry = retry
        self._lease = lease
        self._clock = clock
        self._closing = False

    async def claim(self, row: PushConfigRow) -> PushConfigRow | None:
        """Take a configuration to serve it; None when another was first."""
        return await self._configs.claim(row, self._lease.until())

    def close(self) -> None:
        """Begin no more calls."""
        self._closing = True

    async def serve(self, row: PushConfigRow) -> float:
        """Send what is new for a claimed configuration; returns seconds after which to try again, or 0."""
        try:
            return await self._serve(row)
        except StateError:
            # Somebody takes it up when the lease has run out.
            logger.warning(
                "Webhook %s of task %s must wait", row.config_id, row.task_id, exc_info=True
            )
        except _Unreadable:
            logger.exception("Task %s cannot be read for its webhooks", row.task_id)
            return await self._failed(row, UNREADABLE)
        except Exception:
            logger.exception("Webhook %s of task %s broke", row.config_id, row.task_id)
            return await self._failed(row, BROKEN)
        except asyncio.CancelledError:
            await self._configs.keep(row, lease_until=0)
            raise
        return 0

    async def _serve(self, row: PushConfigRow) -> float:
        news, cursor, state = News(), row.delivered_seq, ACTIVE
        async with aclosing(self._log(row)) as log:
            async for seq, event in log:
                sent = news.apply(event)
                if seq <= row.delivered_seq:
                    continue
                if sent is not None:
                    if self._closing:
                        break
                    outcome = await self._send(row, seq, sent, news)
                    if outcome is None:
                        return 0
                    if not is_delivered(outcome):
                        return await self._failed(row, outcome)
                    row = msgspec.structs.replace(
                        row, delivered_seq=seq, attempts=0, lease_until=self._lease.until()
                    )
                    if not await self._keep(row):
                        return 0
                cursor = seq
            else:
                state = DONE if news.ended else ACTIVE
        await self._keep(
            msgspec.structs.replace(row, delivered_seq=cursor, state=state, lease_until=0)
        )
        return 0

    async def _send(self, row: PushConfigRow, seq: int, event: Event, news: News) -> Outcome | None:
        """Post one event; None when the configuration is not held any more."""
        if not self._lease.lasts(row.lease_until) and not await self._configs.keep(
            row, lease_until=self._lease.until()
        ):
            return None
        content = body(row.version, event, news)
        headers = self._headers.of(row, seq, self._clock() // 1000, content)
        return await self._outgoing.post(row.url, headers, content)

    async def _log(self, row: PushConfigRow) -> AsyncGenerator[tuple[int, Event]]:
        last = 0
        while rows := await self._tasks.log(row.owner, row.tenant, row.task_id, last):
            try:
                events = numbered(rows, last)
            except StateError as exc:
                raise _Unreadable from exc
            for event in events:
                yield event
            last = rows[-1].last_seq

    async def _keep(self, row: PushConfigRow) -> bool:
        return await self._configs.keep(
            row,
            delivered_seq=row.delivered_seq,
            attempts=row.attempts,
            state=row.state,
            last_error=None,
            # Who waits longest is served first.
            next_attempt_at=self._clock(),
            lease_until=row.lease_until,
        )

    async def _failed(self, row: PushConfigRow, outcome: Outcome) -> float:
        """Write down a failure; what was delivered before it is."""
        attempts, now = row.attempts + 1, self._clock()
        seconds = self._retry.delay(outcome, attempts, now / 1000)
        dead = self._retry.gives_up(outcome, attempts)
        held = await self._configs.keep(
            row,
            attempts=attempts,
            last_error=problem(outcome),
            state=DEAD if dead else ACTIVE,
            next_attempt_at=now + int(seconds * 1000),
            lease_until=0,
        )
        # Not the URL: it may hold a secret.
        if held and dead:
            logger.error(
                "Webhook %s of task %s is given up: %s",
                row.config_id,
                row.task_id,
                problem(outcome),
            )
        return 0 if dead or not held else seconds
