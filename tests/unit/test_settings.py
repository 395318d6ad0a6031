"""The settings themselves: defaults, LCS's rules, derived values."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.settings import Settings
from agent.settings.problems import dotted, problems_of


def problems(**content: Any) -> dict[str, str]:
    """Return what is wrong with these settings, by path."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(content)
    return {dotted(at): text for at, text in problems_of(caught.value, Settings)}


def test_nothing_is_required() -> None:
    """The defaults are LCS's, and a SQLite file for the state."""
    settings = Settings()

    assert (settings.service.host, settings.service.port) == ("localhost", 8080)
    assert settings.llama_stack.url is None
    assert settings.authentication.module == "noop"
    assert str(settings.a2a_state.url) == "sqlite:///.llamastack-a2a/state.db"
    assert settings.limits.body_bytes == 16 * 1024 * 1024


def test_settings_cannot_be_changed() -> None:
    """They are shared by everything."""
    settings = Settings()

    with pytest.raises(ValidationError):
        settings.service.port = 1


@pytest.mark.parametrize(
    ("state", "url"),
    [
        ({"sqlite": {"db_path": "a/b.db"}}, "sqlite:///a/b.db"),
        ({"sqlite": {"db_path": "/a/b.db"}}, "sqlite:////a/b.db"),
        ({"memory": True}, "sqlite://"),
        (
            {"postgres": {"db": "d", "user": "u", "password": "p:w@"}},
            "postgresql+asyncpg://u:p%3Aw%40@localhost:5432/d",
        ),
        (
            {
                "postgres": {
                    "host": "/run/pg",
                    "port": 5433,
                    "db": "d",
                    "user": "u",
                    "password": "p",
                }
            },
            "postgresql+asyncpg://u:p@/d?host=%2Frun%2Fpg&port=5433",
        ),
    ],
)
def test_the_state_has_a_sqlalchemy_url(state: dict[str, Any], url: str) -> None:
    """Folders of sockets travel in the query, where the driver looks for them."""
    settings = Settings.model_validate({"a2a_state": state})

    assert settings.a2a_state.url.render_as_string(hide_password=False) == url


def test_the_state_is_kept_in_one_place_only() -> None:
    """The second of two is the one that is wrong."""
    state = {"memory": True, "sqlite": {"db_path": "a.db"}}

    assert problems(a2a_state=state) == {
        "a2a_state.memory": "only one of sqlite, postgres, memory may be set"
    }


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ({}, "http://localhost:8080"),
        ({"host": "0.0.0.0", "port": 9000, "root_path": "/agent"}, "http://localhost:9000/agent"),
        ({"host": "::1"}, "http://[::1]:8080"),
        ({"base_url": "https://a.example/x/", "root_path": "/y"}, "https://a.example/x"),
        (
            {"tls_config": {"tls_certificate_path": "c.pem", "tls_key_path": "k.pem"}},
            "https://localhost:8080",
        ),
    ],
)
def test_the_public_url_comes_from_the_settings(service: dict[str, Any], url: str) -> None:
    """An address that nobody can call is not given out."""
    assert Settings.model_validate({"service": service}).service.public_url == url


def test_secrets_are_not_shown() -> None:
    """Not in a representation, and not in the state's URL."""
    settings = Settings.model_validate(
        {
            "llama_stack": {"api_key": "hush"},
            "a2a_state": {"postgres": {"db": "d", "user": "u", "password": "hush"}},
            "azure_entra_id": {"tenant_id": "hush", "client_id": "hush", "client_secret": "hush"},
            "authentication": {"api_key_config": {"api_key": "hush"}},
            "openai": {"api_key": "hush"},
        }
    )

    assert "hush" not in repr(settings)
    assert "hush" not in repr(settings.a2a_state.url)


@pytest.mark.parametrize(
    ("stack", "library", "is_embedded"),
    [
        ({"use_as_library_client": True}, None, True),
        ({"library_client_config_path": "run.yaml", "library_python": "python"}, None, True),
        (
            {
                "use_as_library_client": True,
                "library_client_config_path": "run.yaml",
                "library_python": "python",
            },
            Path("run.yaml"),
            False,
        ),
    ],
)
def test_library_mode_wins_over_a_url(
    stack: dict[str, Any], library: Path | None, is_embedded: bool
) -> None:
    """As in LCS; without what it needs, the embedded stack is what runs here."""
    url = {"url": "http://stack:8321"} if "use_as_library_client" in stack else {}
    settings = Settings.model_validate({"llama_stack": {**stack, **url}})

    assert settings.llama_stack.url is None
    assert settings.llama_stack.library == library
    assert settings.is_embedded == is_embedded


