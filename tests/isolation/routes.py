"""The routes that the code says that there are, and which of them take ids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter
from starlette.routing import Route

from agent.app import RPC_PATHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

    from agent.auth.gate import Gate
    from agent.engine import Engine
    from agent.experimental import Experimental
    from agent.settings import Settings
    from tests.isolation.cases import Json

_JSON_RPC = {("POST", path) for path in RPC_PATHS}
_ID = re.compile(
    r"(?:^|[_-])(?:uu)?ids?$|^(?:previous_)?conversation$|^(?:finetuned_)?model$", re.IGNORECASE
)


def a2a_routes(app: Starlette) -> set[str]:
    """Return the routes beside the bindings; JSON-RPC is a surface of its own."""
    return {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD" and (method, route.path) not in _JSON_RPC
    }


def rest_of(app: Starlette) -> Any:
    """Return the application of the REST layer."""
    apart: Any = app.router.default
    return apart.others.app


class Parts(NamedTuple):
    """What the application of Llama Stack's experimental API is made of."""

    settings: Settings
    gate: Gate
    engine: Engine
    experimental: Experimental


def llama_stack_of(app: Starlette) -> Any:
    """Return the application of Llama Stack's experimental API."""
    apart: Any = app.router.default
    (one,) = set(apart.apps.values())
    return one.app


def parts_of(app: Starlette) -> Parts:
    """Return what that application works with."""
    apart: Any = app.router.default
    (one,) = set(apart.apps.values())
    return Parts(*one._make.args)


def rest_routes(app: Any) -> set[str]:
    """Return the routes of the REST layer."""
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if method != "HEAD"
    }


def taking_ids(app: Any) -> set[str]:
    """Return the routes of the REST layer that take ids, by the names of what they take."""
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if "{" in str(route.path) or _takes_id(route)
    }


def _takes_id(route: Any) -> bool:
    """Tell whether a name in the query, the headers or the body, however deep, is that of an id."""
    if not isinstance(route.original_route, APIRoute):
        return False
    fields = list(_fields(route.dependant))
    schemas = [TypeAdapter(field.field_info.annotation).json_schema() for field in fields]
    names = [*(field.alias for field in fields), *_members(schemas)]
    return any(_ID.search(name) for name in names)


def _fields(dependant: Any) -> Iterator[Any]:
    """Return what a route takes, and what that which it depends on takes."""
    yield from dependant.query_params
    yield from dependant.header_params
    yield from dependant.cookie_params
    yield from dependant.body_params
    for each in dependant.dependencies:
        yield from _fields(each)


def _members(schema: Json) -> Iterator[str]:
    """Return the names of the members of all objects that a JSON schema has anywhere."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
    parts = schema.values() if isinstance(schema, dict) else schema
    for part in parts:
        if isinstance(part, dict | list):
            yield from _members(part)
