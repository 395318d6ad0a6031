"""gRPC (1.0 section 10), the optional extra ``grpc``: nothing of it is imported unless a port is set."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from agent.errors import SettingsError

if TYPE_CHECKING:
    from agent.auth.gate import Gate
    from agent.grpc_binding.server import GrpcServer
    from agent.operations import Operations
    from agent.settings import Settings


def make_grpc(settings: Settings, operations: Operations, gate: Gate) -> GrpcServer | None:
    """Return the server for ``a2a.grpc_port``, not open yet; None when none is set.

    Raises ``SettingsError`` when the extra is not installed, or the TLS key cannot be read.
    """
    if settings.a2a.grpc_port is None:
        return None
    check_grpc(settings)
    from agent.grpc_binding.server import GrpcServer

    return GrpcServer(settings, operations, gate)


def check_grpc(settings: Settings) -> None:
    """Raise ``SettingsError`` when a port is set and the extra is not installed."""
    if settings.a2a.grpc_port is not None and find_spec("grpc") is None:
        problem = "needs the extra grpc: pip install 'llamastack-a2a[grpc]'"
        raise SettingsError("a2a.grpc_port", problem)
