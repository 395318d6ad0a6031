"""What the specifications ask of this server, each with its source, and where it does otherwise.

A test says with ``@requirement("id")`` which of them it shows; ``test_manifest`` holds both lists
against each other. An id begins with the version it belongs to: ``1.0``, ``0.3`` or ``rpc``
(JSON-RPC 2.0). What only binds clients has no row.
"""

from __future__ import annotations

from tests.conformance._requirements import (
    json_rpc,
    v0_3,
    v1_0_bindings,
    v1_0_card,
    v1_0_operations,
    v1_0_semantics,
)
from tests.conformance._requirements.row import Requirement, requirement

__all__ = ["REQUIREMENTS", "ROWS", "Requirement", "requirement"]

ROWS: tuple[Requirement, ...] = (
    *json_rpc.ROWS,
    *v1_0_operations.ROWS,
    *v1_0_semantics.ROWS,
    *v1_0_bindings.ROWS,
    *v1_0_card.ROWS,
    *v0_3.ROWS,
)
REQUIREMENTS: dict[str, Requirement] = {row.id: row for row in ROWS}
