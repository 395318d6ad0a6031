"""What YAML calls the resource that it describes, told without building anything of it.

Aliases and merges cost nothing then, however often they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

# To look costs time: so much of all texts together is looked at, in characters and in what YAML is
# made of.
CHARACTERS = 1024 * 1024
EVENTS = 10_000
NAME_CHARS = 256
_KIND, _NAME = ("kind",), ("metadata", "name")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# That of libyaml is a hundred times as fast, where it is installed.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ResourceNames:
    """Reads the names; what is too much to look at has none."""

    def __init__(self) -> None:
        """Nothing has been looked at."""
        self._characters = CHARACTERS
        self._events = EVENTS

    def of(self, text: str) -> str | None:
        """Return ``kind/name`` of the first document, if it is YAML that has both."""
        if len(text) > self._characters:
            return None
        self._characters -= len(text)
        found: dict[tuple[str, ...], str] = {}
        try:
            for path, value in _scalars(self._first_document(text)):
                if path in {_KIND, _NAME} and value:
                    found.setdefault(path, value)
                if len(found) == 2:
                    break
        except yaml.YAMLError:
            return None
        name = f"{found.get(_KIND)}/{found.get(_NAME)}"
        is_name = len(found) == 2 and len(name) <= NAME_CHARS and name.isprintable()
        return name if is_name else None

    def _first_document(self, text: str) -> Iterator[yaml.Event]:
        for event in yaml.parse(text, _Loader):
            self._events -= 1
            if self._events < 0 or isinstance(event, yaml.DocumentEndEvent):
                return
            yield event


class _Open:
    """A collection that is open; of a mapping the key whose value comes next, None before a key."""

    def __init__(self, *, is_mapping: bool) -> None:
        self.is_mapping = is_mapping
        self.key: str | None = None


def _scalars(events: Iterator[yaml.Event]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the scalars of a mapping, and of the mappings in it, with the keys that lead there."""
    within: list[_Open] = []
    for event in events:
        match event:
            case yaml.CollectionStartEvent():
                within.append(_Open(is_mapping=isinstance(event, yaml.MappingStartEvent)))
            case yaml.CollectionEndEvent():
                within.pop()
                _pass(within, "")
            case yaml.NodeEvent():
                text = _text(event)
                # Nothing that is looked for is deeper; what stands in a list or in a key has no path.
                path = [each.key for each in within] if len(within) <= 2 else [None]
                if None not in path:
                    yield tuple(key or "" for key in path), text
                _pass(within, text)


def _pass(within: list[_Open], text: str) -> None:
    """Note that a key or a value of the innermost mapping is over."""
    if within and within[-1].is_mapping:
        within[-1].key = text if within[-1].key is None else None


def _text(event: yaml.NodeEvent) -> str:
    """Return what a scalar says; an alias and a null say nothing."""
    if not isinstance(event, yaml.ScalarEvent):
        return ""
    is_null = event.implicit[0] and event.value in _NULLS
    return "" if is_null else event.value
