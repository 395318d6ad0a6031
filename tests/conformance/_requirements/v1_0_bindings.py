"""A2A 1.0, sections 9 to 11: what each binding adds."""

from __future__ import annotations

from tests.conformance._requirements.row import GRPC, HTTP_JSON, JSON_RPC
from tests.conformance._requirements.row import Requirement as Row

_RPC, _HTTP, _GRPC = (JSON_RPC,), (HTTP_JSON,), (GRPC,)
_WEB = (JSON_RPC, HTTP_JSON)

ROWS = (
    Row("1.0/rpc-request", "1.0 §9.3", "Requests MUST be JSON-RPC 2.0", _RPC),
    Row("1.0/rpc-content-type", "1.0 §9.1", "Requests and responses are application/json", _RPC),
    Row("1.0/rpc-headers", "1.0 §9.2", "Service parameters MUST be HTTP headers", _RPC),
    Row("1.0/rpc-stream", "1.0 §9.1, §9.4.2", "A stream is HTTP 200 with text/event-stream", _RPC),
    Row("1.0/rpc-stream-data", "1.0 §9.4.2", "Each event's data is a response with the id", _RPC),
    Row("1.0/rpc-no-params", "1.0 §9.4.8", "GetExtendedAgentCard needs no params", _RPC),
    Row("1.0/rpc-error", "1.0 §9.5", "code, message and data tell of an error", _RPC),
    Row("1.0/rpc-error-codes", "1.0 §9.5", "The standard errors have the standard codes", _RPC),
    Row(
        "1.0/content-type-code",
        "1.0 §5.4",
        "ContentTypeNotSupported is about the media types of parts",
        _WEB,
        deviation="A wrong Content-Type of the HTTP request is -32005 too, with HTTP 415.",
    ),
    Row("1.0/grpc-service", "1.0 §10.1", "A2AService of the proto MUST be implemented", _GRPC),
    Row("1.0/grpc-tls", "1.0 §10.1", "gRPC is spoken over TLS", _GRPC),
    Row("1.0/grpc-metadata", "1.0 §10.2", "Service parameters MUST be read from metadata", _GRPC),
    Row("1.0/grpc-version", "1.0 §10.2", "Required parameters SHOULD be validated", _GRPC),
    Row("1.0/grpc-error", "1.0 §10.6", "Errors are a status with code, message, details", _GRPC),
    Row("1.0/grpc-error-info", "1.0 §10.6", "A2A's errors MUST have an ErrorInfo", _GRPC),
    Row("1.0/grpc-bad-request", "1.0 §10.6", "Invalid parameters are INVALID_ARGUMENT", _GRPC),
    Row("1.0/grpc-stream", "1.0 §10.7", "Streams are server-streaming calls", _GRPC),
    Row(
        "1.0/http-media-type",
        "1.0 §11.1",
        "application/a2a+json SHOULD be used",
        _HTTP,
        deviation="Who sends no body and asks for neither type gets application/json.",
    ),
    Row("1.0/http-json", "1.0 §11.4", "application/json is understood as well", _HTTP),
    Row("1.0/http-headers", "1.0 §11.2", "Service parameters MUST be HTTP headers", _HTTP),
    Row("1.0/http-paths", "1.0 §11.3", "Operations have their verbs and paths", _HTTP),
    Row("1.0/http-subscribe-get", "proto A2AService", "Subscribing works by GET, too", _HTTP),
    Row("1.0/http-tenant", "proto A2AService", "A tenant may stand before the path", _HTTP),
    Row("1.0/http-query", "1.0 §11.5", "GET and DELETE MUST take parameters by camelCase", _HTTP),
    Row("1.0/http-query-types", "1.0 §11.5", "Booleans, numbers, enums and times are text", _HTTP),
    Row("1.0/http-query-encoding", "1.0 §11.5", "Values of the query MUST be URL-encoded", _HTTP),
    Row(
        "1.0/http-error", "1.0 §11.6", "Errors are google.rpc.Status: code, message, details", _HTTP
    ),
    Row("1.0/http-error-type", "1.0 §11.6", "Each detail MUST have its @type", _HTTP),
    Row("1.0/http-error-info", "1.0 §11.6", "A2A's errors MUST have an ErrorInfo", _HTTP),
    Row("1.0/http-bad-request", "1.0 §11.6", "Invalid parameters SHOULD be a BadRequest", _HTTP),
    Row(
        "1.0/http-unknown", "1.0 §11.3", "Other paths and verbs are errors of the same form", _HTTP
    ),
    Row("1.0/http-stream", "1.0 §11.7", "A stream is server-sent events of StreamResponse", _HTTP),
    Row("1.0/http-stream-closes", "1.0 §11.7", "It closes at interrupted states, too", _HTTP),
)
