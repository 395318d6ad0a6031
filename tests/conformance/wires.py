"""Every wire that is spoken here, and who else speaks on the same binding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance._requirements.row import GRPC, HTTP_JSON, JSON_RPC
from tests.conformance.wire_0_3 import HTTP_0_3, V0_3
from tests.conformance.wire_1_0 import GRPC_1_0, HTTP_1_0, V1_0

if TYPE_CHECKING:
    from tests.conformance.wire import Wire

WIRES: tuple[Wire, ...] = (V1_0, V0_3, HTTP_1_0, HTTP_0_3, GRPC_1_0)
# The fixtures that run a test once for each of some wires.
FIXTURES: dict[str, tuple[Wire, ...]] = {
    "wire": WIRES,
    "json_wire": tuple(wire for wire in WIRES if wire.binding != GRPC),
    "rpc": tuple(wire for wire in WIRES if wire.binding == JSON_RPC),
    "rest": tuple(wire for wire in WIRES if wire.binding == HTTP_JSON),
    "latest": tuple(wire for wire in WIRES if wire.version == "1.0"),
    "latest_json": tuple(w for w in WIRES if w.version == "1.0" and w.binding != GRPC),
}


def other_version(wire: Wire) -> Wire:
    """Return the wire of the other version on the same binding, or on JSON-RPC where it is not there."""
    others = [other for other in WIRES if other.version != wire.version]
    return next((other for other in others if other.binding == wire.binding), others[0])
