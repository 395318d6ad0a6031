"""The operations of A2A as every binding offers them: parameters in a dialect's JSON -> the answer in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.auth.access import NEEDED, check
from agent.dialects import Trimmed
from agent.dialects.v1_0 import Dialect1
from agent.model import SubscribeRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.audit import Audit
    from agent.caller import Caller
    from agent.card import Card
    from agent.dialects import Dialect, Encoder
    from agent.extensions import Extensions
    from agent.following import Followed
    from agent.service import Service
    from agent.service_parameters import ServiceParameters

    type Unary = Callable[[Dialect, Asked, bytes], Awaitable[bytes]]
    type Streaming = Callable[[Dialect, Asked, bytes], Awaitable[tuple[Followed, Encoder[bytes]]]]


NAMES = {operation: method for method, operation in Dialect1.methods.items()} | {
    "delete": "DeleteTask",
    "delete_context": "DeleteContext",
}
"""What the audit log calls operations: by their names in 1.0, and those of our own likewise."""


class Asked(msgspec.Struct, frozen=True):
    """Who asks, and what came with the request."""

    caller: Caller
    parameters: ServiceParameters
    extensions: tuple[str, ...] = ()


class Operations:
    """``unary`` and ``streaming`` map the names of ``Dialect.methods`` to functions.

    ``ours`` are operations that the specification does not have.
    """

    def __init__(
        self,
        service: Service,
        card: Card,
        extensions: Extensions,
        audit: Audit | None = None,
    ) -> None:
        """Build the one table of operations; each asks first whether the caller may."""
        self.extensions = extensions
        self._service = service
        self._card = card
        unary: dict[str, Unary] = {
            "send": self._send,
            "get": self._get,
            "list": self._list,
            "cancel": self._cancel,
            "create_push_config": self._create_push_config,
            "get_push_config": self._get_push_config,
            "list_push_configs": self._list_push_configs,
            "delete_push_config": self._delete_push_config,
            "extended_card": self._extended_card,
        }
        ours: dict[str, Unary] = {
            "delete": self._delete,
            "delete_context": self._delete_context,
        }
        streaming: dict[str, Streaming] = {
            "stream": self._stream,
            "subscribe": self._subscribe,
        }
        self.unary = {name: _entry(name, run, audit) for name, run in unary.items()}
        self.ours = {name: _entry(name, run, audit) for name, run in ours.items()}
        self.streaming = {name: _entry(name, run, audit) for name, run in streaming.items()}

    def asked(self, caller: Caller, parameters: ServiceParameters) -> Asked:
        """Return a request, with the extensions in use; raises ``ExtensionSupportRequired``."""
        return Asked(caller, parameters, self.extensions.active(parameters.extensions))

    async def _send(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        request = asked.parameters.added_to(dialect.read_send(params), asked.extensions)
        return dialect.event(await self._service.send(asked.caller, request, len(params)))

    async def _stream(
        self, dialect: Dialect, asked: Asked, params: bytes
    ) -> tuple[Followed, Encoder[bytes]]:
        request = asked.parameters.added_to(dialect.read_send(params), asked.extensions)
        followed = await self._service.stream(asked.caller, request, len(params))
        if request.history_length is None:
            return followed, dialect
        return followed, Trimmed(dialect, request.history_length)

    async def _subscribe(
        self, dialect: Dialect, asked: Asked, params: bytes
    ) -> tuple[Followed, Encoder[bytes]]:
        task = dialect.read_task(params)
        request = SubscribeRequest(task.id, task.tenant, asked.parameters.last_event_id)
        return await self._service.subscribe(asked.caller, request), dialect

    async def _get(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        return dialect.task(await self._service.get(asked.caller, dialect.read_get(params)))

    async def _list(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        request = dialect.read_list(params)
        page = await self._service.list(asked.caller, request)
        return dialect.page(page, with_artifacts=request.include_artifacts)

    async def _cancel(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        return dialect.task(await self._service.cancel(asked.caller, dialect.read_task(params)))

    async def _create_push_config(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        config = dialect.read_push_config(params)
        return dialect.push_config(await self._service.create_push_config(asked.caller, config))

    async def _get_push_config(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        request = dialect.read_push_config_id(params)
        return dialect.push_config(await self._service.get_push_config(asked.caller, request))

    async def _list_push_configs(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        request = dialect.read_push_configs(params)
        return dialect.push_configs(await self._service.list_push_configs(asked.caller, request))

    async def _delete_push_config(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        await self._service.delete_push_config(asked.caller, dialect.read_push_config_id(params))
        return dialect.deleted()

    async def _delete(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        await self._service.delete(asked.caller, dialect.read_task(params))
        return dialect.deleted()

    async def _delete_context(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        named = dialect.read_task(params)
        await self._service.delete_context(asked.caller, named.id, named.tenant)
        return dialect.deleted()

    async def _extended_card(self, dialect: Dialect, asked: Asked, params: bytes) -> bytes:
        self._service.check_tenant(asked.caller, dialect.read_tenant(params))
        return dialect.card(self._card.extended(dialect.version))


def _entry[T](
    name: str, run: Callable[[Dialect, Asked, bytes], Awaitable[T]], audit: Audit | None
) -> Callable[[Dialect, Asked, bytes], Awaitable[T]]:
    allowed = _allowed(NEEDED[name], run)
    return allowed if audit is None else _recorded(audit, NAMES[name], allowed)


def _recorded[T](
    audit: Audit, operation: str, run: Callable[[Dialect, Asked, bytes], Awaitable[T]]
) -> Callable[[Dialect, Asked, bytes], Awaitable[T]]:
    """Have the audit log tell how it ended; of a stream, how it began."""

    async def recorded(dialect: Dialect, asked: Asked, params: bytes) -> T:
        with audit.recording(asked.caller, operation) as caller:
            return await run(dialect, msgspec.structs.replace(asked, caller=caller), params)

    return recorded


def _allowed[T](
    needed: frozenset[str], run: Callable[[Dialect, Asked, bytes], Awaitable[T]]
) -> Callable[[Dialect, Asked, bytes], Awaitable[T]]:
    """Ask first whether the caller may; raises ``PermissionDenied``."""

    def checked(dialect: Dialect, asked: Asked, params: bytes) -> Awaitable[T]:
        check(asked.caller, needed)
        return run(dialect, asked, params)

    return checked
