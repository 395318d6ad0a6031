"""``/v1/config`` over sockets: the configuration as LCS shows it, and nothing that is secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from pydantic import SecretStr

from agent.app import create_app
from agent.settings import Settings
from rest_compat.lightspeed.config import configuration_of
from rest_compat.lightspeed.configuration import Configuration
from rest_compat.lightspeed.masking import MASK, masked, masked_json, masked_source
from tests.fakes.lightspeed_document import check, published
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a"
_POSTGRES = {"host": "db.test", "db": "lcs", "user": "lcs", "password": f"{CANARY}-password"}
_URL = f"https://user:{CANARY}-userinfo@host.test:8443/path?key={CANARY}-query#{CANARY}-fragment"
# A secret wherever the settings take one, and in every URL.
EVERYTHING: dict[str, Any] = {
    "name": "everything",
    "service": {"base_url": f"https://user:{CANARY}-base@agent.test"},
    "llama_stack": {"url": _URL, "api_key": f"{CANARY}-stack"},
    "user_data_collection": {"feedback_enabled": True, "feedback_storage": "feedback"},
    "database": {"postgres": _POSTGRES},
    "mcp_servers": [
        {
            "name": "one",
            "url": _URL,
            "authorization_headers": {"Authorization": f"Bearer {CANARY}-header", "X-A": "client"},
            "require_approval": "always",
        }
    ],
    "authentication": {
        "module": "api-key-token",
        "k8s_cluster_api": _URL.partition("?")[0],
        "jwk_config": {
            "url": f"https://host.test/keys?key={CANARY}-query",
            "jwt_configuration": {
                "role_rules": [
                    {"jsonpath": "$.a", "operator": "equals", "value": [1], "roles": ["a"]}
                ]
            },
        },
        "api_key_config": {"api_key": f"{CANARY}-api-key"},
        "rh_identity_config": {"required_entitlements": ["rhel"]},
    },
    "authorization": {"access_rules": [{"role": "*", "actions": ["get_config"]}]},
    "customization": {
        "agent_card_config": {
            "name": "a name",
            "description": "a description",
            "provider": {"organization": "somebody", "url": _URL},
        },
        "custom_profile": {"path": "profile.py", "prompts": {"one": "text"}},
    },
    "inference": {"default_model": "m", "default_provider": "p"},
    "conversation_cache": {"type": "postgres", "postgres": _POSTGRES},
    "byok_rag": [{"rag_id": "r", "vector_db_id": "v", "db_path": "rag.db"}],
    "a2a_state": {"postgres": _POSTGRES},
    "quota_handlers": {
        "postgres": _POSTGRES,
        "limiters": [
            {
                "type": "user_limiter",
                "name": "users",
                "initial_quota": 1,
                "quota_increase": 1,
                "period": "1 day",
            }
        ],
    },
    "azure_entra_id": {
        "tenant_id": f"{CANARY}-tenant",
        "client_id": f"{CANARY}-client",
        "client_secret": f"{CANARY}-azure",
    },
    "splunk": {"enabled": True, "url": _URL, "token_path": "token", "index": "main"},
    "solr": {"enabled": True},
    "openai": {"api_key": f"{CANARY}-openai"},
    "push": {"hmac_secret": f"{CANARY}-push"},
}


def as_shown(settings: Settings) -> dict[str, Any]:
    """Return the configuration as it goes out."""
    shown: dict[str, Any] = configuration_of(settings).model_dump(mode="json")
    return shown


async def answered(settings: dict[str, Any], **headers: str) -> httpx.Response:
    """Ask a server with these settings for its configuration."""
    with anyio.fail_after(20):
        app = create_app(Settings(**{"a2a_state": {"memory": True}} | settings))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            return await http.get("/v1/config", headers=headers)


async def test_a_server_without_settings_shows_all_sections_of_lcs_with_their_defaults() -> None:
    answer = await answered({})
    assert answer.status_code == 200
    shown = answer.json()["configuration"]
    assert shown["name"] == "llamastack-a2a"
    assert shown["authentication"]["module"] == "noop"
    assert shown["quota_handlers"]["limiters"] == []
    assert shown["authorization"] is None
    assert shown["conversation_cache"] == dict.fromkeys(("type", "memory", "sqlite", "postgres"))


async def test_nothing_secret_is_shown() -> None:
    # It must start: no database server, no certificate, and nothing of a stack elsewhere.
    left_out = {"a2a_state", "conversation_cache", "quota_handlers"}
    settings = {name: value for name, value in EVERYTHING.items() if name not in left_out}
    answer = await answered(settings, Authorization=f"Bearer {CANARY}-api-key")
    assert answer.status_code == 200
    assert CANARY not in answer.text
    assert answer.json()["configuration"]["llama_stack"]["api_key"] == MASK


def test_nothing_secret_is_shown_of_any_section() -> None:
    settings = Settings(**EVERYTHING)
    assert CANARY not in str(as_shown(settings))
    assert as_shown(settings)["a2a_state"]["postgres"]["password"] == MASK


def secrets_of(value: Any, path: str = "") -> Iterator[tuple[str, SecretStr]]:
    """Yield every secret of the settings."""
    if isinstance(value, SecretStr):
        yield path, value
    elif hasattr(type(value), "model_fields"):
        for name in type(value).model_fields:
            yield from secrets_of(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, tuple):
        for item in value:
            yield from secrets_of(item, path)


def secret_fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the paths of all fields that hold a secret, whatever is set."""
    from agent.settings.problems import _sections_in

    for name, field in model.model_fields.items():
        here = f"{path}.{name}"
        sections = list(_sections_in(field.annotation))
        for section in sections:
            yield from secret_fields(section, here)
        if not sections and "SecretStr" in _spelled(field.annotation):
            yield here


