"""Path, query and body -> the parameters of an operation, in the JSON of a dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import msgspec

from agent.dialects.v0_3_proto_values import CONFIGS, TASKS
from agent.errors import InvalidParams, InvalidRequest, ParseError
from agent.http_json.paths import LATEST
from agent.nesting import too_deep
from agent.rpc_body import TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.http_json.paths import Target
    from agent.model import Json

_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_UPPER = re.compile("[A-Z]")

type Given = dict[str, msgspec.Raw]


def _integer(text: str, name: str) -> Json:
    if _INTEGER.fullmatch(text) is None:
        raise InvalidParams(name, "must be an integer")
    return int(text)


def _boolean(text: str, name: str) -> Json:
    if text not in {"true", "false"}:
        raise InvalidParams(name, "must be true or false")
    return text == "true"


def _moment(text: str, _name: str) -> Json:
    # A plus sign that was not percent-encoded arrives as a space.
    return text.replace(" ", "+")


def _text(text: str, _name: str) -> Json:
    return text


_LIST: dict[str, Callable[[str, str], Json]] = {
    "contextId": _text,
    "status": _text,
    "pageSize": _integer,
    "pageToken": _text,
    "historyLength": _integer,
    "statusTimestampAfter": _moment,
    "lastUpdatedAfter": _moment,
    "includeArtifacts": _boolean,
}
_QUERY: dict[str, dict[str, Callable[[str, str], Json]]] = {
    "get": {"historyLength": _integer},
    "list": _LIST,
    "list_push_configs": {"pageSize": _integer, "pageToken": _text},
}
_CONFIGS = frozenset(
    {"create_push_config", "get_push_config", "list_push_configs", "delete_push_config"}
)


def query_of(query: bytes) -> dict[str, list[str]]:
    """Return the parameters of a query by their camelCase names; what is empty counts as absent."""
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1")):
        given.setdefault(_camel(name), []).append(value)
    return given


def single(given: dict[str, list[str]], name: str) -> str | None:
    """Return the one value of a parameter; raises ``InvalidParams`` when it has several."""
    values = given.get(name, [])
    if len(set(values)) > 1:
        raise InvalidParams(name, "must be given once")
    return values[0] if values else None


def next_page(query: bytes, token: str) -> str:
    """Return a Link header's value for the same query with another page token (RFC 8288)."""
    kept = [
        (name, value)
        for name, value in parse_qsl(query.decode("latin-1"))
        if _camel(name) != "pageToken"
    ]
    return f'<?{urlencode([*kept, ("pageToken", token)])}>; rel="next"'


def from_query(operation: str, target: Target, given: dict[str, list[str]]) -> bytes:
    """Return the parameters of an operation whose request has no body.

    Parameters that the operation does not have are ignored. Raises ``InvalidParams``.
    """
    readers = {"tenant": _text, **_QUERY.get(operation, {})}
    values = {
        name: reader(text, name)
        for name, reader in readers.items()
        if (text := single(given, name)) is not None
    }
    return _encode(
        _merged({k: msgspec.Raw(_encode(v)) for k, v in values.items()}, operation, target)
    )


def from_body(operation: str, target: Target, body: bytes) -> bytes:
    """Return the parameters of an operation whose request may have a body.

    Raises ``InvalidParams`` where the body says something else than the path, ``ParseError`` when it
    is not JSON, ``InvalidRequest`` when it is nested too deeply.
    """
    if operation in {"send", "stream"} and not target.tenant:
        return body
    given = object_of(body) if body else {}
    if target.version != LATEST:
        if operation == "create_push_config":
            return _encode(_push_config(given, target.ids["task"]))
        check_same(given, "name", TASKS + target.ids["task"])
    return _encode(_merged(given, operation, target))


def check_body(body: bytes) -> None:
    """Raise for what no dialect may try to read."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise ParseError("The body is not valid UTF-8") from exc
    if too_deep(body):
        raise InvalidRequest(TOO_DEEP)


def object_of(body: bytes, name: str = "body") -> Given:
    """Return the members of a JSON object; raises ``ParseError``, or ``InvalidParams`` of ``name``."""
    try:
        return _decode_object(body)
    except msgspec.ValidationError as exc:
        raise InvalidParams(name, "must be an object") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ParseError from exc


def check_same(given: Given, name: str, value: str) -> None:
    """Raise ``InvalidParams`` when a member says something else than the path; empty is absent."""
    for said in (given.get(name), given.get(_snake(name))):
        if said is not None and _value(said) not in (None, "", value):
            raise InvalidParams(name, "is not the one of the path")


def _value(raw: msgspec.Raw) -> Json:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as exc:
        raise ParseError from exc


def _merged(given: Given, operation: str, target: Target) -> Given:
    of_path = {_name(operation, target, kind): value for kind, value in target.ids.items()}
    if target.tenant:
        of_path["tenant"] = target.tenant
    for name, value in of_path.items():
        check_same(given, name, value)
        given.pop(_snake(name), None)
        given[name] = msgspec.Raw(_encode(value))
    return given


def _name(operation: str, target: Target, kind: str) -> str:
    """Return what the parameters call an id of the path."""
    if target.version != LATEST:
        return "id" if kind == "task" else "pushNotificationConfigId"
    return "taskId" if kind == "task" and operation in _CONFIGS else "id"


def _push_config(given: Given, task_id: str) -> Given:
    """Return the parameters to create a configuration in 0.3, in the shape that they came in.

    The specification has ``{"config": {"taskId", "pushNotificationConfig"}}``, the Protocol Buffers
    file ``{"parent", "configId", "config": {"name", "pushNotificationConfig"}}``. The configuration
    alone is taken too.
    """
    config = _config(given)
    if is_proto_config(given):
        check_same(given, "parent", TASKS + task_id)
        _check_name(config, task_id)
        in_full = given if "config" in given else {"config": msgspec.Raw(_encode(config))}
        return in_full | {"parent": msgspec.Raw(_encode(TASKS + task_id))}
    check_same(config, "taskId", task_id)
    named = config.get("pushNotificationConfig", config.get("push_notification_config"))
    of_task = {"taskId": msgspec.Raw(_encode(task_id))}
    if named is not None:
        return of_task | {"pushNotificationConfig": named}
    return of_task | (
        {"pushNotificationConfig": msgspec.Raw(_encode(config))} if "url" in config else {}
    )


def is_proto_config(given: Given) -> bool:
    """Whether a request to create a configuration is in the shape of 0.3's Protocol Buffers file."""
    config = _config(given)
    return not given.keys().isdisjoint({"parent", "configId", "config_id"}) or "name" in config


def _config(given: Given) -> Given:
    return object_of(bytes(given["config"]), "config") if "config" in given else given


def _check_name(config: Given, task_id: str) -> None:
    name = _value(config["name"]) if "name" in config else ""
    if name and not (isinstance(name, str) and name.startswith(TASKS + task_id + CONFIGS)):
        raise InvalidParams("config.name", "is not of the task of the path")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _snake(name: str) -> str:
    return _UPPER.sub(lambda letter: f"_{letter[0].lower()}", name)
