"""Who may do what: LCS's authentication and authorization sections."""

import re
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from agent.settings.claim_search import path_finder, pattern
from agent.settings.section import (
    FilePath,
    HttpUrl,
    JsonValue,
    Number,
    Problems,
    Seconds,
    Secret,
    Section,
    Text,
    require,
)


def _is_path(value: str) -> str:
    if not re.fullmatch(r"/[!-~]*", value):
        raise ValueError("must be a path that begins with /")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


type Action = Literal[
    "admin",
    "list_other_conversations",
    "read_other_conversations",
    "query_other_conversations",
    "delete_other_conversations",
    "query",
    "streaming_query",
    "get_conversation",
    "list_conversations",
    "delete_conversation",
    "update_conversation",
    "feedback",
    "get_models",
    "get_tools",
    "get_shields",
    "list_providers",
    "get_provider",
    "list_rags",
    "get_rag",
    "get_metrics",
    "get_config",
    "info",
    "model_override",
    "rlsapi_v1_infer",
    "a2a_agent_card",
    "a2a_task_execution",
    "a2a_message",
    "a2a_jsonrpc",
    "agents",
    "datasets",
    "eval",
    "rerank",
    "post_training",
]
"""LCS's actions, and the last five for Llama Stack's experimental API, which LCS does not know."""

type WrittenAction = Annotated[Action, BeforeValidator(_lower)]
"""The documentation of LCS writes them in upper case too."""

type Module = Literal["noop", "noop-with-token", "api-key-token", "jwk-token", "k8s", "rh-identity"]

_NEEDS = {"jwk-token": "jwk_config", "api-key-token": "api_key_config"}


type Algorithm = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
"""What a token may be signed with: a private key that nobody but its issuer has."""

type Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
"""Several, or one that stands alone."""


class JwtRoleRule(Section):
    """Gives roles to tokens whose claims fit."""

    jsonpath: Text
    operator: Literal["equals", "contains", "in", "match"]
    negate: bool = False
    value: JsonValue
    roles: tuple[Text, ...]

    @field_validator("roles")
    @classmethod
    def _are_roles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must name at least one role")
        if "*" in value:
            raise ValueError("must not name *: everybody has it")
        return value

    @field_validator("jsonpath")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        path_finder(value)
        return value

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        if self.operator == "in" and not isinstance(self.value, list):
            raise Problems({"value": "must be a list"})
        if self.operator == "match":
            try:
                pattern(self.value)
            except ValueError as exc:
                raise Problems({"value": str(exc)}) from exc
        return self


class Jwt(Section):
    """Which claims of a token say who the caller is."""

    user_id_claim: Text = "user_id"
    username_claim: Text = "username"
    audience: Texts = ()
    issuer: Texts = ()
    leeway_seconds: Annotated[Number, Field(ge=0, le=300)] = 30
    role_rules: tuple[JwtRoleRule, ...] = ()


class Jwk(Section):
    """Where the keys are that tokens are checked with."""

    url: HttpUrl
    ca_cert_path: FilePath | None = None
    algorithms: tuple[Algorithm, ...] = get_args(Algorithm.__value__)
    cache_seconds: Seconds = 3600
    refetch_seconds: Seconds = 10
    jwt_configuration: Jwt = Jwt()

    @field_validator("algorithms")
    @classmethod
    def _are_some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must name at least one")
        return value

    @field_validator("url")
    @classmethod
    def _is_public(cls, value: str) -> str:
        if "@" in urlsplit(value).netloc:
            raise ValueError("must not hold a user or a password: key sets are public")
        return value

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.refetch_seconds > self.cache_seconds:
            raise Problems({"refetch_seconds": "must be at most cache_seconds"})
        return self


class ApiKey(Section):
    """The one key that callers show."""

    api_key: Secret


class RhIdentity(Section):
    """What a caller must be entitled to."""

    required_entitlements: tuple[Text, ...] | None = None


class Authentication(Section):
    """How callers say who they are."""

    module: Module = "noop"
    skip_tls_verification: bool = False
    skip_for_health_probes: bool = False
    k8s_cluster_api: HttpUrl | None = None
    k8s_ca_cert_path: FilePath | None = None
    k8s_service_account: FilePath | None = None
    k8s_virtual_path: Annotated[str, AfterValidator(_is_path)] = "/ls-access"
    k8s_audiences: tuple[Text, ...] = ()
    k8s_cache_seconds: Annotated[Number, Field(ge=0)] = 10.0
    k8s_timeout_seconds: Seconds = 5.0
    jwk_config: Jwk | None = None
    api_key_config: ApiKey | None = None
    rh_identity_config: RhIdentity | None = None

    @model_validator(mode="after")
    def _has_its_section(self) -> Self:
        if key := _NEEDS.get(self.module):
            require(self, key, because=f"module {self.module}")
        return self


class AccessRule(Section):
    """What a role may do."""

    role: Text
    actions: tuple[WrittenAction, ...]


class Authorization(Section):
    """Who may do what; everybody everything when there are no rules."""

    access_rules: tuple[AccessRule, ...] = ()
