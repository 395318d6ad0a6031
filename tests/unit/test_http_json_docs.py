"""The documentation of the HTTP+JSON binding against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.http_json.paths import Paths
from agent.http_json.status import STATUS

PAGE = (Path(__file__).parents[2] / "docs" / "a2a-protocol.md").read_text()
SECTION = PAGE.partition("\n## HTTP+JSON\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (`/.*) \| ([A-Z, ]+) \|", SECTION, re.MULTILINE)
PATHS = Paths([])


def documented(version: str) -> dict[str, set[str]]:
    """Return the methods of each path of a version as the table has them."""
    found: dict[str, set[str]] = {}
    for text, methods in ROWS:
        path, *others = re.findall(r"`([^`]+)`", text)
        if version == "0.3":
            if "only in 1.0" in text:
                continue
            path = others[0] if others else f"/v1{path}"
        found.setdefault(path, set()).update(methods.split(", "))
    return found


@pytest.mark.parametrize("version", ["1.0", "0.3"])
def test_every_path_is_documented_with_its_methods(version: str) -> None:
    paths = documented(version)
    assert len(paths) == {"1.0": 10, "0.3": 9}[version]
    for path, methods in paths.items():
        target = PATHS.find(path)
        assert target is not None
        assert (target.version, set(target.operations)) == (version, methods)


def test_every_status_is_documented() -> None:
    table = re.findall(r"^\| (\d+(?:, \d+)*) \|", SECTION, re.MULTILINE)
    named = {int(code) for row in table for code in row.split(", ")}
    assert named == {code for code, _ in STATUS.values()} | {405}
