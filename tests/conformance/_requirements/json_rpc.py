"""JSON-RPC 2.0, which both versions of A2A build on."""

from __future__ import annotations

from tests.conformance._requirements.row import Requirement as Row

ROWS = (
    Row("rpc/version", "JSON-RPC 2.0 §4", 'jsonrpc MUST be exactly "2.0"'),
    Row("rpc/method", "JSON-RPC 2.0 §4", "method is a string"),
    Row("rpc/params", "JSON-RPC 2.0 §4.2", "params, if present, is an object (A2A has no others)"),
    Row("rpc/id", "JSON-RPC 2.0 §4", "id is a string, a number or null"),
    Row("rpc/same-id", "JSON-RPC 2.0 §5", "The response has the id of the request"),
    Row("rpc/null-id", "JSON-RPC 2.0 §5", "The id of the response is null when none could be read"),
    Row("rpc/notification", "JSON-RPC 2.0 §4.1", "The server MUST NOT reply to a notification"),
    Row("rpc/result-xor-error", "JSON-RPC 2.0 §5", "A response has either result or error"),
    Row("rpc/error-object", "JSON-RPC 2.0 §5.1", "An error has an integer code and a message"),
    Row("rpc/parse-error", "JSON-RPC 2.0 §5.1", "What is not JSON is -32700"),
    Row("rpc/invalid-request", "JSON-RPC 2.0 §5.1", "JSON that is no request object is -32600"),
    Row("rpc/method-not-found", "JSON-RPC 2.0 §5.1", "An unknown method is -32601"),
    Row("rpc/invalid-params", "JSON-RPC 2.0 §5.1", "Invalid parameters are -32602"),
    Row("rpc/internal-error", "JSON-RPC 2.0 §5.1", "An internal error is -32603"),
    Row("rpc/batch", "JSON-RPC 2.0 §6", "A batch is answered with the responses to its requests"),
    Row("rpc/batch-empty", "JSON-RPC 2.0 §6", "An empty batch is one Invalid Request"),
    Row("rpc/batch-invalid", "JSON-RPC 2.0 §6", "Each invalid element of a batch is -32600"),
    Row("rpc/batch-notifications", "JSON-RPC 2.0 §6", "A batch of notifications is not answered"),
    Row(
        "rpc/batch-any-method",
        "JSON-RPC 2.0 §6",
        "A batch may hold any request",
        deviation="A streaming method in a batch is -32600: one HTTP response cannot be both.",
    ),
)
