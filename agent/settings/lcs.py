"""The sections of LCS's configuration file, as LCS names them."""

import re
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, SecretStr, Tag, field_validator, model_validator

from agent.settings.header_names import HEADERS, problems_of_names
from agent.settings.section import (
    Count,
    FilePath,
    HttpUrl,
    JsonObject,
    Port,
    Problems,
    Secret,
    Section,
    Text,
    Whole,
    require,
)

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


class Tls(Section):
    """HTTPS; ``tls_key_password`` is the path of a file that holds the password."""

    tls_certificate_path: FilePath | None = None
    tls_key_path: FilePath | None = None
    tls_key_password: FilePath | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.tls_certificate_path or self.tls_key_path or self.tls_key_password:
            require(self, "tls_certificate_path", "tls_key_path", because="HTTPS")
        return self


class Cors(Section):
    """What browsers on other origins may do.

    Without ``allow_origins`` any may where callers must authenticate, and none where they need not.
    """

    allow_origins: tuple[str, ...] | None = None
    allow_credentials: bool = False
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ("*",)

    @model_validator(mode="after")
    def _credentials_need_origins(self) -> Self:
        if self.allow_credentials and "*" in (self.allow_origins or "*"):
            raise Problems({"allow_credentials": "needs allow_origins without *"})
        return self

    @field_validator("allow_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for origin in value or ():
            if origin not in {"*", "null"} and not _ORIGIN.fullmatch(origin):
                raise ValueError("an origin is scheme://host[:port], without a path; * is any")
        return value


class Service(Section):
    """The HTTP server."""

    host: Text = "localhost"
    port: Port = 8080
    base_url: HttpUrl | None = None
    auth_enabled: bool = False
    workers: Count = 1
    color_log: bool = True
    access_log: bool = True
    tls_config: Tls = Tls()
    root_path: str = ""
    cors: Cors = Cors()
    hsts_seconds: Annotated[Whole, Field(ge=0)] | None = 31_536_000
    trusted_proxies: tuple[str, ...] = ()

    @field_validator("base_url")
    @classmethod
    def _is_a_base(cls, value: str | None) -> str | None:
        if value and ("?" in value or "#" in value):
            raise ValueError("must not have a query or a fragment")
        return value.rstrip("/") if value else None

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for each in value if value != ("*",) else ():
                ip_network(each)
        except ValueError:
            problem = "must be addresses such as 10.0.0.5, networks such as 10.1.0.0/16, or * alone"
            raise ValueError(problem) from None
        return value

    @field_validator("root_path")
    @classmethod
    def _is_a_prefix(cls, value: str) -> str:
        if value and (not value.startswith("/") or value.endswith("/")):
            raise ValueError("must begin with / and not end with it")
        return value

    @property
    def public_url(self) -> str:
        """Where callers reach this server, without a slash at the end; never from a Host header."""
        if self.base_url:
            return self.base_url
        scheme = "https" if self.tls_config.tls_certificate_path else "http"
        host = "localhost" if self.host in {"0.0.0.0", "::", "[::]"} else self.host
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{scheme}://{host}:{self.port}{self.root_path}"


class LlamaStack(Section):
    """The Llama Stack that runs the turns; without ``url`` the embedded one does.

    ``library_python`` is ours: the interpreter of a virtual environment that has Llama Stack.
    """

    use_as_library_client: bool | None = None
    library_client_config_path: FilePath | None = None
    library_python: FilePath | None = None
    url: HttpUrl | None = None
    api_key: SecretStr | None = None
    timeout: Count = 180

    @field_validator("url")
    @classmethod
    def _library_wins(cls, value: str | None, info: Any) -> str | None:
        return None if info.data.get("use_as_library_client") else value

    @property
    def library(self) -> Path | None:
        """The ``run.yaml`` of library mode, where it is asked for and can be had."""
        there = self.library_python is not None or find_spec("llama_stack") is not None
        return self.library_client_config_path if self.use_as_library_client and there else None


class UserDataCollection(Section):
    """Feedback and transcripts, as JSON files in folders."""

    feedback_enabled: bool = False
    feedback_storage: FilePath | None = None
    transcripts_enabled: bool = False
    transcripts_storage: FilePath | None = None

    @model_validator(mode="after")
    def _have_folders(self) -> Self:
        if self.feedback_enabled:
            require(self, "feedback_storage", because="feedback_enabled")
        if self.transcripts_enabled:
            require(self, "transcripts_storage", because="transcripts_enabled")
        return self


def _approval_kind(value: Any) -> str:
    return "<tools>" if isinstance(value, list | tuple) else "<word>"


type Approval = Annotated[
    Annotated[Literal["never", "always"], Tag("<word>")]
    | Annotated[tuple[Text, ...], Tag("<tools>")],
    Discriminator(_approval_kind),
]
"""Which calls wait for approval: none, all, or those of the tools that are named."""


class McpServer(Section):
    """An MCP server; header values are paths of files, or ``kubernetes``, ``client``, ``oauth``.

    ``require_approval`` is ours: the calls that wait until the caller approves them.
    """

    name: Text
    provider_id: Text = "model-context-protocol"
    url: HttpUrl
    authorization_headers: dict[str, str] = Field(default_factory=dict)
    timeout: Count | None = None
    require_approval: Approval = "never"

    @field_validator("authorization_headers")
    @classmethod
    def _can_be_sent(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) > HEADERS:
            raise ValueError(f"must hold {HEADERS} headers at most")
        problems = problems_of_names(list(value))
        problems |= {name: "must not be empty" for name, source in value.items() if not source}
        if problems:
            raise Problems(problems)
        return value

    def wants_approval(self, tool: str) -> bool:
        """Whether calls of a tool wait for approval."""
        asked = self.require_approval
        return asked == "always" or (asked != "never" and tool in asked)


class ByokRag(Section):
    """A vector database of the user's own documents."""

    rag_id: Text
    rag_type: Text = "inline::faiss"
    embedding_model: Text = "sentence-transformers/all-mpnet-base-v2"
    embedding_dimension: Count = 768
    vector_db_id: Text
    db_path: FilePath


class CustomProfile(Section):
    """Prompts by name; ``load`` reads those of the Python module at ``path``, which win."""

    path: FilePath
    prompts: dict[str, str] = Field(default_factory=dict)


class Customization(Section):
    """What makes this agent different from others."""

    profile_path: FilePath | None = None
    disable_query_system_prompt: bool = False
    disable_shield_ids_override: bool = False
    system_prompt_path: FilePath | None = None
    system_prompt: str | None = None
    agent_card_path: FilePath | None = None
    agent_card_config: JsonObject | None = None
    custom_profile: CustomProfile | None = None


class Inference(Section):
    """The model that answers when the caller names none."""

    default_model: Text | None = None
    default_provider: Text | None = None

    @model_validator(mode="after")
    def _provider_has_model(self) -> Self:
        if self.default_provider:
            require(self, "default_model", because="default_provider")
        return self


class AzureEntraId(Section):
    """Credentials for Azure's models; ``authority_host`` is ours."""

    tenant_id: Secret
    client_id: Secret
    client_secret: Secret
    scope: Text = "https://cognitiveservices.azure.com/.default"
    authority_host: HttpUrl = "https://login.microsoftonline.com"

    @field_validator("authority_host")
    @classmethod
    def _is_public(cls, value: str) -> str:
        if "@" in urlsplit(value).netloc or "?" in value or "#" in value:
            raise ValueError("must not hold a user, a password, a query or a fragment")
        return value.rstrip("/")


class Splunk(Section):
    """Where telemetry events are sent; ``timeout`` in seconds."""

    enabled: bool = False
    url: HttpUrl | None = None
    token_path: FilePath | None = None
    index: Text | None = None
    source: Text = "lightspeed-stack"
    timeout: Count = 5
    verify_ssl: bool = True

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.enabled:
            require(self, "url", "token_path", "index", because="enabled")
        return self


class Solr(Section):
    """Vector search in Solr."""

    enabled: bool = False
    offline: bool = True
