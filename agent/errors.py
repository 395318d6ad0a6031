"""The one error tree.

Everything the server can say went wrong is an ``AgentError``. Errors are translated inward where a
foreign error is met (a stack, the database) and outward once per wire (JSON-RPC in ``rpc_answer``,
task states in ``executor``, exit codes in ``cli``). The message of an ``AgentError`` is written for
the caller: it never holds the text of another exception, which stays in ``__cause__`` for the log.

    AgentError
    ├── RequestError            the caller's message cannot be served as sent
    │   ├── ParseError  InvalidRequest  MethodNotFound  InvalidParams
    │   ├── TaskNotFound  TaskNotCancelable  UnsupportedOperation
    │   ├── ContentTypeNotSupported  WrongContentType
    │   ├── PushNotificationNotSupported  ExtendedCardNotConfigured  ExtensionSupportRequired
    │   ├── VersionNotSupported  PayloadTooLarge  TooManyTasks  KeyReused
    │   └── ServerStopping  StreamEnded
    ├── StackError              what the turn runs on failed
    │   └── StackUnavailable  StackTimeout  ModelNotFound  TurnFailed  InvalidAgentResponse
    ├── StateError              what we remember cannot be read or written
    │   └── StateUnavailable  TaskTaken
    └── SettingsError           the configuration is wrong; names the path of the key
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence


class AgentError(Exception):
    """The server could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        """Use the class docstring as message when none is given."""
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class RequestError(AgentError):
    """The request cannot be served as sent."""


class ParseError(RequestError):
    """The body is not valid JSON."""


class InvalidRequest(RequestError):
    """The body is not a valid JSON-RPC 2.0 request."""


class MethodNotFound(RequestError):
    """This method does not exist."""


class InvalidParams(RequestError):
    """A parameter is missing or has a wrong value."""

    def __init__(self, field: str, problem: str) -> None:
        """``field`` is the path of the parameter on the wire, such as ``message.parts[0].text``."""
        self.field = field
        self.problem = problem
        super().__init__(f"Invalid parameter {field}: {problem}")


class TaskNotFound(RequestError):
    """There is no such task."""


class TaskNotCancelable(RequestError):
    """The task has ended and cannot be canceled."""


class UnsupportedOperation(RequestError):
    """This agent does not support the operation."""


class ContentTypeNotSupported(RequestError):
    """The content type is not supported."""


class WrongContentType(ContentTypeNotSupported):
    """The Content-Type must be application/json or application/a2a+json."""


class PushNotificationNotSupported(RequestError):
    """This agent does not send push notifications."""


class ExtendedCardNotConfigured(RequestError):
    """This agent has no extended card."""


class ExtensionSupportRequired(RequestError):
    """The agent requires an extension that the request does not name."""


class VersionNotSupported(RequestError):
    """This A2A protocol version is not supported."""


class PayloadTooLarge(RequestError):
    """The request is larger than this server accepts."""


class TooManyTasks(RequestError):
    """Too many tasks are running; try again later."""

    def __init__(self, retry_after: int) -> None:
        """``retry_after`` is in seconds."""
        self.retry_after = retry_after
        super().__init__()


class KeyReused(RequestError):
    """The Idempotency-Key was used for another request."""


class ServerStopping(RequestError):
    """The server is stopping; try again soon."""

    def __init__(self, retry_after: int, message: str | None = None) -> None:
        """``retry_after`` is in seconds."""
        self.retry_after = retry_after
        super().__init__(message)


class StreamEnded(RequestError):
    """The stream ends here, the task goes on: subscribe with the last event's id as Last-Event-ID."""


class StackError(AgentError):
    """The stack behind this agent failed."""


class StackUnavailable(StackError):
    """The stack behind this agent cannot be reached."""


class StackTimeout(StackError):
    """The stack behind this agent did not answer in time."""


class ModelNotFound(StackError):
    """The stack behind this agent does not know the model."""


class TurnFailed(StackError):
    """The turn ended with an error."""


class InvalidAgentResponse(StackError):
    """The stack behind this agent answered with something that is not understood."""


class StateError(AgentError):
    """What this server remembers could not be read or written."""


class StateUnavailable(StateError):
    """The state database cannot be reached."""


class TaskTaken(StateError):
    """Another message is already going on with this task."""


class SettingsError(AgentError):
    """The configuration is wrong."""

    def __init__(self, path: str, problem: str) -> None:
        """``path`` is the dotted path of the key, as in ``llama_stack.url``; empty for a file."""
        self.problems: tuple[tuple[str, str], ...] = ((path, problem),)
        super().__init__(f"{path}: {problem}" if path else problem)

    @classmethod
    def of(cls, problems: Sequence[tuple[str, str]]) -> Self:
        """All ``problems`` as one error, a line for each; there must be at least one."""
        error = cls(*problems[0])
        error.problems = tuple(problems)
        error.message = "\n".join(cls(*problem).message for problem in problems)
        error.args = (error.message,)
        return error