def _spelled(annotation: Any) -> str:
    """Return a type in full, as it is behind the names that it has been given."""
    parts = [repr(annotation)]
    if hasattr(annotation, "__value__"):
        parts.append(_spelled(annotation.__value__))
    parts += [_spelled(each) for each in getattr(annotation, "__args__", ())]
    return " ".join(parts)


def test_the_canaries_are_in_every_secret_that_there_is() -> None:
    planted = {path for path, value in secrets_of(Settings(**EVERYTHING))}
    assert planted == set(secret_fields(Settings))


def test_sections_and_keys_of_our_own_are_left_out() -> None:
    shown = as_shown(Settings(**EVERYTHING))
    assert {"stack", "agent", "openai", "limits", "a2a", "push", "retention"}.isdisjoint(shown)
    assert shown.keys() == Configuration.model_fields.keys()
    assert "memory" not in shown["a2a_state"]
    assert "require_approval" not in shown["mcp_servers"][0]


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_configuration_fits_the_closed_schema_of_lcs(settings: dict[str, Any]) -> None:
    shown = as_shown(Settings(**settings))
    check({"configuration": shown}, "ConfigurationResponse", published())


def test_all_that_lcs_has_in_its_schema_is_shown() -> None:
    document = published()["components"]["schemas"]
    assert as_shown(Settings()).keys() == document["Configuration"]["properties"].keys()


def test_settings_are_shown_as_they_are() -> None:
    settings = Settings(**EVERYTHING)
    shown = as_shown(settings)
    assert shown["byok_rag"][0]["db_path"] == str(Path("rag.db"))
    assert shown["authorization"] == {"access_rules": [{"role": "*", "actions": ["get_config"]}]}
    assert shown["inference"] == {"default_model": "m", "default_provider": "p"}
    assert shown["a2a_state"]["postgres"]["host"] == "db.test"
    assert shown["customization"]["agent_card_config"]["name"] == "a name"
    headers = shown["mcp_servers"][0]["authorization_headers"]
    assert headers == {"Authorization": MASK, "X-A": "client"}


@pytest.mark.parametrize(
    ("state", "kind", "section"),
    [
        ({}, "sqlite", {"db_path": ".llamastack-a2a/state.db"}),
        ({"sqlite": {"db_path": "own.db"}}, "sqlite", {"db_path": "own.db"}),
        ({"postgres": _POSTGRES}, "postgres", {"host": "db.test", "password": MASK}),
        ({"memory": True}, "memory", None),
    ],
    ids=["default", "sqlite", "postgres", "memory"],
)
def test_conversations_that_are_kept_with_the_state_are_shown_where_that_is(
    state: dict[str, Any], kind: str, section: dict[str, Any] | None
) -> None:
    settings = Settings(a2a_state=state, conversation_cache={"type": "state"})  # type: ignore[arg-type]  # read by pydantic
    cache = as_shown(settings)["conversation_cache"]
    assert cache["type"] == kind
    assert section is None or section.items() <= cache[kind].items()
    assert CANARY not in str(cache)
    check({"configuration": as_shown(settings)}, "ConfigurationResponse", published())


def test_the_card_that_a_file_holds_is_shown(tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text(f"name: mine\nprovider: {{organization: us, url: '{_URL}'}}\n")
    settings = Settings.model_validate({"customization": {"agent_card_path": card}})
    shown = as_shown(settings)["customization"]["agent_card_config"]
    assert shown["name"] == "mine"
    assert CANARY not in str(shown)


async def test_the_origins_are_those_that_may_call() -> None:
    assert (await answered({})).json()["configuration"]["service"]["cors"]["allow_origins"] == []
    origins = ["https://ui.test"]
    told = await answered({"service": {"cors": {"allow_origins": origins}}})
    assert told.json()["configuration"]["service"]["cors"]["allow_origins"] == origins


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:8321", "http://localhost:8321"),
        ("https://host.test/a/b", "https://host.test/a/b"),
        ("https://user@host.test", f"https://{MASK}@host.test"),
        ("https://user:password@host.test:1/a", f"https://{MASK}@host.test:1/a"),
        ("https://a@b:c@host.test", f"https://{MASK}@host.test"),
        ("https://host.test/a?key=secret", f"https://host.test/a?{MASK}"),
        ("https://host.test/a#secret", f"https://host.test/a#{MASK}"),
        ("https://u:p@[::1]:8443/a", f"https://{MASK}@[::1]:8443/a"),
        ("http://[", MASK),
    ],
)
def test_what_may_be_a_secret_in_a_url_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert masked_json({"a": [url], "b": 1}) == {"a": [shown if "://" in url else url], "b": 1}


def test_a_text_that_is_no_url_is_left_as_it_is() -> None:
    text = "See https://host.test/?page=1 for more"
    assert masked_json(text) == text


@pytest.mark.parametrize("source", ["client", "kubernetes", "oauth"])
def test_words_for_where_a_header_comes_from_are_shown_and_paths_are_not(source: str) -> None:
    assert masked_source(source) == source
    assert masked_source("/run/secrets/token") == MASK
