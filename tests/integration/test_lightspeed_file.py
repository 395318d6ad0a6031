"""Files of LCS, with every section that it has, start the server unchanged by the command line."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from sqlalchemy import Connection, text

from a2a_state.migrate import is_current, migrate
from agent.databases import make_database
from agent.settings import Settings
from tests.durability.process import Process, running, state_of
from tests.fakes.issuer import Issuer
from tests.fakes.lightspeed_document import check, published
from tests.fakes.responses import FakeResponses, Script, answer
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

type Headers = dict[str, str]

# As those of its quick start: a Llama Stack on another host, everybody may call.
SERVER = """
name: Core Service (LCS)
service:
  host: 127.0.0.1
  port: PORT
  base_url: http://127.0.0.1:PORT
  auth_enabled: false
  workers: 1
  color_log: true
  access_log: true
llama_stack:
  # Uses a remote llama-stack service
  use_as_library_client: false
  url: ${env.STACK_URL:=STACK}
  api_key: ${env.STACK_KEY:=xyzzy}
user_data_collection:
  feedback_enabled: true
  feedback_storage: "FOLDER/feedback"
  transcripts_enabled: true
  transcripts_storage: "FOLDER/transcripts"
# Conversation cache for storing questions and answers
conversation_cache:
  type: "sqlite"
  sqlite:
    db_path: "FOLDER/conversation-cache.db"
database:
  sqlite:
    db_path: "FOLDER/lightspeed-stack.db"
authentication:
  module: "noop"
inference:
  default_provider: vllm
  default_model: small
"""

# The Llama Stack in process, by a run.yaml; a cache in memory and a profile of prompts.
LIBRARY = """
name: in one process
service: {host: localhost, port: PORT, auth_enabled: false, workers: 1, color_log: false, access_log: false}
llama_stack:
  use_as_library_client: true
  library_client_config_path: FOLDER/run.yaml
user_data_collection:
  feedback_enabled: false
customization:
  profile_path: FOLDER/profile.py
  disable_query_system_prompt: true
  agent_card_path: FOLDER/agent_card.yaml
conversation_cache:
  type: memory
  memory: {max_entries: 100}
database:
  sqlite: {db_path: FOLDER/lcs.db}
authentication: {module: noop-with-token}
"""

# All sections at once, with every kind of limit, rule and credential.
EVERYTHING = """
name: everything
service:
  host: 127.0.0.1
  port: PORT
  base_url: https://lightspeed.example.com
  auth_enabled: true
  workers: 2
  color_log: false
  access_log: true
  tls_config: {tls_certificate_path: null, tls_key_path: null, tls_key_password: null}
  root_path: ""
  cors:
    allow_origins: ["https://ui.example.com"]
    allow_credentials: true
    allow_methods: ["GET", "POST"]
    allow_headers: ["Authorization", "Content-Type"]
llama_stack: {url: "STACK", api_key: xyzzy, use_as_library_client: false, timeout: 30}
user_data_collection:
  feedback_enabled: true
  feedback_storage: FOLDER/feedback
  transcripts_enabled: true
  transcripts_storage: FOLDER/transcripts
database:
  sqlite: {db_path: FOLDER/lcs.db}
mcp_servers:
  - name: "filesystem"
    provider_id: "model-context-protocol"
    url: "http://127.0.0.1:9/mcp"
  - name: "with headers"
    url: "http://127.0.0.1:9/other"
    authorization_headers:
      Authorization: FOLDER/secret
      X-User: client
    timeout: 5
authentication:
  module: "jwk-token"
  skip_tls_verification: false
  skip_for_health_probes: true
  jwk_config:
    url: ISSUER
    jwt_configuration:
      user_id_claim: sub
      username_claim: name
      role_rules:
        - jsonpath: "$.groups[*]"
          operator: "contains"
          value: "admins"
          roles: ["administrator"]
        - {jsonpath: "$.mail", operator: match, value: "@example\\\\.com$", roles: [employee]}
authorization:
  access_rules:
    - role: "administrator"
      actions: ["admin"]
    - role: "*"
      actions: ["info", "query", "streaming_query", "get_config", "a2a_jsonrpc"]
