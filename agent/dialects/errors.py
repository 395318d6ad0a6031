"""AgentError -> JSON-RPC code and reason: one table for both versions (1.0 section 5.4, 0.3 section 8)."""

from __future__ import annotations

from agent import errors

INTERNAL_ERROR = -32603
_INTERNAL = (INTERNAL_ERROR, "INTERNAL_ERROR")

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
    errors.Unauthenticated: (-32055, "UNAUTHENTICATED"),
    errors.PermissionDenied: (-32056, "PERMISSION_DENIED"),
    errors.QuotaExceeded: (-32057, "QUOTA_EXCEEDED"),
    errors.TooManyAttempts: (-32058, "TOO_MANY_ATTEMPTS"),
    errors.TooManyStreams: (-32059, "TOO_MANY_STREAMS"),
    errors.MalformedCredentials: (-32060, "MALFORMED_CREDENTIALS"),
    errors.IdentityUnavailable: (-32061, "IDENTITY_UNAVAILABLE"),
    errors.ResourceNotFound: (-32062, "RESOURCE_NOT_FOUND"),
    errors.KeyReused: (-32602, "KEY_REUSED"),
}


def error_code(error: errors.AgentError) -> int:
    """Return the JSON-RPC code; an error that callers should not know of is an internal error."""
    return (errors.by_kind(CODES, error) or _INTERNAL)[0]


def error_reason(error: errors.AgentError) -> str:
    """Return the reason of ``google.rpc.ErrorInfo``; an error of another surface may have one of its own."""
    own: str | None = getattr(error, "reason", None)
    return own or (errors.by_kind(CODES, error) or _INTERNAL)[1]
