"""YAML documents: read strictly, with the line of what is wrong."""

from pathlib import Path
from typing import Any

import yaml

from agent.errors import SettingsError


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice in one mapping, where YAML libraries take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _Twice(None, None, key.value, key.start_mark)
            seen.add(str(key.value))
        return node


class _Twice(yaml.MarkedYAMLError):
    """A key is written twice; ``problem`` is the key."""


def read_document(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping or nothing; raises ``SettingsError``."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise SettingsError("", f"{path}: there is no such file") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError("", f"{path}: cannot be read as UTF-8 text") from exc
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except _Twice as exc:
        raise SettingsError(exc.problem or "", f"is written twice ({path}, {_line(exc)})") from exc
    except yaml.MarkedYAMLError as exc:
        raise SettingsError("", f"{path}: is not valid YAML at {_line(exc)}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:  # ValueError: a date that is none
        raise SettingsError("", f"{path}: is not valid YAML") from exc
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError("", f"{path}: must hold a mapping")
    return content


def _line(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}" if mark else "an unknown line"
