"""What a row of the manifest is, and how a test says which rows it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

JSON_RPC = "JSON-RPC"
HTTP_JSON = "HTTP+JSON"
GRPC = "gRPC"
CARD = "agent card"
WEBHOOK = "webhooks"
SERVER = "server"
"""Where a requirement is met: on a binding, on the card, towards a webhook, or by the server as a whole."""

BINDINGS = (JSON_RPC, HTTP_JSON, GRPC)
SURFACES = (*BINDINGS, CARD, WEBHOOK, SERVER)
# Over gRPC 0.3 has rows of its own: its proto is another one than the schema.
USUAL = {"rpc": (JSON_RPC,), "1.0": BINDINGS, "0.3": (JSON_RPC, HTTP_JSON)}


class Requirement(NamedTuple):
    """``deviation`` says what the server does instead, ``gap`` what it leaves undone; both say why.

    ``on`` names the surfaces that it is asked of; empty stands for all bindings of the version.
    """

    id: str
    source: str
    behaviour: str
    on: tuple[str, ...] = ()
    deviation: str | None = None
    gap: str | None = None

    @property
    def version(self) -> str:
        """``1.0``, ``0.3`` or ``rpc``."""
        return self.id.partition("/")[0]

    @property
    def surfaces(self) -> tuple[str, ...]:
        """Where it must be shown to be met."""
        return self.on or USUAL[self.version]


def requirement[F: Callable[..., object]](*ids: str, on: str | None = None) -> Callable[[F], F]:
    """Mark a test as showing that requirements are met, or deviated from as recorded.

    Tests that run once for each wire show them where that wire is spoken; others say it by ``on``.
    """
    mark: Callable[[F], F] = pytest.mark.requirement(*ids, on=on)
    return mark
