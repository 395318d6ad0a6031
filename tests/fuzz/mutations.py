"""Valid JSON -> JSON that is wrong somewhere, or not JSON any more: strategies of hypothesis."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from tests.fuzz.served import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.conformance.wire import Json

    type Container = dict[str, Any] | list[Any]
    type Draw = Callable[[st.SearchStrategy[Any]], Any]


class Verbatim(NamedTuple):
    """JSON, or nearly, as it is to be written."""

    text: str


class Twice(NamedTuple):
    """An object that has members of the same name."""

    members: list[tuple[str, Json]]


def _nested(levels: int) -> Verbatim:
    return Verbatim("[" * levels + "]" * levels)


ODD: list[Json] = [
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 10**9, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1),
    *(Verbatim(text) for text in ("1e999", "-1e999", "1" * 400, "0.1e-400", "NaN", "Infinity")),
    *(Verbatim(text) for text in ("01", "1.", "+1", "nul", "'x'", '"\t"', '"\\x"', "")),
    *(Verbatim(f'"{text}"') for text in ("\\ud800", "\\udc00\\ud800", "\\ud83d", "\\u0000a")),
    *("", " ", "\0", "\x7f", "\u202e", "\ufeff", "🚀", "é", "\n", "a" * 300, "b" * 20_000),
    *("ROLE_USER", "user", "ROLE_UNSPECIFIED", "TASK_STATE_WORKING", "working", "TASK_STATE_X"),
    *("../..", "%00", "a/b", "$.a", "'; DROP TABLE tasks", "{}", "null", "true", "1", "-1"),
    *("2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "now"),
    *("a=b", "aGVsbG8", "!!!!", "text/plain", "*/*", "text", "http://[", "ftp://x/", "http:///"),
    *([], {}, [[]], [{}], {"": ""}, [None], {"a": {"b": {"c": []}}}, ["x"] * 200),
    *(_nested(levels) for levels in (60, 99, 101, 5_000, 100_000)),
    *NAMES,
]
NAMES_OF_MEMBERS = (
    *("jsonrpc", "method", "id", "params", "message", "messageId", "message_id", "role", "parts"),
    *("text", "data", "raw", "url", "file", "kind", "taskId", "task_id", "contextId", "metadata"),
    *("configuration", "blocking", "returnImmediately", "historyLength", "tenant", "pageSize"),
    *("__proto__", "", "\0", "$ref", "@type", "unknown"),
)

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)


def any_of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Draw one of many values: by its place, as hypothesis would write all of them down."""
    return st.integers(0, len(values) - 1).map(lambda place: deepcopy(values[place]))


odd_values = any_of(ODD) | json_values


def written(value: Json, *, ascii_only: bool = False) -> str:
    """Write JSON."""
    if isinstance(value, Verbatim):
        return value.text
    if isinstance(value, Twice):
        return _object(value.members, ascii_only)
    if isinstance(value, dict):
        return _object(list(value.items()), ascii_only)
    if isinstance(value, list):
        return f"[{','.join(written(item, ascii_only=ascii_only) for item in value)}]"
    return json.dumps(value, ensure_ascii=ascii_only)


def _object(members: list[tuple[str, Json]], ascii_only: bool) -> str:
    said = (
        f"{json.dumps(name, ensure_ascii=ascii_only)}:{written(value, ascii_only=ascii_only)}"
        for name, value in members
    )
    return f"{{{','.join(said)}}}"


@st.composite
def mutated(draw: Draw, values: st.SearchStrategy[Json]) -> Json:
    """Draw one of ``values``, and change it in some places."""
    value = {"": deepcopy(draw(values))}
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(value))
        # Mostly within: a request that is none is refused before anybody looks into it.
        within = [place for place in places if place[0] is not value and place[0] is not value[""]]
        if within and draw(st.integers(0, 5)):
            places = within
        container, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(_CHANGES))
        change(draw, container, key, places)
    return value[""]


def _places(value: Json) -> Iterator[tuple[Container, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _drop(_draw: Draw, container: Container, key: Any, _places: Json) -> None:
    if isinstance(container, list):
        del container[key : key + 1]
    elif key:
        container.pop(key, None)


def _replace(draw: Draw, container: Container, key: Any, _places: Json) -> None:
    if isinstance(container, dict) or key < len(container):
        container[key] = draw(odd_values)


def _wrap(draw: Draw, container: Container, key: Any, _places: Json) -> None:
    if isinstance(container, dict) or key < len(container):
        inner = container[key] if isinstance(container, list) else container.get(key)
        container[key] = draw(st.sampled_from([[inner], {"value": inner}, [inner, inner]]))


def _move(draw: Draw, container: Container, key: Any, places: Json) -> None:
    """Put another part of the same request here."""
    other, name = places[draw(st.integers(0, len(places) - 1))]
    if isinstance(container, dict) or key < len(container):
        there = other[name : name + 1] if isinstance(other, list) else [other.get(name)]
        container[key] = deepcopy(there[0]) if there else None


def _rename(draw: Draw, container: Container, key: Any, _places: Json) -> None:
    if isinstance(container, dict) and key and key in container:
        container[draw(st.sampled_from(NAMES_OF_MEMBERS))] = container.pop(key)


def _add(draw: Draw, container: Container, _key: Any, _places: Json) -> None:
    if isinstance(container, dict) and "" not in container:
        container[draw(st.sampled_from(NAMES_OF_MEMBERS[:-6]))] = draw(odd_values)
    elif isinstance(container, list):
        container.append(draw(odd_values))


def _double(draw: Draw, container: Container, key: Any, _places: Json) -> None:
    inner = container.get(key) if isinstance(container, dict) else None
    if isinstance(inner, dict) and inner:
        name = draw(st.sampled_from(sorted(inner)))
        container[key] = Twice([*inner.items(), (name, draw(odd_values))])


_CHANGES = (_drop, _replace, _replace, _replace, _wrap, _move, _rename, _add, _double)


@st.composite
def damaged(draw: Draw, texts: st.SearchStrategy[str]) -> bytes:
    """Draw one of ``texts``, and damage its bytes."""
    body: bytes = draw(texts).encode()
    at = draw(st.integers(0, max(0, len(body) - 1)))
    kind = draw(st.sampled_from(("cut", "flip", "insert", "encode", "around")))
    if kind == "cut":
        return body[:at]
    if kind == "flip":
        return body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :]
    if kind == "insert":
        inserted: bytes = draw(st.binary(min_size=1, max_size=4))
        return body[:at] + inserted + body[at:]
    if kind == "encode":
        encoding: str = draw(st.sampled_from(("utf-16", "utf-8-sig", "utf-32")))
        return body.decode().encode(encoding)
    around: tuple[bytes, bytes] = draw(
        st.sampled_from(((b"", b"}"), (b"\0", b""), (b" \n\t", b" "), (b"//", b"")))
    )
    return body.join(around)
