"""Paths of the HTTP+JSON binding, and what stays free for others."""

from __future__ import annotations

from typing import Any

import pytest

from agent.http_json.paths import Paths, path_of

PATHS = Paths(["acme", "über"])

OPERATIONS_1_0 = {
    "/message:send": {"POST": "send"},
    "/message:stream": {"POST": "stream"},
    "/tasks": {"GET": "list"},
    "/tasks/a": {"GET": "get", "DELETE": "delete"},
    "/tasks/a:cancel": {"POST": "cancel"},
    "/tasks/a:subscribe": {"GET": "subscribe", "POST": "subscribe"},
    "/tasks/a/pushNotificationConfigs": {"GET": "list_push_configs", "POST": "create_push_config"},
    "/tasks/a/pushNotificationConfigs/b": {
        "GET": "get_push_config",
        "DELETE": "delete_push_config",
    },
    "/contexts/a": {"DELETE": "delete_context"},
    "/extendedAgentCard": {"GET": "extended_card"},
}
OURS = ("/tasks/a", "/contexts/a", "/extendedAgentCard")
OPERATIONS_0_3 = {
    **{path: methods for path, methods in OPERATIONS_1_0.items() if path not in OURS},
    "/tasks/a": {"GET": "get"},
    "/card": {"GET": "extended_card"},
}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", OPERATIONS_1_0)
def test_the_paths_of_1_0(path: str, slash: str) -> None:
    target = PATHS.find(path + slash)
    assert target is not None
    assert (target.version, target.operations) == ("1.0", OPERATIONS_1_0[path])
    assert target.tenant == ""


@pytest.mark.parametrize("path", OPERATIONS_1_0)
def test_a_tenant_has_the_paths_again(path: str) -> None:
    target = PATHS.find(f"/acme{path}")
    assert target is not None
    assert (target.operations, target.tenant) == (OPERATIONS_1_0[path], "acme")


@pytest.mark.parametrize("path", OPERATIONS_1_0)
def test_another_tenant_has_nothing(path: str) -> None:
    target = PATHS.find(f"/other{path}")
    assert target is not None
    assert not target.operations


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", OPERATIONS_0_3)
def test_the_paths_of_0_3(path: str, slash: str) -> None:
    target = PATHS.find(f"/v1{path}{slash}")
    assert target is not None
    assert (target.version, target.operations) == ("0.3", OPERATIONS_0_3[path])


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/tasks/a%2Fb", {"task": "a/b"}),
        ("/tasks/a%20%C3%A9", {"task": "a é"}),
        ("/tasks/a:b", {"task": "a:b"}),
        ("/tasks/a:b:cancel", {"task": "a:b"}),
        ("/tasks/a:cancel:subscribe", {"task": "a:cancel"}),
        ("/tasks/a%3Acancel", {"task": "a"}),
        ("/tasks/%FF", {"task": "\ufffd"}),
        ("/tasks/a%2Fb/pushNotificationConfigs/c:d", {"task": "a/b", "config": "c:d"}),
        ("/contexts/a:b", {"context": "a:b"}),
        ("/message%3asend", {}),
        ("/%C3%BCber/tasks/a", {"task": "a"}),
    ],
)
def test_ids_are_decoded(path: str, ids: dict[str, str]) -> None:
    target = PATHS.find(path)
    assert target is not None
    assert target.operations
    assert target.ids == ids


@pytest.mark.parametrize(
    "path",
    [
        "/tasks/a/b",
        "/tasks/a/pushNotificationConfigs/b/c",
        "/message:sends",
        "/contexts",
        "/extendedAgentCard/x",
        "/v1/tasks/a/b",
        "/v1/message:x",
        "/v1/card/x",
        "/acme/tasks/a/b",
        "/tasks//",
    ],
)
def test_below_our_paths_nothing_else_is_found(path: str) -> None:
    target = PATHS.find(path)
    assert target is not None
    assert not target.operations


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a2a",
        "/acme",
        "/message",
        "/tasksx",
        "/.well-known/agent-card.json",
        "/v1/query",
        "/v1/models",
        "/v1/conversations/a",
        "/v1/contexts/a",
        "/v1/extendedAgentCard",
        "/v1/tasksx",
        "/v2/tasks",
        "/v1alpha/tasks/a",
        "/a2a/message:send",
        "/other/x/tasks",
        "/acme/card",
        "/v1/acme/tasks",
    ],
)
def test_other_paths_stay_free(path: str) -> None:
    assert PATHS.find(path) is None


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/tasks/a", ["DELETE", "GET", "HEAD", "OPTIONS"]),
        ("/tasks/a:subscribe", ["GET", "OPTIONS", "POST"]),
        ("/message:send", ["OPTIONS", "POST"]),
    ],
)
def test_a_path_knows_its_methods(path: str, methods: list[str]) -> None:
    target = PATHS.find(path)
    assert target is not None
    assert target.methods == methods


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/tasks/a/b", "raw_path": b"/tasks/a%2Fb"}, "/tasks/a%2Fb"),
        ({"path": "/tasks/a b"}, "/tasks/a%20b"),
        ({"path": "/r/tasks", "raw_path": b"/r/tasks", "root_path": "/r"}, "/tasks"),
        ({"path": "/rx/tasks", "raw_path": b"/rx/tasks", "root_path": "/r"}, "/rx/tasks"),
    ],
)
def test_the_path_is_taken_as_it_was_sent(scope: dict[str, Any], path: str) -> None:
    assert path_of(scope) == path
