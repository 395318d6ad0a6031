"""How a call travels: gRPC, with the stubs of the proto."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, override

import grpc
from a2a.types.a2a_pb2 import DESCRIPTOR
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from tests.conformance.channels import Channel
from tests.conformance.reply import REASONS, Event, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.conformance.wire import Json, Wire

SERVICE = DESCRIPTOR.services_by_name["A2AService"]
# These are there although their values are those of nothing.
_ALWAYS = {"ListTasksResponse": {"tasks": [], "nextPageToken": "", "pageSize": 0, "totalSize": 0}}
# The details of errors are found by their names, once they are known.
assert error_details_pb2.ErrorInfo


class GrpcReply(Reply):
    """The answer to one call."""

    def __init__(
        self,
        wire: Wire,
        results: list[Json],
        failed: grpc.aio.AioRpcError | None,
        metadata: Mapping[str, str],
    ) -> None:
        super().__init__(wire)
        self.results = results
        self.failed = failed
        self.headers = metadata

    @property
    @override
    def is_error(self) -> bool:
        return self.failed is not None

    @property
    @override
    def result(self) -> Json:
        assert self.failed is None, self.failed
        (result,) = self.results
        return result

    @property
    @override
    def error(self) -> Json:
        assert self.failed is not None, self.results
        details = details_of(self.failed)
        reasons = [detail["reason"] for detail in details if "reason" in detail]
        told = REASONS[reasons[0] if reasons else "INTERNAL_ERROR"]
        assert self.failed.code().name == told.grpc
        return self.checked(told.code, self.failed.details() or "", details)

    @property
    @override
    def retry_after(self) -> int:
        (delay,) = [d["retryDelay"] for d in self.error["data"] if "retryDelay" in d]
        return int(delay.removesuffix("s"))

    @override
    def events(self) -> list[Event]:
        assert self.failed is None, self.failed
        return [_event(result, self._wire) for result in self.results]


class GrpcChannel(Channel):
    """gRPC; headers go as metadata."""

    def __init__(self, channel: grpc.aio.Channel, wire: Wire) -> None:
        self._channel = channel
        self._wire = wire

    def _started(self, method: str, params: Json, headers: Mapping[str, str]) -> Any:
        rpc = SERVICE.methods_by_name[method]
        kind = GetMessageClass(rpc.input_type)
        make = self._channel.unary_stream if rpc.server_streaming else self._channel.unary_unary
        call = make(
            f"/{SERVICE.full_name}/{method}",
            request_serializer=kind.SerializeToString,
            response_deserializer=GetMessageClass(rpc.output_type).FromString,
        )
        metadata = [(name.lower(), value) for name, value in headers.items()]
        return call(ParseDict(params or {}, kind()), metadata=metadata)

    @override
    async def call(self, method: str, params: Json, headers: Mapping[str, str]) -> GrpcReply:
        started = self._started(method, params, headers)
        results: list[Json] = []
        failed = None
        try:
            if SERVICE.methods_by_name[method].server_streaming:
                results += [_json(message) async for message in started]
            else:
                results.append(_json(await started))
        except grpc.aio.AioRpcError as exc:
            failed = exc
        metadata = {
            **dict(await started.initial_metadata()),
            **dict(await started.trailing_metadata()),
        }
        return GrpcReply(self._wire, results, failed, metadata)

    @override
    @asynccontextmanager
    async def streaming(
        self, method: str, params: Json, headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        started = self._started(method, params, headers)
        try:
            yield (_event(_json(message), self._wire) async for message in started)
        finally:
            started.cancel()


def details_of(error: grpc.aio.AioRpcError) -> list[Json]:
    """Return the details of an error as JSON."""
    trailing = dict(error.trailing_metadata())
    status = Status.FromString(trailing["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return [MessageToDict(detail) for detail in status.details]


def _json(message: Any) -> Json:
    return _ALWAYS.get(message.DESCRIPTOR.name, {}) | MessageToDict(message)


def _event(result: Json, wire: Wire) -> Event:
    return Event(None, wire.read_event(result), result)
