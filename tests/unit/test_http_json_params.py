"""Path, query and body become parameters; what is wrong in them is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.errors import InvalidParams, InvalidRequest, ParseError
from agent.http_json.params import check_body, from_body, from_query, next_page, query_of, single
from agent.http_json.paths import Paths, Target

PATHS = Paths(["acme"])


def target(path: str) -> Target:
    found = PATHS.find(path)
    assert found is not None
    return found


def queried(operation: str, path: str, query: str = "") -> Any:
    return json.loads(from_query(operation, target(path), query_of(query.encode())))


def posted(operation: str, path: str, body: Any = None) -> Any:
    content = b"" if body is None else json.dumps(body).encode()
    return json.loads(from_body(operation, target(path), content))


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("historyLength=3", {"historyLength": 3}),
        ("history_length=3", {"historyLength": 3}),
        ("historyLength=-1", {"historyLength": -1}),
        ("historyLength=", {}),
        ("historyLength=3&historyLength=3", {"historyLength": 3}),
        ("nonsense=1&pageSize=x", {}),
        ("tenant=acme", {"tenant": "acme"}),
    ],
)
def test_the_query_of_get(query: str, values: dict[str, Any]) -> None:
    assert queried("get", "/tasks/a", query) == {"id": "a", **values}


def test_the_query_of_list() -> None:
    query = (
        "contextId=c%20d&status=TASK_STATE_WORKING&page_size=7&pageToken=p&historyLength=0"
        "&statusTimestampAfter=2026-01-31T12:00:00%2B01:00&includeArtifacts=true"
    )
    assert queried("list", "/tasks", query) == {
        "contextId": "c d",
        "status": "TASK_STATE_WORKING",
        "pageSize": 7,
        "pageToken": "p",
        "historyLength": 0,
        "statusTimestampAfter": "2026-01-31T12:00:00+01:00",
        "includeArtifacts": True,
    }


def test_a_plus_sign_in_a_moment_need_not_be_encoded() -> None:
    values = queried("list", "/tasks", "statusTimestampAfter=2026-01-31T12:00:00+01:00")
    assert values["statusTimestampAfter"] == "2026-01-31T12:00:00+01:00"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=ten", "pageSize"),
        ("pageSize=1.5", "pageSize"),
        ("page_size=%D9%A3", "pageSize"),
        ("pageSize=" + "9" * 5000, "pageSize"),
        ("includeArtifacts=True", "includeArtifacts"),
        ("includeArtifacts=1", "includeArtifacts"),
        ("status=a&status=b", "status"),
        ("pageSize=1&page_size=2", "pageSize"),
    ],
)
def test_a_wrong_query_is_named(query: str, field: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        queried("list", "/tasks", query)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("operation", "path", "values"),
    [
        ("get", "/tasks/a%2Fb", {"id": "a/b"}),
        ("get", "/acme/tasks/a", {"id": "a", "tenant": "acme"}),
        ("list", "/acme/tasks", {"tenant": "acme"}),
        ("subscribe", "/tasks/a:subscribe", {"id": "a"}),
        ("list_push_configs", "/tasks/a/pushNotificationConfigs", {"taskId": "a"}),
        ("get_push_config", "/tasks/a/pushNotificationConfigs/b", {"taskId": "a", "id": "b"}),
        ("delete_push_config", "/tasks/a/pushNotificationConfigs/b", {"taskId": "a", "id": "b"}),
        ("delete_context", "/contexts/c", {"id": "c"}),
        ("extended_card", "/extendedAgentCard", {}),
        ("list_push_configs", "/v1/tasks/a/pushNotificationConfigs", {"id": "a"}),
        (
            "get_push_config",
            "/v1/tasks/a/pushNotificationConfigs/b",
            {"id": "a", "pushNotificationConfigId": "b"},
        ),
    ],
)
def test_the_path_names_what_is_asked_for(
    operation: str, path: str, values: dict[str, Any]
) -> None:
    assert queried(operation, path) == values


def test_the_page_of_push_configurations_is_in_the_query() -> None:
    path = "/tasks/a/pushNotificationConfigs"
    assert queried("list_push_configs", path, "pageSize=2&pageToken=x") == {
        "taskId": "a",
        "pageSize": 2,
        "pageToken": "x",
    }


def test_a_message_is_not_touched() -> None:
    body = b' {"message": 1e400, "other": "\\u0000"}'
    assert from_body("send", target("/message:send"), body) is body


@pytest.mark.parametrize(
    ("operation", "path", "body", "values"),
    [
        ("send", "/acme/message:send", {"message": {}}, {"message": {}, "tenant": "acme"}),
        ("send", "/acme/message:send", {"tenant": "acme"}, {"tenant": "acme"}),
        ("stream", "/acme/message:stream", {"tenant": ""}, {"tenant": "acme"}),
        ("cancel", "/tasks/a:cancel", None, {"id": "a"}),
        ("cancel", "/tasks/a:cancel", {"id": "a", "metadata": {}}, {"id": "a", "metadata": {}}),
        ("cancel", "/acme/tasks/a:cancel", {}, {"id": "a", "tenant": "acme"}),
        ("cancel", "/v1/tasks/a:cancel", {"name": "tasks/a"}, {"id": "a", "name": "tasks/a"}),
        (
            "create_push_config",
            "/tasks/a/pushNotificationConfigs",
            {"url": "u", "task_id": "a"},
            {"url": "u", "taskId": "a"},
        ),
    ],
)
def test_the_path_completes_the_body(
    operation: str, path: str, body: Any, values: dict[str, Any]
) -> None:
    assert posted(operation, path, body) == values


CONFIG = {"url": "https://example.com"}
PROTO_CONFIG = {"name": "tasks/a/pushNotificationConfigs/b", "pushNotificationConfig": CONFIG}


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (
            {"config": {"taskId": "a", "pushNotificationConfig": CONFIG}},
            {"taskId": "a", "pushNotificationConfig": CONFIG},
        ),
        ({"pushNotificationConfig": CONFIG}, {"taskId": "a", "pushNotificationConfig": CONFIG}),
        (CONFIG, {"taskId": "a", "pushNotificationConfig": CONFIG}),
        ({}, {"taskId": "a"}),
        (
            {"parent": "tasks/a", "configId": "b", "config": PROTO_CONFIG},
            {"parent": "tasks/a", "configId": "b", "config": PROTO_CONFIG},
        ),
        (
            {"config_id": "b", "config": {"push_notification_config": CONFIG}},
            {
                "parent": "tasks/a",
                "config_id": "b",
                "config": {"push_notification_config": CONFIG},
            },
        ),
        ({"config": PROTO_CONFIG}, {"parent": "tasks/a", "config": PROTO_CONFIG}),
        (PROTO_CONFIG, {"parent": "tasks/a", "config": PROTO_CONFIG}),
    ],
)
def test_a_push_configuration_of_0_3_comes_in_several_shapes(
    body: dict[str, Any], values: dict[str, Any]
) -> None:
    posted_ = posted("create_push_config", "/v1/tasks/a/pushNotificationConfigs", body)
    assert {name: posted_[name] for name in values} == values


@pytest.mark.parametrize(
    ("operation", "path", "body", "field"),
    [
        ("send", "/acme/message:send", {"tenant": "other"}, "tenant"),
        ("cancel", "/tasks/a:cancel", {"id": "b"}, "id"),
        ("cancel", "/tasks/a:cancel", {"id": ["a"]}, "id"),
        ("cancel", "/tasks/a:cancel", [], "body"),
        ("cancel", "/v1/tasks/a:cancel", {"name": "tasks/b"}, "name"),
        ("create_push_config", "/tasks/a/pushNotificationConfigs", {"taskId": "b"}, "taskId"),
        ("create_push_config", "/tasks/a/pushNotificationConfigs", {"task_id": "b"}, "taskId"),
        ("create_push_config", "/v1/tasks/a/pushNotificationConfigs", {"config": 1}, "config"),
        (
            "create_push_config",
            "/v1/tasks/a/pushNotificationConfigs",
            {"config": {"taskId": "b", "pushNotificationConfig": CONFIG}},
            "taskId",
        ),
        (
            "create_push_config",
            "/v1/tasks/a/pushNotificationConfigs",
            {"parent": "tasks/b", "config": PROTO_CONFIG},
            "parent",
        ),
        (
            "create_push_config",
            "/v1/tasks/c/pushNotificationConfigs",
            {"config": PROTO_CONFIG},
            "config.name",
        ),
    ],
)
def test_a_body_that_contradicts_the_path_is_refused(
    operation: str, path: str, body: Any, field: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        posted(operation, path, body)
    assert caught.value.field == field


@pytest.mark.parametrize("body", [b"{", b'{"id": }', b"nonsense", b'{"id": "\\x"}'])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError):
        from_body("cancel", target("/tasks/a:cancel"), body)


def test_a_body_must_be_utf_8() -> None:
    with pytest.raises(ParseError):
        check_body(b'{"a":"\xff"}')


def test_a_body_must_not_be_nested_too_deeply() -> None:
    check_body(b'{"a":' + b"[" * 99 + b"]" * 99 + b"}")
    with pytest.raises(InvalidRequest):
        check_body(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_a_parameter_has_one_value() -> None:
    assert single(query_of(b"shape=proto&shape=proto"), "shape") == "proto"
    assert single(query_of(b""), "shape") is None


def test_the_next_page_is_the_same_query_with_another_token() -> None:
    link = next_page(b"contextId=a%20b&page_token=old&pageSize=2", "new+")
    assert link == '<?contextId=a+b&pageSize=2&pageToken=new%2B>; rel="next"'
