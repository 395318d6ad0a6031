"""Valid requests of every operation, which generated ones are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.wires import WIRES
from tests.fuzz.served import NAMES, TENANT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.wire import Json, Wire

HOOK = "http://127.0.0.1:1024/hook"
MOMENT = "2026-01-01T00:00:00Z"
UNIQUE = "5e6a1c3e-9a52-4c11-8f4b-0a4d3b2c1e0f"
FILE = "aGVsbG8="


def requests(wire: Wire) -> list[tuple[str, Json]]:
    """Return the methods of a wire, each with parameters that are valid."""
    said = [*_sent(wire), *_about_tasks(wire), *_about_push(wire)]
    assert {operation for operation, _ in said} == wire.methods.keys()
    named = [(wire.methods[operation], params) for operation, params in said]
    if wire.version == "1.0":
        named += [(method, params | {"tenant": TENANT}) for method, params in named]
    return named


def _sent(wire: Wire) -> Iterator[tuple[str, Json]]:
    rich = [
        wire.text("hello"),
        wire.data({"a": [1, 2.5, None, {"b": "c"}]}),
        wire.raw(FILE, "a.txt", "text/plain"),
        wire.url("https://example.com/a.png", "a.png", "image/png"),
    ]
    everything = wire.configuration(
        modes=["text/plain", "application/json"],
        history=3,
        at_once=True,
        push=wire.push_config(HOOK, config_id="given", token="t", bearer="secret"),
    )
    for operation in ("send", "stream"):
        for text in ("hello", "ask", "message"):
            yield operation, {"message": _message(wire, wire.text(text))}
        about = {"contextId": "context", "referenceTaskIds": [NAMES[0]], "extensions": ["urn:x"]}
        message = _message(wire, *rich, metadata={"k": {"l": [1]}}, **about)
        yield operation, {"message": message, "configuration": everything, "metadata": {"m": 1}}
        yield operation, {"message": _message(wire, wire.text("again"), messageId=UNIQUE)}
        for task_id in (*NAMES, "unknown"):
            yield operation, {"message": _message(wire, wire.text("more"), taskId=task_id)}


def _message(wire: Wire, *parts: Json, **fields: Json) -> Json:
    kind = {"kind": "message"} if wire.version == "0.3" else {}
    said = {"messageId": "message-1", "role": wire.role("user"), "parts": list(parts)}
    return said | kind | fields


def _about_tasks(wire: Wire) -> Iterator[tuple[str, Json]]:
    for task_id in (*NAMES, "unknown"):
        yield "get", {"id": task_id, "historyLength": 2}
        yield "cancel", {"id": task_id}
        yield "subscribe", {"id": task_id}
    yield "list", {}
    yield (
        "list",
        {
            "contextId": "context",
            "status": wire.state("COMPLETED"),
            "pageSize": 5,
            "pageToken": "",
            "historyLength": 1,
            "includeArtifacts": True,
            **({"statusTimestampAfter": MOMENT} if wire.version == "1.0" else {}),
        },
    )
    yield "extended_card", {}


def _about_push(wire: Wire) -> Iterator[tuple[str, Json]]:
    for task_id in (NAMES[0], NAMES[2], "unknown"):
        config = wire.push_config(HOOK, config_id="config", token="t", bearer="secret")
        yield "create_push", wire.push_params(task_id, config)
        yield "get_push", wire.push_id_params(task_id, "config")
        yield "list_push", wire.push_task_params(task_id)
        yield "delete_push", wire.push_id_params(task_id, "config")


BY_BINDING = {
    binding: [wire for wire in WIRES if wire.binding == binding]
    for binding in {wire.binding for wire in WIRES}
}
