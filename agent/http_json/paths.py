"""Which operation a path and an HTTP method name (1.0 section 11.3, 0.3 section 3.5.6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec

from agent.dialects import v0_3_values, v1_0
from agent.settings.own import PATHS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Scope

LATEST = v1_0.VERSION
OLDER = v0_3_values.VERSION

type _Table = list[tuple[re.Pattern[str], Mapping[str, str]]]

# HTTP method -> operation. A verb comes before the task that it ends the name of.
_SHARED: dict[str, dict[str, str]] = {
    "/message:send": {"POST": "send"},
    "/message:stream": {"POST": "stream"},
    "/tasks": {"GET": "list"},
    "/tasks/{task}:cancel": {"POST": "cancel"},
    "/tasks/{task}:subscribe": {"GET": "subscribe", "POST": "subscribe"},
    "/tasks/{task}/pushNotificationConfigs": {
        "GET": "list_push_configs",
        "POST": "create_push_config",
    },
    "/tasks/{task}/pushNotificationConfigs/{config}": {
        "GET": "get_push_config",
        "DELETE": "delete_push_config",
    },
}
# To delete tasks and contexts is not in the specification.
_TEMPLATES_1_0 = _SHARED | {
    "/tasks/{task}": {"GET": "get", "DELETE": "delete"},
    "/contexts/{context}": {"DELETE": "delete_context"},
    "/extendedAgentCard": {"GET": "extended_card"},
}
_TEMPLATES_0_3 = _SHARED | {
    "/tasks/{task}": {"GET": "get"},
    "/card": {"GET": "extended_card"},
}
_OURS_1_0 = re.compile(r"/(?:message(?::|%3[Aa])[^/]*|tasks|contexts|extendedAgentCard)(?:/.*)?")
_OURS_0_3 = re.compile(r"/(?:message(?::|%3[Aa])[^/]*|tasks|card)(?:/.*)?")


class Target(msgspec.Struct, frozen=True):
    """What a path names: ``operations`` by HTTP method, none where there is nothing.

    ``ids`` are those of the path, percent-decoded: ``task``, ``config`` and ``context``.
    """

    version: str
    operations: Mapping[str, str]
    ids: dict[str, str]
    tenant: str = ""

    @property
    def methods(self) -> list[str]:
        """The HTTP methods that there are; a stream has no HEAD."""
        has_head = self.operations.get("GET", "subscribe") != "subscribe"
        return sorted({*self.operations, "OPTIONS", *(("HEAD",) if has_head else ())})


class Paths:
    """The paths of this binding; whatever else there is belongs to others."""

    def __init__(self, tenants: Iterable[str]) -> None:
        """Each of ``tenants`` has the paths of 1.0 again, below its name."""
        self._tenants = frozenset(tenants)

    def find(self, path: str) -> Target | None:
        """Return what a path names, as it stands in the request; None when it is not of this binding."""
        if path.startswith("/v1/"):
            return _match(_TABLE_0_3, _OURS_0_3, path[3:], OLDER)
        found = _match(_TABLE_1_0, _OURS_1_0, path, LATEST)
        if found is not None:
            return found
        tenant, slash, rest = path[1:].partition("/")
        tenant = unquote(tenant)
        if not slash or tenant in PATHS:
            return None
        found = _match(_TABLE_1_0, _OURS_1_0, f"/{rest}", LATEST, tenant)
        if found is None or tenant in self._tenants:
            return found
        return msgspec.structs.replace(found, operations={}) if found.operations else None


def path_of(scope: Scope) -> str:
    """Return the path below the server's root, still percent-encoded: ids may hold any character."""
    raw = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.decode("latin-1")
    root = quote(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _match(
    table: _Table, ours: re.Pattern[str], path: str, version: str, tenant: str = ""
) -> Target | None:
    if ours.fullmatch(path) is None:
        return None
    for pattern, operations in table:
        if match := pattern.fullmatch(path):
            ids = {name: unquote(value) for name, value in match.groupdict().items()}
            return Target(version, operations, ids, tenant)
    return Target(version, {}, {}, tenant)


def _compiled(templates: Mapping[str, Mapping[str, str]]) -> _Table:
    """A colon may be percent-encoded, and a slash at the end is forgiven."""
    return [
        (
            re.compile(
                re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)).replace(
                    ":", "(?::|%3[Aa])"
                )
                + "/?"
            ),
            operations,
        )
        for template, operations in templates.items()
    ]


_TABLE_1_0 = _compiled(_TEMPLATES_1_0)
_TABLE_0_3 = _compiled(_TEMPLATES_0_3)
