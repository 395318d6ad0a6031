"""Settings that ask for what does not happen are named with the reason, and no others."""

import logging
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient

from agent.app import create_app
from agent.settings import Settings
from agent.settings.unused import unused

STACK = "agent.stacks:BaseStack"
REMOTE = {"llama_stack": {"url": "http://stack.test"}}
LIBRARY = {"use_as_library_client": True, "library_client_config_path": "run.yaml"}
AZURE = {"azure_entra_id": {"tenant_id": "t", "client_id": "c", "client_secret": "s"}}
BYOK = {"byok_rag": [{"rag_id": "r", "vector_db_id": "v", "db_path": "rag.db"}]}
CACHE = {"conversation_cache": {"type": "memory", "memory": {"max_entries": 10}}}
SOLR = {"solr": {"enabled": True}}
LITE: dict[str, Any] = {"sqlite": {"db_path": "x"}}


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({}, []),
        ({"name": "mine", "service": {"auth_enabled": False, "cors": {}}}, []),
        ({"service": {"auth_enabled": True}}, ["service.auth_enabled"]),
        (
            {
                "service": {"auth_enabled": True},
                "authentication": {
                    "module": "api-key-token",
                    "api_key_config": {"api_key": "k"},
                },
            },
            [],
        ),
        ({"database": LITE}, []),
        ({"database": LITE, "a2a_state": LITE}, []),
        ({"database": LITE, "a2a_state": {"memory": True}}, ["database"]),
        ({"database": LITE, "a2a_state": {"sqlite": {"db_path": "y"}}}, ["database"]),
        (CACHE, []),
        (CACHE | {"service": {"workers": 2}}, ["conversation_cache.type"]),
        ({"service": {"workers": 2}}, []),
        ({"solr": {}, "splunk": {}, "deployment_environment": "production"}, []),
        (AZURE | BYOK | SOLR, ["azure_entra_id", "byok_rag", "solr.enabled"]),
        (AZURE | BYOK | SOLR | {"stack": STACK}, ["azure_entra_id"]),
        (AZURE | BYOK | SOLR | REMOTE, []),
        (AZURE | {"llama_stack": {**LIBRARY, "library_python": sys.executable}}, []),
        ({"llama_stack": LIBRARY}, ["llama_stack.use_as_library_client"]),
        ({"llama_stack": LIBRARY, "stack": STACK}, []),
        (
            {"llama_stack": {"use_as_library_client": True, "library_python": sys.executable}},
            ["llama_stack.use_as_library_client"],
        ),
        ({"knowledge": "docs"}, []),
        ({"knowledge": "docs", **REMOTE}, ["knowledge"]),
        ({"knowledge": "docs", "stack": STACK}, ["knowledge"]),
    ],
)
def test_what_has_no_effect_is_named(content: dict[str, Any], keys: list[str]) -> None:
    """What stands at its default asks for nothing."""
    assert [line.partition(" ")[0] for line in unused(Settings.model_validate(content))] == keys


def test_the_server_tells_each_once_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    """A line for each, and none when there is nothing to say."""
    quiet = {"stack": STACK, "a2a_state": {"memory": True}}
    for content in (quiet, {**quiet, **AZURE, "database": LITE}):
        app = create_app(Settings.model_validate(content))
        with caplog.at_level(logging.WARNING, "agent.app"), TestClient(app):
            pass

    said = [record.getMessage() for record in caplog.records if record.name == "agent.app"]
    assert said == [
        "database is not used: a2a_state says where the state is kept",
        "azure_entra_id needs a Llama Stack, and another stack runs the turns",
    ]
