"""The configuration as LCS shows it: the sections and keys that its schema has, and no others.

What is not named here is not shown, such as sections and keys of our own: LCS's schema is closed, and
what is new to the settings may be a secret. Models have LCS's names and defaults.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr

from rest_compat.lightspeed.configuration_access import (
    AuthenticationConfiguration,
    AuthorizationConfiguration,
)
from rest_compat.lightspeed.shown import (
    AnyPath,
    FilePath,
    FullUrl,
    Json,
    NotNegative,
    PathlessUrl,
    Positive,
    Shown,
    Source,
    Text,
    Url,
)


class TLSConfiguration(Shown):
    """HTTPS."""

    tls_certificate_path: FilePath | None = None
    tls_key_path: FilePath | None = None
    tls_key_password: FilePath | None = None


class CORSConfiguration(Shown):
    """What browsers on other origins may do."""

    allow_origins: tuple[str, ...] = ("*",)
    allow_credentials: bool = False
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ("*",)


class ServiceConfiguration(Shown):
    """The HTTP server."""

    host: str = "localhost"
    port: Positive = 8080
    base_url: Url | None = None
    auth_enabled: bool = False
    workers: Positive = 1
    color_log: bool = True
    access_log: bool = True
    tls_config: TLSConfiguration = TLSConfiguration()
    root_path: str = ""
    cors: CORSConfiguration = CORSConfiguration()


class LlamaStackConfiguration(Shown):
    """The Llama Stack that runs the turns."""

    url: FullUrl | None = None
    api_key: SecretStr | None = None
    use_as_library_client: bool | None = None
    library_client_config_path: AnyPath | None = None
    timeout: Positive = 180


class UserDataCollection(Shown):
    """Feedback and transcripts."""

    feedback_enabled: bool = False
    feedback_storage: AnyPath | None = None
    transcripts_enabled: bool = False
    transcripts_storage: AnyPath | None = None


class SQLiteDatabaseConfiguration(Shown):
    """A database in a file."""

    db_path: AnyPath


class PostgreSQLDatabaseConfiguration(Shown):
    """A database on a server."""

    host: str = "localhost"
    port: Positive = 5432
    db: str
    user: str
    password: SecretStr
    namespace: str | None = "public"
    ssl_mode: str = "prefer"
    gss_encmode: str = "prefer"
    ca_cert_path: FilePath | None = None


class _Databases(Shown):
    sqlite: SQLiteDatabaseConfiguration | None = None
    postgres: PostgreSQLDatabaseConfiguration | None = None


class DatabaseConfiguration(_Databases):
    """LCS's database of conversation ids."""


class A2AStateConfiguration(_Databases):
    """Where tasks and conversations are kept."""


class ModelContextProtocolServer(Shown):
    """An MCP server; what its headers hold, or where that is kept, is not shown."""

    name: str
    provider_id: str = "model-context-protocol"
    url: PathlessUrl
    authorization_headers: dict[str, Source] = Field(default_factory=dict)
    timeout: Positive | None = None


class CustomProfile(Shown):
    """Prompts by name from a Python module."""

    # The one section that LCS leaves open.
    model_config = ConfigDict(extra="ignore")

    path: AnyPath
    prompts: dict[str, str] = Field(default_factory=dict)


class Customization(Shown):
    """What makes this agent different from others."""

    profile_path: AnyPath | None = None
    disable_query_system_prompt: bool = False
    disable_shield_ids_override: bool = False
    system_prompt_path: FilePath | None = None
    system_prompt: str | None = None
    agent_card_path: FilePath | None = None
    agent_card_config: Mapping[str, Json] | None = None
    custom_profile: CustomProfile | None = None


class InferenceConfiguration(Shown):
    """The model that answers when the caller names none."""

    default_model: str | None = None
    default_provider: str | None = None


class InMemoryCacheConfig(Shown):
    """A cache that is lost with the process."""

    max_entries: Positive


class ConversationHistoryConfiguration(Shown):
    """Where LCS keeps the questions and answers of its conversations."""

    type: Literal["noop", "memory", "sqlite", "postgres"] | None = None
    memory: InMemoryCacheConfig | None = None
    sqlite: SQLiteDatabaseConfiguration | None = None
    postgres: PostgreSQLDatabaseConfiguration | None = None


class ByokRag(Shown):
    """A vector database of the user's own documents."""

    rag_id: Text
    rag_type: Text = "inline::faiss"
    embedding_model: Text = "sentence-transformers/all-mpnet-base-v2"
    embedding_dimension: Positive = 768
    vector_db_id: Text
    db_path: FilePath


class QuotaLimiterConfiguration(Shown):
    """How many tokens a user or the whole cluster may spend in a period."""

    type: Literal["user_limiter", "cluster_limiter"]
    name: str
    initial_quota: NotNegative
    quota_increase: NotNegative
    period: str


class QuotaSchedulerConfiguration(Shown):
    """When quotas are looked at."""

    period: Positive = 1
    database_reconnection_count: Positive = 10
    database_reconnection_delay: Positive = 1


class QuotaHandlersConfiguration(_Databases):
    """Limits on tokens, and where what was spent is kept."""

    limiters: tuple[QuotaLimiterConfiguration, ...] = ()
    scheduler: QuotaSchedulerConfiguration = QuotaSchedulerConfiguration()
    enable_token_history: bool = False


class AzureEntraIdConfiguration(Shown):
    """Credentials for Azure's models."""

    tenant_id: SecretStr
    client_id: SecretStr
    client_secret: SecretStr
    scope: str = "https://cognitiveservices.azure.com/.default"


class SplunkConfiguration(Shown):
    """Where telemetry events are sent."""

    enabled: bool = False
    url: Url | None = None
    token_path: FilePath | None = None
    index: str | None = None
    source: str = "lightspeed-stack"
    timeout: Positive = 5
    verify_ssl: bool = True


class SolrConfiguration(Shown):
    """Vector search in Solr."""

    enabled: bool = False
    offline: bool = True


class Configuration(Shown):
    """All of it."""

    name: str
    service: ServiceConfiguration
    llama_stack: LlamaStackConfiguration
    user_data_collection: UserDataCollection
    database: DatabaseConfiguration = DatabaseConfiguration()
    mcp_servers: tuple[ModelContextProtocolServer, ...] = ()
    authentication: AuthenticationConfiguration = AuthenticationConfiguration()
    authorization: AuthorizationConfiguration | None = None
    customization: Customization | None = None
    inference: InferenceConfiguration = InferenceConfiguration()
    conversation_cache: ConversationHistoryConfiguration = ConversationHistoryConfiguration()
    byok_rag: tuple[ByokRag, ...] = ()
    a2a_state: A2AStateConfiguration = A2AStateConfiguration()
    quota_handlers: QuotaHandlersConfiguration = QuotaHandlersConfiguration()
    azure_entra_id: AzureEntraIdConfiguration | None = None
    splunk: SplunkConfiguration | None = None
    deployment_environment: str = "development"
    solr: SolrConfiguration | None = None
