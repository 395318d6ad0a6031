"""A2A 1.0, sections 3.3 to 3.7, 4.6, 5 and 7: what holds for all operations."""

from __future__ import annotations

from tests.conformance._requirements.row import CARD, HTTP_JSON, JSON_RPC, SERVER
from tests.conformance._requirements.row import Requirement as Row

ROWS = (
    Row("1.0/get-idempotent", "1.0 §3.3.1", "Reading changes nothing"),
    Row("1.0/send-repeated", "1.0 §3.3.1", "Sending MAY be idempotent by the messageId"),
    Row("1.0/validation", "1.0 §3.3.2, §13.4", "All parameters MUST be validated"),
    Row("1.0/validation-field", "1.0 §3.3.2", "The parameter that is wrong SHOULD be named"),
    Row("1.0/not-yours", "1.0 §3.3.2, §13.1", "Another's task MUST be answered as not found"),
    Row("1.0/indistinguishable", "1.0 §3.3.2", "Not there and not yours SHOULD be the same"),
    Row("1.0/error-content", "1.0 §3.3.2", "Errors MUST have a code and a message"),
    Row("1.0/error-details", "1.0 §3.3.2", "Each of an error's details MUST have its @type"),
    Row("1.0/error-well-known", "1.0 §3.3.2", "Details SHOULD be of the google.rpc types"),
    Row(
        "1.0/internal-error", "1.0 §3.3.2", "A fault of ours is an internal error, without its text"
    ),
    Row("1.0/errors-logged", "1.0 §3.3.2", "System errors SHOULD be logged", (SERVER,)),
    Row("1.0/temporary", "1.0 §3.3.2, §13.4", "Exceeded limits SHOULD be told as temporary"),
    Row("1.0/push-unsupported", "1.0 §3.3.4", "Push notifications MUST be refused if not declared"),
    Row(
        "1.0/extended-card-undeclared", "1.0 §3.3.4", "An undeclared extended card MUST be refused"
    ),
    Row("1.0/extension-required", "1.0 §3.3.4", "A required extension MUST be asked for"),
    Row("1.0/context-generated", "1.0 §3.4.1", "A generated contextId MUST be in the response"),
    Row("1.0/context-kept", "1.0 §3.4.1", "A client's contextId is preserved"),
    Row("1.0/context-refused", "1.0 §3.4.1", "A contextId that is not accepted MUST be refused"),
    Row("1.0/context-session", "1.0 §3.4.1, §3.4.3", "One contextId SHOULD be one conversation"),
    Row("1.0/task-id", "1.0 §3.4.2", "Each new task MUST have a unique id, in the response"),
    Row("1.0/context-inferred", "1.0 §3.4.3", "contextId MUST be inferred from taskId"),
    Row("1.0/context-mismatch", "1.0 §3.4.3", "A contextId other than the task's MUST be refused"),
    Row("1.0/input-required", "1.0 §3.4.3", "A message with the taskId continues a waiting task"),
    Row(
        "1.0/context-new-task",
        "1.0 §3.4.3",
        "A contextId without taskId starts a new task",
        deviation="When exactly one task of the context waits for input, the message resumes it.",
    ),
    Row("1.0/reference-tasks", "1.0 §3.4.3", "referenceTaskIds SHOULD be used to understand"),
    Row("1.0/stream-order", "1.0 §3.5.2", "Events MUST arrive in the order of their making"),
    Row(
        "1.0/streams-same", "1.0 §3.5.2", "All streams of a task MUST have the same events in order"
    ),
    Row("1.0/streams-apart", "1.0 §3.5.2", "Closing one stream MUST NOT affect the others"),
    Row("1.0/stream-apart", "1.0 §3.5.2", "The life of a task is independent of any stream's"),
    Row("1.0/version-patch", "1.0 §3.6", "Patch versions MUST NOT be considered"),
    Row("1.0/version-card", "1.0 §3.6", "Patch versions SHOULD NOT be on the card", (CARD,)),
    Row("1.0/version-unknown", "1.0 §3.6.2", "An unsupported version MUST be VersionNotSupported"),
    Row(
        "1.0/version-query",
        "1.0 §3.6.1",
        "The version may be a request parameter",
        (JSON_RPC, HTTP_JSON),
    ),
    Row(
        "1.0/version-semantics",
        "1.0 §3.6.2",
        "A request MUST be processed by the version it names",
        deviation="Method names, paths and services of the versions differ, and pick the version; "
        "a2a.strict_version refuses those of the other one.",
    ),
    Row(
        "1.0/version-empty",
        "1.0 §3.6.2",
        "No version MUST be read as 0.3",
        deviation="A 1.0 method without A2A-Version is served as 1.0; "
        "a2a.strict_version turns that off.",
    ),
    Row("1.0/artifacts", "1.0 §3.7", "Results SHOULD be artifacts, not messages"),
    Row("1.0/history", "1.0 §3.7", "The history holds the messages of the task"),
    Row("1.0/data-model", "1.0 §4", "Objects MUST be those of the data model"),
    Row("1.0/agent-message", "proto Message", "The agent's messages MUST have a contextId"),
    Row("1.0/artifact-id", "proto Artifact", "The artifacts of a task have an id each"),
    Row("1.0/artifact-append", "proto TaskArtifactUpdateEvent", "append continues an artifact"),
    Row("1.0/artifact-last", "proto TaskArtifactUpdateEvent", "lastChunk is on the last chunk"),
    Row("1.0/tenant", "proto AgentInterface.tenant", "A request goes to the tenant it names"),
    Row("1.0/extension-declared", "1.0 §4.6.1", "Extensions are declared on the card", (CARD,)),
    Row("1.0/extension-chosen", "1.0 §4.6.1", "A2A-Extensions opts in; what is used is echoed"),
    Row("1.0/extension-unknown", "1.0 §4.6.3", "Unknown extensions SHOULD be ignored"),
    Row("1.0/extension-exact", "1.0 §4.6.3", "Another version of an extension MUST NOT stand in"),
    Row("1.0/extension-data", "1.0 §4.6.2", "Messages and artifacts carry an extension's data"),
    Row("1.0/same-operations", "1.0 §5.1", "Every binding MUST have every operation"),
    Row("1.0/same-results", "1.0 §5.1", "Every binding MUST answer the same in meaning"),
    Row("1.0/same-errors", "1.0 §5.1", "Every binding MUST map errors consistently"),
    Row("1.0/method-names", "1.0 §5.3", "Operations have the names of the mapping"),
    Row("1.0/error-task-not-found", "1.0 §5.4", "-32001, 404, NOT_FOUND"),
    Row("1.0/error-task-not-cancelable", "1.0 §5.4", "-32002, 400, FAILED_PRECONDITION"),
    Row("1.0/error-push", "1.0 §5.4", "No push notifications: -32003, 400, FAILED_PRECONDITION"),
    Row("1.0/error-unsupported", "1.0 §5.4", "-32004, 400, FAILED_PRECONDITION"),
    Row("1.0/error-content-type", "1.0 §5.4", "-32005, 400, INVALID_ARGUMENT"),
    Row(
        "1.0/error-agent-response",
        "1.0 §5.4",
        "An agent's invalid response: -32006, 500, INTERNAL",
        gap="A stack's answer that is not understood fails the task, which says so: "
        "at that time there is a task, and its state is the place for it.",
    ),
    Row(
        "1.0/error-extended-card",
        "1.0 §5.4",
        "No extended card configured: -32007, 400, FAILED_PRECONDITION",
        gap="The card declares an extended card exactly when there is one, so nobody meets it.",
    ),
    Row("1.0/error-extension", "1.0 §5.4", "-32008, 400, FAILED_PRECONDITION"),
    Row("1.0/error-version", "1.0 §5.4", "-32009, 400, FAILED_PRECONDITION"),
    Row("1.0/required", "1.0 §5.7", "Messages without required fields SHOULD be rejected"),
    Row("1.0/not-empty", "1.0 §5.7", "Required arrays MUST have an element"),
    Row(
        "1.0/unknown-fields", "1.0 §5.7", "Unknown fields SHOULD be ignored", (JSON_RPC, HTTP_JSON)
    ),
    Row("1.0/camel-case", "1.0 §5.5", "Field names MUST be camelCase", (JSON_RPC, HTTP_JSON)),
    Row("1.0/enums", "1.0 §5.5", "Enums MUST be their names in the proto", (JSON_RPC, HTTP_JSON)),
    Row("1.0/timestamps", "1.0 §5.6.1", "Times MUST be UTC and SHOULD have milliseconds"),
    Row("1.0/auth-required", "1.0 §7.6.1", "Missing credentials MUST be AUTH_REQUIRED, explained"),
    Row("1.0/auth-messages", "1.0 §7.6.1", "A task in AUTH_REQUIRED SHOULD take messages"),
    Row(
        "1.0/auth-stream",
        "1.0 §7.6.1",
        "The stream SHOULD stay open in AUTH_REQUIRED",
        deviation="It ends, as at every interrupted state; SubscribeToTask waits with the task.",
    ),
)
