"""What a server says to one call, checked as it is read; errors are told by their JSON-RPC codes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, override

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from tests.conformance.wire import Json, Wire

# What no caller may read, whatever went wrong.
LEAKS = ("Traceback", "msgspec", "sqlalchemy", "sqlite", "Error:", "Expected `", "$.", "secret")
# Codes whose HTTP status says the same on JSON-RPC; any other error is HTTP 200 there.
_TOLD_TWICE = {
    -32050: 413,
    -32051: 429,
    -32052: 503,
    -32053: 503,
    -32055: 401,
    -32056: 403,
    -32057: 429,
    -32058: 429,
    -32060: 400,
}


class Told(NamedTuple):
    """How HTTP and gRPC say an error (1.0 section 5.4)."""

    code: int
    http: int
    grpc: str


# By the reason of google.rpc.ErrorInfo; those from -32050 on are the server's own.
REASONS = {
    "PARSE_ERROR": Told(-32700, 400, "INVALID_ARGUMENT"),
    "INVALID_REQUEST": Told(-32600, 400, "INVALID_ARGUMENT"),
    "METHOD_NOT_FOUND": Told(-32601, 404, "NOT_FOUND"),
    "METHOD_NOT_ALLOWED": Told(-32601, 405, "UNIMPLEMENTED"),
    "INVALID_PARAMS": Told(-32602, 400, "INVALID_ARGUMENT"),
    "KEY_REUSED": Told(-32602, 409, "ALREADY_EXISTS"),
    "INTERNAL_ERROR": Told(-32603, 500, "INTERNAL"),
    "TASK_NOT_FOUND": Told(-32001, 404, "NOT_FOUND"),
    "TASK_NOT_CANCELABLE": Told(-32002, 400, "FAILED_PRECONDITION"),
    "PUSH_NOTIFICATION_NOT_SUPPORTED": Told(-32003, 400, "FAILED_PRECONDITION"),
    "UNSUPPORTED_OPERATION": Told(-32004, 400, "FAILED_PRECONDITION"),
    "CONTENT_TYPE_NOT_SUPPORTED": Told(-32005, 400, "INVALID_ARGUMENT"),
    "INVALID_AGENT_RESPONSE": Told(-32006, 500, "INTERNAL"),
    "EXTENDED_AGENT_CARD_NOT_CONFIGURED": Told(-32007, 400, "FAILED_PRECONDITION"),
    "EXTENSION_SUPPORT_REQUIRED": Told(-32008, 400, "FAILED_PRECONDITION"),
    "VERSION_NOT_SUPPORTED": Told(-32009, 400, "FAILED_PRECONDITION"),
    "PAYLOAD_TOO_LARGE": Told(-32050, 413, "RESOURCE_EXHAUSTED"),
    "TOO_MANY_TASKS": Told(-32051, 429, "RESOURCE_EXHAUSTED"),
    "STATE_UNAVAILABLE": Told(-32052, 503, "UNAVAILABLE"),
    "SERVER_STOPPING": Told(-32053, 503, "UNAVAILABLE"),
    "STREAM_ENDED": Told(-32054, 409, "ABORTED"),
    "UNAUTHENTICATED": Told(-32055, 401, "UNAUTHENTICATED"),
    "PERMISSION_DENIED": Told(-32056, 403, "PERMISSION_DENIED"),
    "TOO_MANY_ATTEMPTS": Told(-32058, 429, "RESOURCE_EXHAUSTED"),
    "MALFORMED_CREDENTIALS": Told(-32060, 400, "INVALID_ARGUMENT"),
}


class Event(NamedTuple):
    """One event of a stream: its number if it has one, and its result in the words of 1.0."""

    seq: int | None
    result: Json
    body: Json


def read_frame(frame: str, wire: Wire, unwrap: Callable[[Json], Json]) -> Event:
    """Read one server-sent event that holds a result."""
    fields = dict(line.split(": ", 1) for line in frame.split("\n"))
    assert fields.keys() <= {"id", "data"}
    body = json.loads(fields["data"])
    seq = int(fields["id"]) if "id" in fields else None
    return Event(seq, wire.read_event(unwrap(body)), body)


class Reply(ABC):
    """The answer to a call."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.status: int = 0
        self.headers: Mapping[str, str] = {}
        self.text: str = ""

    @property
    @abstractmethod
    def is_error(self) -> bool:
        """Whether the call was refused."""

    @property
    @abstractmethod
    def result(self) -> Json:
        """The result, as it is on the wire."""

    @property
    @abstractmethod
    def error(self) -> Json:
        """The error: ``code`` as JSON-RPC has it, ``message`` and ``data``."""

    @abstractmethod
    def events(self) -> list[Event]:
        """All events of a stream that has ended."""

    @property
    def task(self) -> Json:
        """The task that get and cancel answer with."""
        return self._wire.read_task(self.result)

    @property
    def sent(self) -> Json:
        """What send answers with: {"task": ...} or {"message": ...}."""
        sent = self._wire.read_event(self.result)
        assert sent.keys() <= {"task", "message"}
        return sent

    @property
    def code(self) -> int:
        """The code of the error."""
        code: int = self.error["code"]
        return code

    @property
    def field(self) -> str:
        """The parameter that an Invalid params error names."""
        data = self.error["data"]
        if "field" in data:
            named: str = data["field"]
            return named
        (found,) = [detail for detail in data if "fieldViolations" in detail]
        field: str = found["fieldViolations"][0]["field"]
        return field

    @property
    def retry_after(self) -> int:
        """Seconds after which to try again."""
        return int(self.headers["retry-after"])

    def checked(self, code: int, message: str, data: Json) -> Json:
        """Hold an error against the specification; returns it."""
        error = {"code": code, "message": message, "data": data}
        assert type(code) is int
        assert message
        self._wire.check_error_data(code, data)
        assert not [leak for leak in LEAKS if leak in json.dumps(error)]
        return error