customization:
  disable_query_system_prompt: false
  disable_shield_ids_override: true
  system_prompt_path: FOLDER/prompt.txt
  custom_profile: {path: FOLDER/profile.py}
  agent_card_config:
    name: Everything
    description: all of it
    provider: {organization: Example, url: "https://example.com"}
    skills:
      - {id: qa, name: QA, description: answers, tags: [qa], examples: [hi]}
    capabilities: {streaming: true, pushNotifications: false, stateTransitionHistory: false}
    defaultInputModes: [text/plain]
    defaultOutputModes: [text/plain]
inference: {default_model: small, default_provider: vllm}
conversation_cache: {type: sqlite, sqlite: {db_path: FOLDER/cache.db}}
byok_rag:
  - rag_id: ocp-docs
    rag_type: inline::faiss
    embedding_model: sentence-transformers/all-mpnet-base-v2
    embedding_dimension: 768
    vector_db_id: vs_1
    db_path: FOLDER/faiss_store.db
a2a_state: {sqlite: {db_path: FOLDER/a2a.db}}
quota_handlers:
  sqlite: {db_path: FOLDER/quotas.db}
  limiters:
    - {name: users, type: user_limiter, initial_quota: 100000, quota_increase: 10, period: "1 day"}
    - {name: all, type: cluster_limiter, initial_quota: 100000, quota_increase: 0, period: "1 month"}
  scheduler: {period: 1, database_reconnection_count: 3, database_reconnection_delay: 1}
  enable_token_history: true
azure_entra_id:
  tenant_id: ${env.TENANT_ID:=tenant}
  client_id: ${env.CLIENT_ID:=client}
  client_secret: ${env.CLIENT_SECRET:=hush-azure}
  scope: "https://cognitiveservices.azure.com/.default"
splunk:
  enabled: true
  url: "http://127.0.0.1:9/services/collector"
  token_path: FOLDER/secret
  index: "lightspeed"
  source: "lightspeed-stack"
  timeout: 1
  verify_ssl: false
deployment_environment: "production"
solr: {enabled: true, offline: false}
"""

# Red Hat's identities, and a state that only a2a_state names.
IDENTITY = """
name: behind a gateway
service: {host: 127.0.0.1, port: PORT, auth_enabled: true, workers: 1, color_log: true, access_log: true}
llama_stack: {use_as_library_client: false, url: STACK, api_key: xyzzy}
user_data_collection: {feedback_enabled: false, transcripts_enabled: false}
authentication:
  module: "rh-identity"
  skip_for_health_probes: true
  rh_identity_config:
    required_entitlements: ["rhel"]
conversation_cache: {type: noop}
a2a_state: {sqlite: {db_path: FOLDER/a2a.db}}
quota_handlers:
  limiters: []
  scheduler: {period: 1}
