"""What the specifications ask of this server, each with its source, and where it deliberately does otherwise.

A test says with ``@requirement("id")`` which of them it shows; ``test_manifest`` holds both lists
against each other. An id begins with the version it belongs to: ``1.0``, ``0.3`` or ``rpc``
(JSON-RPC 2.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Requirement(NamedTuple):
    """``deviation`` says what the server does instead, and why or how to change it."""

    id: str
    source: str
    behaviour: str
    deviation: str | None = None

    @property
    def version(self) -> str:
        """``1.0``, ``0.3`` or ``rpc``."""
        return self.id.partition("/")[0]


def requirement[F: Callable[..., object]](*ids: str) -> Callable[[F], F]:
    """Mark a test as showing that requirements are met, or deviated from as recorded."""
    mark: Callable[[F], F] = pytest.mark.requirement(*ids)
    return mark


R = Requirement

JSON_RPC = (
    R("rpc/version", "JSON-RPC 2.0 §4", 'jsonrpc MUST be exactly "2.0"'),
    R("rpc/method", "JSON-RPC 2.0 §4", "method is a string"),
    R("rpc/params", "JSON-RPC 2.0 §4.2", "params, if present, is an object (A2A has no others)"),
    R("rpc/id", "JSON-RPC 2.0 §4", "id is a string, a number or null"),
    R("rpc/same-id", "JSON-RPC 2.0 §5", "The response has the id of the request"),
    R("rpc/null-id", "JSON-RPC 2.0 §5", "The id of the response is null when none could be read"),
    R("rpc/notification", "JSON-RPC 2.0 §4.1", "The server MUST NOT reply to a notification"),
    R("rpc/result-xor-error", "JSON-RPC 2.0 §5", "A response has either result or error"),
    R("rpc/error-object", "JSON-RPC 2.0 §5.1", "An error has an integer code and a message"),
    R("rpc/parse-error", "JSON-RPC 2.0 §5.1", "What is not JSON is -32700"),
    R("rpc/invalid-request", "JSON-RPC 2.0 §5.1", "JSON that is no request object is -32600"),
    R("rpc/method-not-found", "JSON-RPC 2.0 §5.1", "An unknown method is -32601"),
    R("rpc/invalid-params", "JSON-RPC 2.0 §5.1", "Invalid parameters are -32602"),
    R("rpc/internal-error", "JSON-RPC 2.0 §5.1", "An internal error is -32603"),
    R("rpc/batch", "JSON-RPC 2.0 §6", "A batch is answered with the responses to its requests"),
    R("rpc/batch-empty", "JSON-RPC 2.0 §6", "An empty batch is one Invalid Request"),
    R("rpc/batch-invalid", "JSON-RPC 2.0 §6", "Each invalid element of a batch is -32600"),
    R("rpc/batch-notifications", "JSON-RPC 2.0 §6", "A batch of notifications is not answered"),
    R(
        "rpc/batch-any-method",
        "JSON-RPC 2.0 §6",
        "A batch may hold any request",
        "A streaming method in a batch is -32600: one HTTP response cannot be both.",
    ),
)

A2A_1_0 = (
    R("1.0/send-answer", "1.0 §3.1.1, §9.4.1", "SendMessage answers with a task or a message"),
    R("1.0/send-ended-task", "1.0 §3.1.1", "A message to an ended task is UnsupportedOperation"),
    R("1.0/send-unknown-task", "1.0 §3.1.1, §3.4.2", "An unknown taskId MUST be TaskNotFound"),
    R("1.0/send-media-type", "1.0 §3.1.1", "An unsupported media type is ContentTypeNotSupported"),
    R("1.0/stream-sse", "1.0 §3.1.2, §9.1", "A stream MUST be established: server-sent events"),
    R("1.0/stream-data", "1.0 §9.4.2", "Each event's data is a JSON-RPC response with the id"),
    R("1.0/stream-message", "1.0 §3.1.2", "A message MUST be the only event of its stream"),
    R("1.0/stream-task-first", "1.0 §3.1.2", "The stream of a task MUST begin with the task"),
    R("1.0/stream-updates", "1.0 §3.1.2", "Only status and artifact updates follow the task"),
    R("1.0/stream-closes", "1.0 §3.1.2", "The stream MUST close at a terminal state"),
    R("1.0/stream-immediate", "1.0 §3.1.2", "Progress MUST be heard of immediately"),
    R("1.0/stream-errors", "1.0 §3.1.2", "Streaming is refused with the errors of sending"),
    R("1.0/stream-order", "1.0 §3.5.2", "Events MUST arrive in the order of their making"),
    R("1.0/stream-apart", "1.0 §3.5.2", "The life of a task is independent of any stream's"),
    R("1.0/get-state", "1.0 §3.1.3", "GetTask returns the current state and artifacts"),
    R("1.0/get-unknown", "1.0 §3.1.3", "GetTask of an unknown task is TaskNotFound"),
    R("1.0/send-blocks", "1.0 §3.2.2", "Sending MUST wait for a terminal or interrupted state"),
    R("1.0/send-latest", "1.0 §3.2.2", "The answer MUST have all artifacts and the status"),
    R("1.0/send-at-once", "1.0 §3.2.2", "returnImmediately MUST return before the task is done"),
    R("1.0/at-once-message", "1.0 §3.2.2", "returnImmediately has no effect on a message"),
    R("1.0/at-once-stream", "1.0 §3.2.2", "returnImmediately has no effect on a stream"),
    R("1.0/output-modes", "proto SendMessageConfiguration", "Output SHOULD fit the accepted modes"),
    R("1.0/history-unset", "1.0 §3.2.4", "Without historyLength, history is not limited"),
    R("1.0/history-zero", "1.0 §3.2.4", "historyLength 0: history SHOULD be omitted"),
    R("1.0/history-most", "1.0 §3.2.4", "At most historyLength recent messages are returned"),
    R("1.0/metadata", "1.0 §3.2.5", "Metadata holds any JSON"),
    R("1.0/parameter-names", "1.0 §3.2.6, §9.2", "Service parameters are case-insensitive headers"),
    R("1.0/validation", "1.0 §3.3.2, §13.4", "All parameters MUST be validated"),
    R("1.0/validation-field", "1.0 §3.3.2", "The parameter that is wrong SHOULD be named"),
    R("1.0/not-yours", "1.0 §3.3.2, §13.1", "Another's task MUST be answered as not found"),
    R("1.0/indistinguishable", "1.0 §3.3.2", "Not there and not yours SHOULD be the same"),
    R("1.0/error-content", "1.0 §3.3.2, §9.5", "Errors MUST have code, message, typed details"),
    R("1.0/error-codes", "1.0 §5.4", "Errors MUST be mapped to the codes of the table"),
    R("1.0/temporary", "1.0 §3.3.2, §13.4", "Exceeded limits SHOULD be told as temporary"),
    R("1.0/push-unsupported", "1.0 §3.3.4", "Push notifications MUST be refused if not declared"),
    R("1.0/extended-card", "1.0 §3.3.4", "An extended card that is not declared MUST be refused"),
    R("1.0/context-generated", "1.0 §3.4.1", "A generated contextId MUST be in the response"),
    R("1.0/context-kept", "1.0 §3.4.1", "A client's contextId is preserved"),
    R("1.0/context-refused", "1.0 §3.4.1", "A contextId that is not accepted MUST be refused"),
    R("1.0/context-session", "1.0 §3.4.1, §3.4.3", "One contextId SHOULD be one conversation"),
    R("1.0/task-id", "1.0 §3.4.2", "Each new task MUST have a unique id, in the response"),
    R("1.0/context-inferred", "1.0 §3.4.3", "contextId MUST be inferred from taskId"),
    R("1.0/context-mismatch", "1.0 §3.4.3", "A contextId other than the task's MUST be refused"),
    R("1.0/input-required", "1.0 §3.4.3", "A message with the taskId continues a waiting task"),
    R(
        "1.0/context-new-task",
        "1.0 §3.4.3",
        "A contextId without taskId starts a new task",
        "When exactly one task of the context waits for input, the message resumes it.",
    ),
    R(
        "1.0/reference-tasks",
        "1.0 §3.4.3",
        "referenceTaskIds SHOULD be used to understand a message",
        "They are kept in the history; the stack sees the whole conversation anyway.",
    ),
    R("1.0/version-patch", "1.0 §3.6", "Patch versions MUST NOT be considered"),
    R("1.0/version-unknown", "1.0 §3.6.2", "An unsupported version MUST be VersionNotSupported"),
    R("1.0/version-query", "1.0 §3.6.1", "The version may be a request parameter"),
    R(
        "1.0/version-semantics",
        "1.0 §3.6.2",
        "A request MUST be processed by the version it names",
        "The method names of the versions differ, and pick the version; "
        "a2a.strict_version refuses a method of the other one.",
    ),
    R(
        "1.0/version-empty",
        "1.0 §3.6.2",
        "No version MUST be read as 0.3",
        "A 1.0 method without A2A-Version is served as 1.0; a2a.strict_version turns that off.",
    ),
    R("1.0/artifacts", "1.0 §3.7", "Results SHOULD be artifacts, not messages"),
    R("1.0/history", "1.0 §3.7", "The history holds the messages of the task"),
    R("1.0/data-model", "1.0 §4", "Objects MUST be those of the data model"),
    R("1.0/methods", "1.0 §5.3, §9.1", "Methods have PascalCase names"),
    R("1.0/camel-case", "1.0 §5.5", "Field names MUST be camelCase"),
    R("1.0/enums", "1.0 §5.5", "Enum values MUST be written by their names in the proto"),
    R("1.0/timestamps", "1.0 §5.6.1", "Timestamps MUST be ISO 8601 in UTC, with milliseconds"),
    R("1.0/required", "1.0 §5.7", "Messages without required fields SHOULD be rejected"),
    R("1.0/not-empty", "1.0 §5.7", "Required arrays MUST have an element"),
    R("1.0/unknown-fields", "1.0 §5.7", "Unknown fields SHOULD be ignored"),
    R("1.0/auth-required", "1.0 §7.6.1", "Missing credentials MUST be AUTH_REQUIRED, explained"),
    R("1.0/auth-messages", "1.0 §7.6.1", "A task in AUTH_REQUIRED SHOULD take messages"),
    R(
        "1.0/auth-stream",
        "1.0 §7.6.1",
        "The stream SHOULD stay open in AUTH_REQUIRED",
        "It ends, as at every interrupted state: the stack waits for a message to go on.",
    ),
    R("1.0/card", "1.0 §8.1, §8.2, §14.3", "The card MUST be at the well-known URI"),
    R("1.0/card-interfaces", "1.0 §5.2, §8.3.1", "Each interface MUST be declared as it is"),
    R("1.0/card-caching", "1.0 §8.6.1", "The card SHOULD have Cache-Control and ETag"),
    R("1.0/content-type", "1.0 §9.1", "Requests and responses are application/json"),
    R(
        "1.0/content-type-code",
        "1.0 §5.4",
        "ContentTypeNotSupported is about the media types of parts",
        "A wrong Content-Type of the HTTP request is -32005 too, with HTTP 415.",
    ),
    R("1.0/limits", "1.0 §13.4", "Sizes and complexity of messages SHOULD be limited"),
    R("1.0/tenant", "proto AgentInterface.tenant", "A request goes to the tenant it names"),
)

A2A_0_3 = (
    R("0.3/json-rpc", "0.3 §3.2.1, §6.11", "Requests and responses MUST be JSON-RPC 2.0"),
    R("0.3/content-type", "0.3 §3.2.1", "The Content-Type MUST be application/json"),
    R("0.3/stream-sse", "0.3 §3.3.1", "A stream is HTTP 200 with text/event-stream"),
    R("0.3/stream-data", "0.3 §3.3.1, §7.2.1", "Each event's data is a JSON-RPC response"),
    R("0.3/stream-final", "0.3 §7.2.2", "The last event says final: true, no other does"),
    R("0.3/stream-message", "0.3 §7.2.1", "A stream may be one message"),
    R("0.3/stream-chunks", "0.3 §7.2.3", "Chunks of an artifact have append and lastChunk"),
    R("0.3/methods", "0.3 §3.5.1", "Methods are named category/action"),
    R("0.3/auth-required", "0.3 §4.5", "Missing credentials SHOULD be auth-required, explained"),
    R("0.3/card", "0.3 §5.1, §5.3, §11.1.1", "The card MUST be valid and available"),
    R("0.3/card-url", "0.3 §5.6.1", "url and preferredTransport MUST be there and match"),
    R("0.3/card-interfaces", "0.3 §5.6.2", "additionalInterfaces are true, and SHOULD be complete"),
    R("0.3/card-conflicts", "0.3 §5.6.4", "No URL MUST declare two transports"),
    R("0.3/ended-task", "0.3 §6.1, §7.1", "A message to an ended task is an error"),
    R("0.3/artifacts", "0.3 §6.1", "A completed task SHOULD have its output in artifacts"),
    R("0.3/objects", "0.3 §6, §11.1.5", "Objects MUST be those of the schema"),
    R("0.3/parts", "0.3 §6.5", "A part MUST be a text, file or data part"),
    R("0.3/file", "0.3 §6.6", "A file has either bytes or uri"),
    R("0.3/send", "0.3 §7.1, §11.1.2", "message/send MUST answer with a task or a message"),
    R("0.3/blocking", "schema MessageSendConfiguration", "blocking: true waits for the task"),
    R("0.3/not-blocking", "schema MessageSendConfiguration", "blocking: false does not wait"),
    R("0.3/history", "schema MessageSendConfiguration", "historyLength recent messages at most"),
    R("0.3/output-modes", "schema MessageSendConfiguration", "Output is in acceptedOutputModes"),
    R("0.3/stream", "0.3 §7.2", "message/stream sends updates in real time"),
    R("0.3/get", "0.3 §7.3, §11.1.2", "tasks/get MUST return the current state"),
    R("0.3/get-history", "schema TaskQueryParams", "historyLength recent messages at most"),
    R("0.3/input-required", "0.3 §9.4", "A message with the taskId continues a waiting task"),
    R("0.3/rpc-errors", "0.3 §8.1", "The standard errors have the standard codes"),
    R("0.3/a2a-errors", "0.3 §8.2", "A2A's errors SHOULD have A2A's codes"),
    R("0.3/push-unsupported", "0.3 §8.2", "Push notifications that are not there are -32003"),
    R("0.3/validation", "0.3 §10.2", "All parameters and parts MUST be validated"),
)

REQUIREMENTS: dict[str, Requirement] = {row.id: row for row in JSON_RPC + A2A_1_0 + A2A_0_3}
