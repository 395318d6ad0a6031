"""Settings from a file and from the environment."""

from pathlib import Path
from typing import Any

import pytest

from agent.errors import SettingsError
from agent.settings import Settings, load

LCS = """
name: Core Service
service:
  host: 0.0.0.0
  port: 8090
  auth_enabled: false
  workers: 2
  color_log: true
  access_log: true
  base_url: https://agent.example
  cors: {allow_origins: [https://ui.example], allow_credentials: true}
llama_stack:
  use_as_library_client: false
  url: http://localhost:${env.STACK_PORT:=8321}
  api_key: ${env.STACK_KEY:=}
user_data_collection:
  feedback_enabled: true
  feedback_storage: /tmp/data/feedback
database:
  postgres: &server {db: lcs, user: lcs, password: "${env.DB_PASSWORD}", namespace: null}
mcp_servers:
  - name: files
    url: http://localhost:3000
    authorization_headers: {Authorization: kubernetes, X-Key: /run/secrets/key}
authentication:
  module: jwk-token
  jwk_config:
    url: https://auth.example/jwks.json
    jwt_configuration:
      role_rules:
        - {jsonpath: "$.org", operator: equals, value: [[acme]], roles: [employee]}
authorization:
  access_rules:
    - {role: "*", actions: [QUERY, a2a_jsonrpc]}
customization:
  system_prompt: You know it all.
  agent_card_config: {name: Core, capabilities: {streaming: "${env.STREAM:=true}"}}
inference: {default_model: m, default_provider: p}
conversation_cache: {type: sqlite, sqlite: {db_path: /tmp/cache.db}}
byok_rag:
  - {rag_id: r, vector_db_id: v, db_path: /tmp/rag.db}
a2a_state:
  postgres: *server
quota_handlers:
  sqlite: {db_path: /tmp/quota.db}
  limiters:
    - {type: user_limiter, name: u, initial_quota: 10, quota_increase: 0, period: 1 day}
  scheduler: {period: 60}
  enable_token_history: true
azure_entra_id: {tenant_id: a, client_id: b, client_secret: c}
splunk: {enabled: true, url: "https://splunk.example", token_path: /run/token, index: i}
deployment_environment: production
solr: {enabled: false, offline: true}
"""


class Folder:
    """Writes configuration files and loads them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str | bytes, **environ: str) -> Settings:
        """Load settings from a file with this text."""
        file = self.path / "settings.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(file, environ)

    def problems(self, text: str | bytes, **environ: str) -> list[tuple[str, str]]:
        """Return what is wrong, with the folder taken out of it."""
        with pytest.raises(SettingsError) as caught:
            self.load(text, **environ)
        return [
            (path, problem.replace(f"{self.path}/", "")) for path, problem in caught.value.problems
        ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Where the configuration file of a test lies."""
    return Folder(tmp_path)


def test_a_file_of_lcs_loads_unchanged(folder: Folder) -> None:
    """With all its sections."""
    settings = folder.load(LCS, DB_PASSWORD="007", STACK_PORT="9")

    assert settings.llama_stack.url == "http://localhost:9"
    assert settings.llama_stack.api_key is None
    assert settings.a2a_state.postgres
    assert settings.a2a_state.postgres.password.get_secret_value() == "007"
    assert settings.a2a_state.postgres.namespace is None
    assert settings.customization.agent_card_config == {
        "name": "Core",
        "capabilities": {"streaming": True},
    }
    assert settings.byok_rag[0].embedding_dimension == 768


@pytest.mark.parametrize("text", ["", "# nothing", "service:\na2a_state: {}\n"])
def test_an_empty_file_or_section_means_defaults(folder: Folder, text: str) -> None:
    """Those of LCS."""
    assert folder.load(text) == Settings()


