"""AgentError -> JSON-RPC code and reason: one table for both versions (1.0 section 5.4, 0.3 section 8)."""

from __future__ import annotations

from agent import errors

INTERNAL_ERROR = -32603

# Codes from -32000 to -32099 that the specifications leave to the server: -32050 and below are ours.
CODES: dict[type[errors.AgentError], tuple[int, str]] = {
    errors.ParseError: (-32700, "PARSE_ERROR"),
    errors.InvalidRequest: (-32600, "INVALID_REQUEST"),
    errors.MethodNotFound: (-32601, "METHOD_NOT_FOUND"),
    errors.InvalidParams: (-32602, "INVALID_PARAMS"),
    errors.TaskNotFound: (-32001, "TASK_NOT_FOUND"),
    errors.TaskNotCancelable: (-32002, "TASK_NOT_CANCELABLE"),
    errors.PushNotificationNotSupported: (-32003, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
    errors.UnsupportedOperation: (-32004, "UNSUPPORTED_OPERATION"),
    # A task takes one message at a time.
    errors.TaskTaken: (-32004, "UNSUPPORTED_OPERATION"),
    errors.ContentTypeNotSupported: (-32005, "CONTENT_TYPE_NOT_SUPPORTED"),
    errors.WrongContentType: (-32005, "CONTENT_TYPE_NOT_SUPPORTED"),
    errors.InvalidAgentResponse: (-32006, "INVALID_AGENT_RESPONSE"),
    errors.ExtendedCardNotConfigured: (-32007, "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
    errors.ExtensionSupportRequired: (-32008, "EXTENSION_SUPPORT_REQUIRED"),
    errors.VersionNotSupported: (-32009, "VERSION_NOT_SUPPORTED"),
    errors.PayloadTooLarge: (-32050, "PAYLOAD_TOO_LARGE"),
    errors.TooManyTasks: (-32051, "TOO_MANY_TASKS"),
    errors.StateUnavailable: (-32052, "STATE_UNAVAILABLE"),
    errors.ServerStopping: (-32053, "SERVER_STOPPING"),
    errors.StreamEnded: (-32054, "STREAM_ENDED"),
    errors.KeyReused: (-32602, "KEY_REUSED"),
}


def error_code(error: errors.AgentError) -> int:
    """Return the JSON-RPC code; an error that callers should not know of is an internal error."""
    return CODES.get(type(error), (INTERNAL_ERROR, ""))[0]


def error_reason(error: errors.AgentError) -> str:
    """Return the reason of ``google.rpc.ErrorInfo``."""
    return CODES.get(type(error), (INTERNAL_ERROR, "INTERNAL_ERROR"))[1]