@pytest.mark.parametrize(
    ("content", "url"),
    [
        ({}, "sqlite:///.llamastack-a2a/state.db"),
        ({"database": {"sqlite": {"db_path": "x"}}}, "sqlite:///x"),
        (
            {"database": {"postgres": {"db": "d", "user": "u", "password": "p"}}},
            "postgresql+asyncpg://u:***@localhost:5432/d",
        ),
        (
            {"database": {"sqlite": {"db_path": "x"}}, "a2a_state": {"sqlite": {"db_path": "y"}}},
            "sqlite:///y",
        ),
        ({"database": {"sqlite": {"db_path": "x"}}, "a2a_state": {"memory": True}}, "sqlite://"),
    ],
)
def test_the_state_is_where_the_database_is_unless_it_has_its_own(
    content: dict[str, Any], url: str
) -> None:
    assert str(Settings.model_validate(content).state.url) == url


def test_vector_stores_have_the_names_that_users_know() -> None:
    """What has no name is called by its id; of two with one name the first counts."""
    stores = [("mine", "vs_1"), ("other", "vs_2"), ("mine", "vs_3")]
    byok = [{"rag_id": name, "vector_db_id": of, "db_path": "x"} for name, of in stores]
    settings = Settings.model_validate({"byok_rag": byok})

    assert [settings.vector_store_id(each) for each in ("mine", "other", "vs_9")] == [
        "vs_1",
        "vs_2",
        "vs_9",
    ]
    assert [settings.rag_id(each) for each in ("vs_1", "vs_3", "vs_9")] == ["mine", "mine", "vs_9"]


@pytest.mark.parametrize(
    "host", ["https://u:p@login.test", "https://login.test?a=b", "https://login.test#a", "login"]
)
def test_an_authority_has_no_secrets_in_its_url(host: str) -> None:
    entra = {"tenant_id": "t", "client_id": "c", "client_secret": "s", "authority_host": host}

    assert problems(azure_entra_id=entra).keys() == {"azure_entra_id.authority_host"}


def test_actions_may_be_written_in_upper_case() -> None:
    """LCS's documentation does."""
    rules = [{"role": "*", "actions": ["A2A_JSONRPC", "query"]}]
    settings = Settings.model_validate({"authorization": {"access_rules": rules}})

    assert settings.authorization
    assert settings.authorization.access_rules[0].actions == ("a2a_jsonrpc", "query")


def test_toolgroups_are_names_or_mappings() -> None:
    """Llama Stack takes both."""
    groups = ["builtin::websearch", {"name": "builtin::rag", "args": {"vector_store_ids": ["v"]}}]
    given = Settings.model_validate({"agent": {"toolgroups": groups}}).agent.toolgroups
    assert given is not None
    name, group = given

    assert name == "builtin::websearch"
    assert not isinstance(group, str)
    assert group.args == {"vector_store_ids": ["v"]}


def test_instructions_are_lcs_system_prompt_first() -> None:
    """The agent's own come second."""
    agent = {"instructions": "Be brief."}

    assert Settings.model_validate({"agent": agent}).instructions == "Be brief."
    assert (
        Settings.model_validate(
            {"agent": agent, "customization": {"system_prompt": "Be long."}}
        ).instructions
        == "Be long."
    )


