"""Push notification configurations of callers, and the sending (1.0 sections 3.1.7 to 3.1.10, 4.3, 13.2)."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import TYPE_CHECKING

import msgspec

from a2a_state.push_configs import ACTIVE, Key, PushConfigRow, PushConfigs
from agent.clock import now
from agent.errors import InvalidParams
from agent.model import PushConfig, PushConfigPage
from agent.outgoing.addresses import Allowed
from agent.outgoing.guard import Guard, Refused
from agent.outgoing.outgoing import Outgoing
from agent.outgoing.resolver import Resolver
from agent.push.delivery import Deliveries, Lease
from agent.push.dispatch import Dispatch
from agent.push.notification import Headers, decode_authentication
from agent.push.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2a_state.database import Database
    from a2a_state.tasks import Tasks
    from agent.caller import Caller
    from agent.outgoing.guard import Resolve
    from agent.settings import Settings
    from agent.signing import SigningKey

SECRET_CHARS = 4096
_SCHEME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VISIBLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_FIELDS = {"0.3": "pushNotificationConfig."}


class Push:
    """The webhooks of all tasks; callers have been checked to own the task."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tasks: Tasks,
        key: SigningKey | None = None,
        *,
        resolve: Resolve | None = None,
        clock: Callable[[], int] = now,
    ) -> None:
        """``key`` signs what is sent; ``clock`` tells milliseconds since the epoch."""
        self.enabled = settings.push.enabled
        self._settings = settings
        self._configs = PushConfigs(database)
        self._tasks = tasks
        self._key = key
        self._clock = clock
        given = settings.push
        self._resolver = Resolver()
        self._guard = Guard(
            resolve or self._resolver,
            Allowed(given.allow),
            https_only=given.https_only,
            ports=given.ports,
        )
        self._dispatch: Dispatch | None = None

    async def open(self) -> None:
        """Start sending, also what was left by a process that stopped."""
        if not self.enabled:
            return
        given = self._settings.push
        self._outgoing = Outgoing(self._guard, given.timeout_seconds, given.concurrency)
        deliveries = Deliveries(
            self._configs,
            self._tasks,
            self._outgoing,
            Headers(self._settings, self._key),
            Retry(given),
            Lease(given.timeout_seconds, self._clock),
            self._clock,
        )
        self._dispatch = Dispatch(self._configs, deliveries, given.concurrency, self._clock)
        self._dispatch.open()

    async def close(self) -> None:
        """Stop sending; what is not sent yet is sent after the next start."""
        if self._dispatch is not None:
            await self._dispatch.close()
            await self._outgoing.close()
        self._resolver.close()

    def wake(self, task_id: str) -> None:
        """Hear that news of a task was stored; costs nothing when nobody wants to know."""
        if self._dispatch is not None:
            self._dispatch.wake(task_id)

    async def create(
        self, caller: Caller, config: PushConfig, *, again: bool = False
    ) -> PushConfig:
        """Store a configuration, or change the one of that id; returns it with its id.

        Without an id 1.0 gets a new one, and 0.3 that of the task, as in a2a-sdk. ``again`` is for what
        comes with a further message: callers say the same with each, and mean the same webhook. Raises
        ``InvalidParams``.
        """
        field = _FIELDS.get(config.version, "")
        host = await self._check(config, field)
        config = msgspec.structs.replace(config, tenant=caller.tenant)
        if not config.id:
            same = await self._same(caller, config) if again else None
            config_id = config.task_id if field else same or secrets.token_hex(16)
            config = msgspec.structs.replace(config, id=config_id)
        row = _row(caller, config, host, self._clock())
        most = self._settings.push.configs_per_task
        if not await self._configs.save(row, most):
            raise InvalidParams(f"{field}id", f"would be one more than the {most} of a task")
        if self._dispatch is not None:
            self._dispatch.watch(row.task_id)
            await self._dispatch.stop(row.key)
        return config

    async def get(self, caller: Caller, task_id: str, config_id: str | None) -> PushConfig | None:
        """Return a configuration; without an id 0.3's one, which has the task's id, else the oldest."""
        rows = await self._configs.get(caller.owner, caller.tenant, task_id)
        if config_id is None:
            rows.sort(key=lambda row: (row.config_id != task_id, row.created_at))
            return _config(rows[0]) if rows else None
        return next((_config(row) for row in rows if row.config_id == config_id), None)

    async def list(
        self, caller: Caller, task_id: str, page_size: int = 0, page_token: str = ""
    ) -> PushConfigPage:
        """Return configurations by id, all when ``page_size`` is 0; raises ``InvalidParams``."""
        after = _read_token(page_token) if page_token else ""
        rows = await self._configs.get(caller.owner, caller.tenant, task_id)
        # Compared here and not in the database: how that orders text is a matter of its locale.
        rows = sorted((r for r in rows if r.config_id > after), key=lambda row: row.config_id)
        page = rows[: page_size or None]
        more = len(page) < len(rows)
        return PushConfigPage(
            [_config(row) for row in page], _token(page[-1].config_id) if more else ""
        )

    async def delete(self, caller: Caller, task_id: str, config_id: str) -> None:
        """Remove a configuration, if it is there: nothing more is sent."""
        key = Key(caller.owner, caller.tenant, task_id, config_id)
        await self._configs.delete(key)
        if self._dispatch is not None:
            await self._dispatch.stop(key)

    async def _same(self, caller: Caller, config: PushConfig) -> str | None:
        """Return the id of the configuration that differs in its id only."""
        known = (await self.list(caller, config.task_id)).configs
        ids = (each.id for each in known if msgspec.structs.replace(each, id="") == config)
        return next(ids, None)

    async def _check(self, config: PushConfig, field: str) -> str:
        """Return the host; raises ``InvalidParams``."""
        most = self._settings.limits.id_chars
        if len(config.id) > most or not config.id.isprintable():
            raise InvalidParams(f"{field}id", f"must have at most {most} printable characters")
        _check_secret(config.token, f"{field}token")
        if config.authentication is not None:
            given = config.authentication
            _check_secret(given.credentials, f"{field}authentication.credentials")
            for scheme in given.schemes:
                if not _SCHEME.fullmatch(scheme):
                    name = "schemes" if field else "scheme"
                    raise InvalidParams(f"{field}authentication.{name}", "must name HTTP schemes")
        try:
            return (await self._guard.check(config.url)).raw_host.decode("ascii")
        except Refused as exc:
            raise InvalidParams(f"{field}url", exc.problem) from exc


