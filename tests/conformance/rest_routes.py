"""Methods as HTTP+JSON has them: the verb, the path, and what goes into path, query and body."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from tests.conformance.wire import Json, Wire

_CONFIGS = "/tasks/{task}/pushNotificationConfigs"
ROUTES = {
    "send": ("POST", "/message:send"),
    "stream": ("POST", "/message:stream"),
    "get": ("GET", "/tasks/{task}"),
    "list": ("GET", "/tasks"),
    "cancel": ("POST", "/tasks/{task}:cancel"),
    "subscribe": ("POST", "/tasks/{task}:subscribe"),
    "create_push": ("POST", _CONFIGS),
    "get_push": ("GET", f"{_CONFIGS}/{{config}}"),
    "list_push": ("GET", _CONFIGS),
    "delete_push": ("DELETE", f"{_CONFIGS}/{{config}}"),
    "extended_card": ("GET", "/extendedAgentCard"),
}
# In 0.3 the body of these shows whether the text of the specification is spoken, or its proto.
_SHOWN = {"send", "stream", "create_push", "extended_card"}
_NAMES = {"taskId": "task", "pushNotificationConfigId": "config"}


class Request(NamedTuple):
    """One HTTP request; a body of None is none."""

    verb: str
    url: str
    body: Json


def request(wire: Wire, method: str, params: Json) -> Request:
    """Write a call; a tenant goes before the path."""
    (operation,) = [name for name, known in wire.methods.items() if known == method]
    verb, path = ROUTES[operation]
    if (wire.version, operation) == ("0.3", "extended_card"):
        path = "/card"
    rest = dict(params or {})
    tenant = rest.pop("tenant", "")
    ids: dict[str, str] = {}
    for name in [name for name in rest if name in {"id", *_NAMES} and "{" in path]:
        ids[_NAMES.get(name, "config" if "taskId" in rest or ids else "task")] = rest.pop(name)
    if operation == "create_push":
        # The id beside the task's is the configuration's own, and belongs into the body.
        rest |= {"id": ids["config"]} if "config" in ids else {}
        if wire.version == "0.3":
            rest = {"config": rest | {"taskId": ids["task"]}}
    prefix = "/v1" if wire.version == "0.3" else f"/{quote(tenant, safe='')}" if tenant else ""
    url = prefix + path.format(**{name: quote(value, safe="") for name, value in ids.items()})
    query = {} if verb == "POST" else {name: _text(value) for name, value in rest.items()}
    if wire.version == "0.3" and operation not in _SHOWN:
        query["shape"] = "specification"
    full = f"{url}?{urlencode(query)}" if query else url
    return Request(verb, full, rest if verb == "POST" else None)


def _text(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