class HttpReply(Reply):
    """The answer to one HTTP request."""

    def __init__(self, response: httpx.Response, wire: Wire) -> None:
        super().__init__(wire)
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text

    @override
    def events(self) -> list[Event]:
        assert self.status == 200, self.text
        assert self.headers["content-type"].partition(";")[0] == "text/event-stream"
        frames = self.text.split("\n\n")
        assert frames.pop() == ""
        return [
            read_frame(frame, self._wire, self.unwrap)
            for frame in frames
            if not frame.startswith(":")
        ]

    @staticmethod
    def unwrap(body: Json) -> Json:
        """Return the result that is in a body, or in the data of an event."""
        assert "error" not in body, body
        return body


class RpcReply(HttpReply):
    """An HTTP response with a JSON-RPC response in it."""

    @property
    def body(self) -> Json:
        """The JSON-RPC response, or the list of them."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.text)

    @property
    @override
    def is_error(self) -> bool:
        return self.headers["content-type"] == "application/json" and "error" in self.body

    @property
    @override
    def result(self) -> Json:
        assert self.status == 200
        return self.unwrap(self.body)

    @staticmethod
    @override
    def unwrap(body: Json) -> Json:
        assert body.keys() == {"jsonrpc", "id", "result"}, body
        assert body["jsonrpc"] == "2.0"
        return body["result"]

    @property
    @override
    def error(self) -> Json:
        return self.check_error(self.body)

    def check_error(self, body: Json) -> Json:
        """Hold an error response against the specification; returns the error."""
        assert body.keys() == {"jsonrpc", "id", "error"}, self.text
        assert body["jsonrpc"] == "2.0"
        error = body["error"]
        assert error.keys() == {"code", "message", "data"}
        if self.status != 200 and self.status not in {409, 415}:
            assert self.status == _TOLD_TWICE[error["code"]]
        return self.checked(**error)


class RestReply(HttpReply):
    """An HTTP response whose body is the result, or google.rpc.Status."""

    @property
    @override
    def is_error(self) -> bool:
        return self.status != 200

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON by its type."""
        kind = self.headers["content-type"]
        return kind in {"application/json", "application/a2a+json"}

    @property
    @override
    def result(self) -> Json:
        assert self.status == 200, self.text
        assert self.is_json
        return json.loads(self.text)

    @property
    @override
    def error(self) -> Json:
        assert self.is_json
        body = json.loads(self.text)
        error = body["error"]
        assert error.keys() == {"code", "status", "message", "details"}
        (info,) = [detail for detail in error["details"] if "reason" in detail]
        told = REASONS[info["reason"]]
        assert error["code"] == self.status
        assert self.status == told.http or (info["reason"], self.status) == (
            "CONTENT_TYPE_NOT_SUPPORTED",
            415,
        )
        assert error["status"] == told.grpc
        return self.checked(told.code, error["message"], error["details"])