@pytest.mark.parametrize(
    ("environ", "storage"),
    [
        ({}, ".llamastack-a2a/feedback"),
        ({"A2A_STATE__SQLITE__DB_PATH": "/data/state.db"}, "/data/feedback"),
        ({"DATABASE__SQLITE__DB_PATH": "/data/lcs.db"}, "/data/feedback"),
        ({"A2A_STATE__MEMORY": "true"}, ".llamastack-a2a/feedback"),
        (
            {"A2A_STATE": '{"postgres": {"db": "d", "user": "u", "password": "p"}}'},
            ".llamastack-a2a/feedback",
        ),
        ({"USER_DATA_COLLECTION__FEEDBACK_STORAGE": "/fb"}, "/fb"),
    ],
)
def test_without_a_file_feedback_is_stored_and_conversations_are_kept(
    environ: dict[str, str], storage: str
) -> None:
    """Feedback is stored beside the file of the state, if there is one."""
    settings = load(None, {f"LLAMASTACK_A2A__{name}": value for name, value in environ.items()})

    assert settings.user_data_collection.feedback_enabled
    assert settings.user_data_collection.feedback_storage == Path(storage)
    assert settings.conversation_cache.type == "state"
    assert not settings.user_data_collection.transcripts_enabled


def test_the_environment_takes_back_what_is_there_without_a_file() -> None:
    """As it does with all settings."""
    settings = load(
        None,
        {
            "LLAMASTACK_A2A__USER_DATA_COLLECTION__FEEDBACK_ENABLED": "false",
            "LLAMASTACK_A2A__CONVERSATION_CACHE__TYPE": "noop",
        },
    )

    assert not settings.user_data_collection.feedback_enabled
    assert settings.conversation_cache.type == "noop"


PROFILE = """
PROFILE_CONFIG = {"name": "p", "system_prompts": {"default": "Be kind.", "check": "Is it?"}}
"""


def test_the_prompts_of_a_profile_are_read_from_its_file(folder: Folder) -> None:
    """Under both keys; its default comes before the system prompt."""
    path = folder.path / "profile.py"
    path.write_text(PROFILE)
    prompts = {"default": "Be kind.", "check": "Is it?"}
    by_path = folder.load(f"customization: {{profile_path: {path}, system_prompt: No.}}")
    section = f"{{path: {path}, prompts: {{default: No., more: m}}}}"
    by_section = folder.load(f"customization: {{custom_profile: {section}}}")

    assert by_path.customization.custom_profile
    assert by_path.customization.custom_profile.prompts == prompts
    assert by_path.instructions == "Be kind."
    assert by_section.customization.custom_profile
    assert by_section.customization.custom_profile.prompts == prompts | {"more": "m"}


def test_a_profile_without_a_default_leaves_the_system_prompt(folder: Folder) -> None:
    path = folder.path / "profile.py"
    path.write_text('PROFILE_CONFIG = {"system_prompts": {"other": "x"}}')
    settings = folder.load(f"customization: {{profile_path: {path}, system_prompt: Be.}}")

    assert settings.instructions == "Be."


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (None, "cannot be read as a Python module"),
        ("a b", "cannot be read as a Python module"),
        (b"\xff", "cannot be read as a Python module"),
        ("raise KeyError('hush')", "cannot be run: it raises KeyError"),
        ("raise SystemExit", "cannot be run: it raises SystemExit"),
        ("", 'must have PROFILE_CONFIG = {"system_prompts": {"default": "..."}}'),
        (
            "PROFILE_CONFIG = {}",
            'must have PROFILE_CONFIG = {"system_prompts": {"default": "..."}}',
        ),
        (
            "PROFILE_CONFIG = {'system_prompts': {'default': 5}}",
            "must have texts by name in system_prompts",
        ),
    ],
)
def test_a_profile_that_cannot_be_used_is_told(
    folder: Folder, code: str | bytes | None, problem: str
) -> None:
    """By the key that names it, and without what its code says."""
    path = folder.path / "profile.py"
    if code is not None:
        path.write_bytes(code if isinstance(code, bytes) else code.encode())

    told = folder.problems(f"customization: {{custom_profile: {{path: {path}}}}}")

    assert told == [("customization.custom_profile.path", f"profile.py {problem}")]
    assert folder.problems(f"customization: {{profile_path: {path}}}") == [
        ("customization.profile_path", f"profile.py {problem}")
    ]


