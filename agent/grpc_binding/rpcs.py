"""The methods of ``A2AService``, by the descriptors that a2a-sdk holds, and what each does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from google.protobuf.message_factory import GetMessageClass

from agent.dialects.v1_0 import Dialect1
from agent.grpc_binding.older import Dialect03Grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

    from agent.dialects import Dialect


class Rpc(msgspec.Struct, frozen=True):
    """One method; ``operation`` names an entry of ``Operations``."""

    name: str
    operation: str
    dialect: Dialect
    request: type[Message]
    response: type[Message]


class Protocol(msgspec.Struct, frozen=True):
    """One version's service: its full name, the version, and its methods."""

    service: str
    version: str
    rpcs: tuple[Rpc, ...]


def protocols() -> tuple[Protocol, ...]:
    """Return what is served, the latest version first."""
    from a2a.compat.v0_3.a2a_v0_3_pb2 import DESCRIPTOR as V0_3
    from a2a.types.a2a_pb2 import DESCRIPTOR as V1_0

    return (_protocol(V1_0, "1.0", Dialect1()), _protocol(V0_3, "0.3", Dialect03Grpc()))


def _protocol(file: FileDescriptor, version: str, dialect: Dialect) -> Protocol:
    service = file.services_by_name["A2AService"]
    return Protocol(service.full_name, version, tuple(_rpcs(service, dialect)))


def _rpcs(service: ServiceDescriptor, dialect: Dialect) -> Iterator[Rpc]:
    for method in service.methods:
        yield Rpc(
            method.name,
            dialect.methods[method.name],
            dialect,
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
        )