def _check_secret(value: str | None, field: str) -> None:
    """Raise ``InvalidParams`` for what cannot stand in a header."""
    if value and not (len(value) <= SECRET_CHARS and _VISIBLE.fullmatch(value)):
        raise InvalidParams(field, f"must have at most {SECRET_CHARS} visible ASCII characters")


def _row(caller: Caller, config: PushConfig, host: str, at: int) -> PushConfigRow:
    given = config.authentication
    return PushConfigRow(
        owner=caller.owner,
        tenant=caller.tenant,
        task_id=config.task_id,
        config_id=config.id,
        url=config.url,
        host=host,
        token=config.token,
        authentication=None if given is None else msgspec.json.encode(given),
        version=config.version,
        delivered_seq=0,
        state=ACTIVE,
        attempts=0,
        next_attempt_at=at,
        last_error=None,
        lease_holder="",
        lease_until=0,
        created_at=at,
    )


def _config(row: PushConfigRow) -> PushConfig:
    given = row.authentication
    return PushConfig(
        url=row.url,
        version=row.version,
        id=row.config_id,
        task_id=row.task_id,
        tenant=row.tenant,
        token=row.token,
        authentication=None if given is None else decode_authentication(given),
    )


def _token(config_id: str) -> str:
    return base64.urlsafe_b64encode(config_id.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as exc:
        raise InvalidParams("pageToken", "is not one that this server gave") from exc