@pytest.mark.parametrize(
    ("written", "environ", "read"),
    [
        ("${env.A}", {"A": "x"}, "x"),
        ("${env.A}-${env.B:=b}", {"A": "x"}, "x-b"),
        ("${env.A:=5}", {}, 5),
        ("${env.A:=5}", {"A": "6.5"}, 6.5),
        ("${env.A:=5}", {"A": ""}, 5),
        ("${env.A:=False}", {}, False),
        ("${env.A:=}", {}, None),
        ("${env.A:=~/x}", {"HOME": "/home/me"}, "/home/me/x"),
        ("${env.A:=~/x}", {}, "~/x"),
        ("${env.A:+on}", {"A": "x"}, "on"),
        ("${env.A:+on}", {}, None),
        ("a${env.A:+on}b", {}, "ab"),
        ("${env.A:=${b}", {}, "${b"),
        ("$5 and ${x}", {}, "$5 and ${x}"),
    ],
)
def test_variables_are_expanded(
    folder: Folder, written: str, environ: dict[str, str], read: object
) -> None:
    """Where any value may stand, the whole of a text becomes what YAML would have read."""
    settings = folder.load(f"customization: {{agent_card_config: {{a: ['{written}']}}}}", **environ)

    assert settings.customization.agent_card_config == {"a": [read]}


def test_variables_are_read_as_the_field_wants_them(folder: Folder) -> None:
    """Digits stay text where text is wanted."""
    settings = folder.load(
        "{name: '${env.A}', service: {port: '${env.A}', access_log: '${env.B}'}}",
        A="0080",
        B="false",
    )

    assert (settings.name, settings.service.port, settings.service.access_log) == (
        "0080",
        80,
        False,
    )


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("${env.A}", "the environment variable A is not set"),
        (
            "x ${env.A:-hush}",
            (
                "the reference to A is not understood; "
                "write ${env.A}, ${env.A:=default} or ${env.A:+value}"
            ),
        ),
        (
            "${env.}",
            (
                "the reference to NAME is not understood; "
                "write ${env.NAME}, ${env.NAME:=default} or ${env.NAME:+value}"
            ),
        ),
        (
            "${KEY}",
            (
                "the reference to KEY is not understood; "
                "write ${env.KEY}, ${env.KEY:=default} or ${env.KEY:+value}"
            ),
        ),
    ],
)
def test_variables_that_cannot_be_expanded_are_told(
    folder: Folder, written: str, problem: str
) -> None:
    """By the path of the key, and once."""
    text = f"mcp_servers: [{{name: a, url: '{written}'}}]"

    assert folder.problems(text) == [("mcp_servers[0].url", problem)]


def test_the_environment_wins_over_the_file(folder: Folder) -> None:
    """Even over a reference that cannot be expanded."""
    text = "{service: {port: 1, workers: 3}, llama_stack: {api_key: '${env.KEY}'}}"
    settings = folder.load(
        text, LLAMASTACK_A2A__SERVICE__PORT="2", LLAMASTACK_A2A__LLAMA_STACK__API_KEY="k"
    )

    assert (settings.service.port, settings.service.workers) == (2, 3)
    assert settings.llama_stack.api_key
    assert settings.llama_stack.api_key.get_secret_value() == "k"


@pytest.mark.parametrize(
    ("name", "value", "path", "read"),
    [
        ("NAME", "5", "name", "5"),
        ("A2A__TENANTS", '["a", "b"]', "a2a.tenants", ("a", "b")),
        ("SPLUNK__INDEX", "i", "splunk.index", "i"),
        ("SOLR", '{"enabled": true}', "solr.enabled", True),
        ("A2A_STATE__SQLITE__DB_PATH", "x", "a2a_state.sqlite.db_path", Path("x")),
        ("AGENT__MAX_TOKENS", "7", "agent.max_tokens", 7),
        ("AGENT__NAME", "", "agent.name", "llamastack-a2a"),
        (
            "CUSTOMIZATION__AGENT_CARD_CONFIG",
            '{"a": 1}',
            "customization.agent_card_config",
            {"a": 1},
        ),
    ],
)
def test_every_kind_of_setting_has_a_variable(
    name: str, value: str, path: str, read: object
) -> None:
    """Lists and mappings are JSON; an empty variable is none."""
    found: Any = load(None, {f"LLAMASTACK_A2A__{name}": value})
    for step in path.split("."):
        found = getattr(found, step)

    assert found == read


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "LLAMASTACK_A2A__SERVICE__PORT",
            "x",
            "service.port: must be a whole number (set by LLAMASTACK_A2A__SERVICE__PORT)",
        ),
        (
            "LLAMASTACK_A2A__A2A__TENANTS",
            "a,b",
            "a2a.tenants: must be a list (set by LLAMASTACK_A2A__A2A__TENANTS)",
        ),
        (
            "LLAMASTACK_A2A__SERVICE",
            '{"prot": 1}',
            "service.prot: unknown key; did you mean port? (set by LLAMASTACK_A2A__SERVICE)",
        ),
        (
            "LLAMASTACK_A2A__SERVCE__PORT",
            "1",
            "LLAMASTACK_A2A__SERVCE__PORT: unknown setting; did you mean LLAMASTACK_A2A__SERVICE?",
        ),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, problem: str) -> None:
    """So that nobody looks for it in the file."""
    with pytest.raises(SettingsError) as caught:
        load(None, {name: value, "UNRELATED": "1"})

    assert caught.value.message == problem