"""

IDENTITY_OF_A_USER = {
    "identity": {
        "type": "User",
        "org_id": "1",
        "user": {"user_id": "7", "username": "ann"},
    },
    "entitlements": {"rhel": {"is_entitled": True, "is_trial": False}},
}

CARD = {
    "name": "From a file",
    "description": "an agent",
    "provider": {"organization": "Example", "url": "https://example.com"},
    "skills": [{"id": "qa", "name": "QA", "description": "answers", "tags": ["qa"]}],
    "capabilities": {"streaming": True},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
}


def written(folder: Path, content: str, **places: str) -> Process:
    """Return a server with this file, beside the files that it names."""
    process = Process(folder, stack=None)
    (folder / "profile.py").write_text('PROFILE_CONFIG = {"system_prompts": {"default": "Be."}}')
    (folder / "agent_card.yaml").write_text(yaml.safe_dump(CARD))
    (folder / "prompt.txt").write_text("Be kind.")
    (folder / "secret").write_text("hush-secret")
    for word, value in {"PORT": str(process.port), "FOLDER": str(folder), **places}.items():
        content = re.sub(rf"\b{word}\b", value, content)
    process.config.write_text(content)
    return process


async def answered(process: Process, headers: Headers | None = None) -> dict[str, Any]:
    """Ask a server how it is and what it is; returns the configuration that it shows."""
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=10) as http:
        ready = await http.get("/readiness")
        assert (ready.status_code, ready.json()["ready"]) == (200, True), ready.text
        info = await http.get("/v1/info")
        assert info.status_code == 200, info.text
        check(info.json(), "InfoResponse", published())
        config = await http.get("/v1/config")
        assert config.status_code == 200, config.text
        check(config.json(), "ConfigurationResponse", published())
        assert "hush" not in config.text
        shown: dict[str, Any] = config.json()["configuration"]
        assert info.json()["name"] == shown["name"]
        return shown


async def test_a_file_of_server_mode(tmp_path: Path) -> None:
    """With a Llama Stack that answers."""
    fake = FakeResponses()
    fake.scripts = [Script(answer("Hello from it"))]
    async with run_server(fake.app) as stack:
        process = written(tmp_path, SERVER, STACK=stack)
        async with running(process):
            shown = await answered(process)
            said = await send(process)
    assert "Hello from it" in said
    assert shown["llama_stack"]["url"] == stack
    assert shown["conversation_cache"]["type"] == "sqlite"
    assert shown["user_data_collection"]["feedback_enabled"]
    assert (tmp_path / "lightspeed-stack.db").exists()


async def send(process: Process) -> str:
    """Send a message over A2A; returns the whole answer."""
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "Hello"}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    async with httpx.AsyncClient(base_url=process.url, timeout=20) as http:
        return (await http.post("/a2a", json=call)).text


async def test_a_file_of_library_mode_without_the_package(tmp_path: Path) -> None:
    """It starts on the embedded stack, and says so."""
    process = written(tmp_path, LIBRARY)
    async with running(process):
        shown = await answered(process, {"Authorization": "Bearer anything"})
    assert process.log.count("llama_stack.use_as_library_client runs the embedded stack") == 1
    assert shown["llama_stack"]["use_as_library_client"] is True
    assert shown["llama_stack"]["library_client_config_path"] == str(tmp_path / "run.yaml")
    assert shown["customization"]["custom_profile"]["prompts"] == {"default": "Be."}
    assert shown["customization"]["agent_card_config"] == CARD
    assert (tmp_path / "lcs.db").exists()


async def test_a_file_with_everything(tmp_path: Path) -> None:
    """Two processes, tokens, roles, quotas, and places that nobody answers at."""
    async with Issuer().serving() as issuer, run_server(FakeResponses().app) as stack:
        process = written(tmp_path, EVERYTHING, STACK=stack, ISSUER=issuer.url)
        token = issuer.token(sub="u1", name="ann", groups=["admins"])
        async with running(process):
            shown = await answered(process, {"Authorization": f"Bearer {token}"})
            async with httpx.AsyncClient(base_url=process.url) as http:
                assert (await http.get("/v1/config")).status_code == 401
    assert {section for section, value in shown.items() if not value} == set()
    assert shown["byok_rag"][0]["vector_db_id"] == "vs_1"
    assert [each["name"] for each in shown["quota_handlers"]["limiters"]] == ["users", "all"]
    assert shown["customization"]["system_prompt"] == "Be kind."
    assert "hush" not in process.log


async def test_a_file_of_identities(tmp_path: Path) -> None:
    """As a gateway sends them."""
    header = base64.b64encode(json.dumps(IDENTITY_OF_A_USER).encode()).decode()
    async with run_server(FakeResponses().app) as stack:
        process = written(tmp_path, IDENTITY, STACK=stack)
        async with running(process):
            shown = await answered(process, {"x-rh-identity": header})
    assert shown["authentication"]["rh_identity_config"] == {"required_entitlements": ["rhel"]}
    assert (tmp_path / "a2a.db").exists()


@pytest.mark.parametrize("namespace", ["lightspeed-stack", 'Odd "name"; --', "public"])
async def test_the_namespace_of_a_file_is_made_if_it_is_not_there(
    postgres_url: str, namespace: str
) -> None:
    """As LCS makes it, in whatever database it is named."""
    where = state_of(postgres_url)["postgres"] | {"namespace": namespace}
    settings = Settings.model_validate({"database": {"postgres": where}})
    for _ in range(2):
        database = make_database(settings)
        try:
            await database.open()
            await migrate(database)
            assert await is_current(database)
            assert await database.read(_schema) == namespace
        finally:
            await database.close()


def _schema(connection: Connection) -> str:
    names: set[str] = set(
        connection.execute(
            text("SELECT schemaname FROM pg_tables WHERE tablename IN ('tasks', 'contexts')")
        ).scalars()
    )
    (name,) = names
    return name
