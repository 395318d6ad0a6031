"""Settings that ask for what this version does not do are named, and no others."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from agent.app import create_app
from agent.settings import Settings
from agent.settings.unused import UNUSED, unused

STACK = "agent.stacks:BaseStack"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({}, []),
        ({"name": "mine", "service": {"auth_enabled": False, "cors": {}}}, []),
        ({"service": {"auth_enabled": True}}, ["service.auth_enabled"]),
        ({"database": {"sqlite": {"db_path": "x"}}, "solr": {}}, ["database", "solr"]),
        ({"customization": {"system_prompt": "Be kind."}}, []),
        ({"knowledge": "docs"}, []),
        ({"knowledge": "docs", "llama_stack": {"url": "http://stack.test"}}, ["knowledge"]),
        ({"knowledge": "docs", "stack": STACK}, ["knowledge"]),
    ],
)
def test_what_has_no_effect_is_named(content: dict[str, Any], names: list[str]) -> None:
    """What stands at its default asks for nothing."""
    assert unused(Settings.model_validate(content)) == names


@pytest.mark.parametrize("key", UNUSED)
def test_no_code_reads_what_is_said_to_be_unused(key: str) -> None:
    """Whoever begins to act on a setting takes it off the list."""
    section, _, name = key.rpartition(".")
    read = re.compile(rf"\b{section or 'settings'}\.{name}\b(?! import)")
    root = Path(__file__).parents[2] / "agent"
    others = (path for path in root.rglob("*.py") if path.name != "unused.py")
    readers = [path for path in others if read.search(path.read_text())]

    assert not readers


def test_the_server_names_them_once_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    """One line, and none when there is nothing to say."""
    quiet = {"stack": STACK, "a2a_state": {"memory": True}}
    for content in (quiet, {**quiet, "solr": {"enabled": True}, "splunk": {}}):
        app = create_app(Settings.model_validate(content))
        with caplog.at_level(logging.WARNING, "agent.app"), TestClient(app):
            pass

    (said,) = [record.getMessage() for record in caplog.records if record.name == "agent.app"]
    assert said == "Settings that this version does not act on: splunk, solr"