def test_openai_variables_count_where_nothing_else_is_given(folder: Folder) -> None:
    """Each on its own."""
    environ = {"OPENAI_BASE_URL": "http://env", "OPENAI_API_KEY": "k"}
    alone = load(None, environ).openai
    settings = folder.load("openai: {base_url: http://file}", **environ).openai

    assert alone.base_url == "http://env"
    assert settings.base_url == "http://file"
    assert settings.api_key
    assert settings.api_key.get_secret_value() == "k"


def test_all_problems_are_told_at_once(folder: Folder) -> None:
    """One line for each in the message."""
    text = "{name: 5, service: {port: x, prot: 1}, llama_stack: {url: '${env.URL}'}}"
    with pytest.raises(SettingsError) as caught:
        folder.load(text)

    assert str(caught.value).splitlines() == [
        "llama_stack.url: the environment variable URL is not set",
        "name: must be text",
        "service.port: must be a whole number",
        "service.prot: unknown key; did you mean port?",
    ]


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("- a", "", "settings.yaml: must hold a mapping"),
        ("a: 1\nb: [1", "", "settings.yaml: is not valid YAML at line 2"),
        ("a: \0", "", "settings.yaml: is not valid YAML"),
        ("a: 2020-13-41", "", "settings.yaml: is not valid YAML"),
        (b"\xff", "", "settings.yaml: cannot be read as UTF-8 text"),
        (
            "a: &a [*a]",
            "",
            "settings.yaml: holds an alias of itself, or is nested too deep",
        ),
        ("service:\n  port: 1\n  port: 2", "port", "is written twice (settings.yaml, line 3)"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_refused(
    folder: Folder, text: str | bytes, path: str, problem: str
) -> None:
    """With the line, where there is one."""
    assert folder.problems(text) == [(path, problem)]


def test_merged_mappings_may_override(folder: Folder) -> None:
    """That is no key written twice."""
    text = "database: {sqlite: &a {db_path: x}}\na2a_state: {sqlite: {<<: *a, db_path: y}}"
    settings = folder.load(text)

    assert settings.a2a_state.url.database == "y"


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """A missing one, and a folder."""
    with pytest.raises(SettingsError, match=str(tmp_path / name)):
        load(tmp_path / name, {})


def test_the_system_prompt_is_read_from_its_file(folder: Folder) -> None:
    """Unless the prompt itself is given."""
    prompt = folder.path / "prompt.txt"
    prompt.write_text("Be kind.")
    text = f"customization: {{system_prompt_path: {prompt}}}"

    assert folder.load(text).instructions == "Be kind."
    assert (
        folder.load(text, LLAMASTACK_A2A__CUSTOMIZATION__SYSTEM_PROMPT="Be.").instructions == "Be."
    )
    prompt.unlink()
    assert folder.problems(text) == [
        ("customization.system_prompt_path", "prompt.txt cannot be read as UTF-8 text")
    ]


def test_no_value_is_in_any_message(folder: Folder) -> None:
    """Neither in ours nor in that of the cause, which goes to the log."""
    text = (
        "{llama_stack: {url: 'ftp://u:hush@x', api_key: [hush]},"
        " a2a_state: {postgres: {user: {hush: 1}, password: [hush]}}, name: [hush]}"
    )
    with pytest.raises(SettingsError) as caught:
        folder.load(text)

    assert "hush" not in str(caught.value).replace("user.hush", "")
    assert "hush" not in str(caught.value.__cause__)
