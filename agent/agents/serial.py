"""Turns of one session follow each other, whichever process they reach."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from a2a_state.histories import ContextKey
from a2a_state.session_claims import SessionClaims
from agent.clock import now
from agent.errors import AgentError, StateError, TooManyTasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from a2a_state.database import Database
    from agent.runner import Runner

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
"""How long after its last sign of life a process has no claims any more."""
RENEW_SECONDS = 10.0
WAIT_SECONDS = 600.0
LONGEST_LINE = 100
"""Most that wait for one session in this process."""
LOOK_SECONDS = 0.05
LONGEST_LOOK_SECONDS = 0.5
"""How often the database is asked for a session that another process has: less often with time."""
RETRY_AFTER_SECONDS = 5


class SessionBusy(TooManyTasks):
    """An earlier turn of the session still runs; try again later."""


class Serial:
    """Gives the word in sessions: to one in this process after the other, and to one process at a time.

    Who has it may begin a turn: no task runs in the session. They keep it until they leave; the task
    that they have begun is waited for, too, for as long as it runs.
    """

    def __init__(
        self,
        database: Database,
        runner: Runner | None = None,
        seconds: float = WAIT_SECONDS,
        *,
        alone: bool = False,
    ) -> None:
        """``seconds`` is how long the word is waited for; ``runner`` tells of tasks that end here.

        Who is ``alone`` with the database has nobody to tell who has the word.
        """
        self._claims = SessionClaims(database)
        self._alone = alone
        self._runner = runner
        self._seconds = seconds
        self._lines: dict[ContextKey, _Line] = {}
        self._aside: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Nothing is waited for yet."""

    async def close(self) -> None:
        """Release what was claimed: another process need not wait for that to run out."""
        await asyncio.gather(*self._aside)

    @asynccontextmanager
    async def turn(self, owner: str, tenant: str, session_id: str) -> AsyncIterator[None]:
        """Have the word; raises ``SessionBusy`` who waits for it too long.

        ``session_id`` is the context's id. Who is canceled while they wait gives up their place.
        """
        session = ContextKey(owner, tenant, session_id)
        deadline = asyncio.get_running_loop().time() + self._seconds
        line = self._lines.setdefault(session, _Line())
        if line.length >= LONGEST_LINE:
            raise SessionBusy(RETRY_AFTER_SECONDS)
        line.length += 1
        try:
            await _before(deadline, line.lock.acquire())
            try:
                if self._alone:
                    await self._quiet(session, deadline)
                    yield
                else:
                    async with self._claimed(session, deadline):
                        yield
            finally:
                line.lock.release()
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[session]

    @asynccontextmanager
    async def _claimed(self, session: ContextKey, deadline: float) -> AsyncIterator[None]:
        claim = secrets.token_hex(8)
        keeping: _Keeping | None = None
        try:
            await self._take(session, claim, deadline)
            keeping = _Keeping(self, session, claim)
            yield
            await self._release(session, claim)
        except Exception:
            await self._release(session, claim)
            raise
        except BaseException:
            # Whoever is canceled waits no more; the session may have been taken just then.
            self._spawn(self._release(session, claim))
            raise
        finally:
            if keeping is not None:
                keeping.end()

    async def _take(self, session: ContextKey, claim: str, deadline: float) -> None:
        pause = LOOK_SECONDS
        while True:
            at = now()
            running = await self._claims.claim(session, claim, at, at + int(LEASE_SECONDS * 1000))
            if running is None:
                return
            await _before(deadline, self._change(session, running, pause))
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)

    async def _quiet(self, session: ContextKey, deadline: float) -> None:
        """Wait until nothing runs in a session."""
        while running := await self._claims.running(session):
            await _before(deadline, self._change(session, running, LOOK_SECONDS))

    async def _change(self, session: ContextKey, running: Sequence[str], pause: float) -> None:
        """Wait until a task that runs may have ended; raises ``ServerStopping``."""
        if self._runner is not None:
            self._runner.check_open()
            for task_id in running:
                run = self._runner.run_of(session.owner, session.tenant, task_id)
                if run is not None and not run.feed.is_ended:
                    await run.feed.closed()
                    return
        await asyncio.sleep(pause)

    async def _release(self, session: ContextKey, claim: str) -> None:
        try:
            await self._claims.release(session, claim)
        except StateError:
            logger.exception("The claim of a session is left to run out")

    def renew_soon(self, session: ContextKey, claim: str) -> None:
        """Give a sign of life."""
        self._spawn(self._renew(session, claim))

    async def _renew(self, session: ContextKey, claim: str) -> None:
        with suppress(AgentError):
            if not await self._claims.renew(session, claim, now() + int(LEASE_SECONDS * 1000)):
                logger.warning("Another process has taken a session in which a turn begins")

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)


class _Line:
    """Who waits for the word in this process, and who has it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length = 0


class _Keeping:
    """Keeps a claim as long as it is needed: most turns begin long before it must be renewed."""

    def __init__(self, serial: Serial, session: ContextKey, claim: str) -> None:
        self._serial = serial
        self._session = session
        self._claim = claim
        self._timer = self._next()

    def end(self) -> None:
        """Keep it no longer."""
        self._timer.cancel()

    def _next(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        self._serial.renew_soon(self._session, self._claim)
        self._timer = self._next()


async def _before(deadline: float, waiting: Coroutine[None, None, object]) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await waiting
    except TimeoutError as exc:
        raise SessionBusy(RETRY_AFTER_SECONDS) from exc
