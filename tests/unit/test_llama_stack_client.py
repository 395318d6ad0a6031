"""What the errors of the client and of HTTP mean to us."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from agent.errors import (
    InvalidAgentResponse,
    ModelNotFound,
    StackError,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
)
from agent.settings import Settings
from agent.stacks.client import ConversationLost, connect, meaning, translate, translating

if TYPE_CHECKING:
    from llama_stack_client import APIConnectionError, APIStatusError

REQUEST = httpx.Request("GET", "http://user:secret@stack/v1/models")


def answered(status: int, body: Any) -> APIStatusError:
    """Return the client's error for an answer."""
    from llama_stack_client import APIStatusError  # takes a second to import

    response = httpx.Response(status, json=body, request=REQUEST)
    return APIStatusError("secret", response=response, body=body)


def unanswered(cause: Exception) -> APIConnectionError:
    """Return the client's error for a request without an answer."""
    from llama_stack_client import APIConnectionError  # takes a second to import

    error = APIConnectionError(request=REQUEST)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (httpx.ConnectError("secret"), StackUnavailable),
        (httpx.ConnectTimeout("secret"), StackUnavailable),
        (httpx.ReadTimeout("secret"), StackTimeout),
        (httpx.ReadError("secret"), TurnFailed),
        (httpx.RemoteProtocolError("secret"), TurnFailed),
        (httpx.UnsupportedProtocol("secret"), StackUnavailable),
    ],
)
def test_a_request_without_an_answer_is_told_by_what_httpx_saw(
    cause: Exception, error: type[StackError]
) -> None:
    """Whether the client has wrapped it or not."""
    assert type(translate(cause)) is error
    assert type(translate(unanswered(cause))) is error


def test_a_request_without_any_known_cause_found_no_server() -> None:
    """The client says no more."""
    from llama_stack_client import APITimeoutError  # takes a second to import

    assert type(translate(unanswered(OSError("secret")))) is StackUnavailable
    assert type(translate(APITimeoutError(REQUEST))) is StackTimeout


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (
            400,
            {"detail": "Invalid value: Session 'x' not found or access denied."},
            ConversationLost,
        ),
        (400, {"detail": "Invalid value: Could not find agent info for x"}, ConversationLost),
        (404, {"error": {"message": "Conversation 'conv_1' not found."}}, ConversationLost),
        (404, {"detail": "Model 'x' not found."}, ModelNotFound),
        (400, {"error": {"detail": {"errors": []}}}, TurnFailed),
        (401, {"error": {"message": "secret"}}, StackUnavailable),
        (426, {"error": {"message": "secret"}}, StackUnavailable),
        (429, None, TurnFailed),
        (500, {"detail": "secret"}, TurnFailed),
        (503, "secret", StackUnavailable),
        (504, "secret", StackTimeout),
    ],
)
def test_an_answer_is_told_by_its_text_and_its_status(
    status: int, body: Any, error: type[StackError]
) -> None:
    """In our words: what the server says is for the log."""
    found = translate(answered(status, body))
    assert type(found) is error
    assert "secret" not in found.message


def test_what_cannot_be_decoded_is_not_understood() -> None:
    """It may be no Llama Stack at all."""
    assert type(translate(json.JSONDecodeError("secret", "", 0))) is InvalidAgentResponse


def test_translating_passes_what_is_not_the_clients() -> None:
    """Errors of ours stay, and bugs are not hidden."""
    with pytest.raises(ModelNotFound), translating():
        raise ModelNotFound
    with pytest.raises(AttributeError), translating():
        raise AttributeError


def test_translating_keeps_the_cause() -> None:
    """The log needs it."""
    cause = httpx.ReadTimeout("secret")
    with pytest.raises(StackTimeout) as raised, translating():
        raise cause
    assert raised.value.__cause__ is cause


def test_an_unknown_status_is_a_failed_turn() -> None:
    """There is always a class."""
    assert type(meaning(418, "")) is TurnFailed


def test_the_client_takes_no_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the settings say what is shown to the server."""
    monkeypatch.setenv("LLAMA_STACK_CLIENT_API_KEY", "from-the-environment")
    settings = Settings.model_validate({"llama_stack": {"url": "http://stack:1"}})
    assert connect(settings).auth_headers == {}


def test_a_turn_is_never_sent_twice() -> None:
    """A retry would run it again."""
    settings = Settings.model_validate({"llama_stack": {"url": "http://stack:1", "timeout": 7}})
    client = connect(settings)
    assert client.max_retries == 0
    assert client.timeout == httpx.Timeout(7.0)