@pytest.mark.parametrize(
    ("content", "path", "problem"),
    [
        ({"name": ""}, "name", "must not be empty"),
        ({"name": 5}, "name", "must be text"),
        ({"knowledge": ""}, "knowledge", "must not be empty"),
        ({"knowledge": 5}, "knowledge", "must be a path"),
        ({"stack": "a.b"}, "stack", "must look like package.module:Class"),
        ({"service": 5}, "service", "must be a mapping"),
        ({"service": {"port": 70000}}, "service.port", "must be at most 65535"),
        ({"service": {"port": True}}, "service.port", "must be a number"),
        ({"service": {"port": 80.5}}, "service.port", "must be a whole number"),
        ({"service": {"workers": 0}}, "service.workers", "must be at least 1"),
        ({"service": {"access_log": "maybe"}}, "service.access_log", "must be true or false"),
        (
            {"service": {"base_url": "https://a.example?x=1"}},
            "service.base_url",
            "must not have a query or a fragment",
        ),
        (
            {"service": {"root_path": "agent"}},
            "service.root_path",
            "must begin with / and not end with it",
        ),
        (
            {"service": {"tls_config": {"tls_key_path": "k"}}},
            "service.tls_config.tls_certificate_path",
            "is missing; HTTPS needs it",
        ),
        (
            {"service": {"cors": {"allow_credentials": True}}},
            "service.cors.allow_credentials",
            "needs allow_origins without *",
        ),
        (
            {"llama_stack": {"url": "stack:8321"}},
            "llama_stack.url",
            "must be an http:// or https:// URL",
        ),
        (
            {"llama_stack": {"url": "http://stack:port"}},
            "llama_stack.url",
            "must be an http:// or https:// URL",
        ),
        (
            {"user_data_collection": {"feedback_enabled": True}},
            "user_data_collection.feedback_storage",
            "is missing; feedback_enabled needs it",
        ),
        (
            {"user_data_collection": {"transcripts_enabled": True}},
            "user_data_collection.transcripts_storage",
            "is missing; transcripts_enabled needs it",
        ),
        ({"mcp_servers": {}}, "mcp_servers", "must be a list"),
        (
            {"mcp_servers": [{"name": "a", "url": "http://a"}, {"name": "a", "url": "http://b"}]},
            "mcp_servers",
            "the name a is used twice",
        ),
        ({"mcp_servers": [{"name": "a"}]}, "mcp_servers[0].url", "is missing"),
        (
            {"mcp_servers": [{"name": "a", "url": "http://a", "require_approval": "sometimes"}]},
            "mcp_servers[0].require_approval",
            "must be one of never or always",
        ),
        (
            {"authentication": {"module": "jwk-token"}},
            "authentication.jwk_config",
            "is missing; module jwk-token needs it",
        ),
        (
            {"authentication": {"api_key_config": {"api_key": ""}}},
            "authentication.api_key_config.api_key",
            "must not be empty",
        ),
        (
            {"inference": {"default_provider": "openai"}},
            "inference.default_model",
            "is missing; default_provider needs it",
        ),
        (
            {"conversation_cache": {"type": "sqlite"}},
            "conversation_cache.sqlite",
            "is missing; type sqlite needs it",
        ),
        ({"agent": {"temperature": 3}}, "agent.temperature", "must be at most 2"),
        ({"agent": {"temperature": "hot"}}, "agent.temperature", "must be a number"),
        ({"agent": {"toolgroups": [5]}}, "agent.toolgroups[0]", "must be a mapping"),
        ({"limits": {"turn_seconds": 0}}, "limits.turn_seconds", "must be more than 0"),
        ({"limits": {"turn_seconds": float("inf")}}, "limits.turn_seconds", "must be a number"),
        (
            {"a2a": {"tenants": ["a/b"]}},
            "a2a.tenants",
            "a tenant's name has letters, digits and . _ ~ - only",
        ),
        (
            {"a2a": {"tenants": ["v1"]}},
            "a2a.tenants",
            "v1 is a path of this server and cannot name a tenant",
        ),
        ({"a2a": {"tenants": ["a", "a"]}}, "a2a.tenants", "a tenant is named twice"),
        ({"a2a": {"card_version": "2"}}, "a2a.card_version", "must be one of hybrid, 1.0 or 0.3"),
        ({"agent": {5: 5}}, "agent[5]", "is not text, as keys must be"),
        ({"servce": {}}, "servce", "unknown key; did you mean service?"),
        ({"service": {"prot": 1}}, "service.prot", "unknown key; did you mean port?"),
        ({"service": {"quite_else": 1}}, "service.quite_else", "unknown key"),
        (
            {"mcp_servers": [{"name": "a", "uri": "", "url": "http://a"}]},
            "mcp_servers[0].uri",
            "unknown key; did you mean url?",
        ),
    ],
)
def test_what_is_wrong_is_told_by_path(content: dict[str, Any], path: str, problem: str) -> None:
    """In words of ours."""
    assert problems(**content) == {path: problem}


@pytest.mark.parametrize(
    ("change", "key", "problem"),
    [
        ({"operator": "match", "value": "("}, "value", "must be a regular expression"),
        ({"operator": "match", "value": 5}, "value", "must be a regular expression"),
        ({"roles": []}, "roles", "must name at least one role"),
        ({"roles": ["*"]}, "roles", "must not name *: everybody has it"),
    ],
)
def test_role_rules_are_checked(change: dict[str, Any], key: str, problem: str) -> None:
    """A rule that cannot work is found at start."""
    rule = {"jsonpath": "$.a", "operator": "equals", "value": ["b"], "roles": ["r"]} | change
    jwk = {"url": "https://a", "jwt_configuration": {"role_rules": [rule]}}
    path = f"authentication.jwk_config.jwt_configuration.role_rules[0].{key}"

    assert problems(authentication={"jwk_config": jwk}) == {path: problem}


def test_a_role_rule_may_match_a_pattern() -> None:
    """A regular expression is kept as written."""
    rule = {"jsonpath": "$.a", "operator": "match", "value": "^b", "roles": ["r"]}
    jwk = {"url": "https://a", "jwt_configuration": {"role_rules": [rule]}}
    settings = Settings.model_validate({"authentication": {"jwk_config": jwk}})

    assert settings.authentication.jwk_config
    assert settings.authentication.jwk_config.jwt_configuration.role_rules[0].value == "^b"


def test_a_stack_of_your_own_is_named_by_its_class() -> None:
    """Module and class are told apart by a colon."""
    assert Settings(stack="my.package:Stack").stack == "my.package:Stack"


def test_all_that_a_section_lacks_is_told() -> None:
    """Not only the first key."""
    assert set(problems(splunk={"enabled": True})) == {
        "splunk.url",
        "splunk.token_path",
        "splunk.index",
    }


def test_paths_are_kept_as_written() -> None:
    """They are relative to the working directory, as in LCS."""
    assert Settings.model_validate({"knowledge": "docs"}).knowledge == Path("docs")
