"""Who may do what: LCS's authentication and authorization sections."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, field_validator, model_validator

from agent.settings.section import (
    FilePath,
    HttpUrl,
    JsonValue,
    Problems,
    Secret,
    Section,
    Text,
    require,
)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


type Action = Annotated[
    Literal[
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
    ],
    BeforeValidator(_lower),
]
"""LCS's actions; its documentation writes them in upper case too."""

type Module = Literal["noop", "noop-with-token", "api-key-token", "jwk-token", "k8s", "rh-identity"]

_NEEDS = {
    "jwk-token": "jwk_config",
    "api-key-token": "api_key_config",
    "rh-identity": "rh_identity_config",
}


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

    @model_validator(mode="after")
    def _matches_a_pattern(self) -> Self:
        if self.operator != "match":
            return self
        try:
            re.compile(self.value)
        except (re.error, TypeError) as exc:
            raise Problems({"value": "must be a regular expression"}) from exc
        return self


class Jwt(Section):
    """Which claims of a token say who the caller is."""

    user_id_claim: Text = "user_id"
    username_claim: Text = "username"
    role_rules: tuple[JwtRoleRule, ...] = ()


class Jwk(Section):
    """Where the keys are that tokens are checked with."""

    url: HttpUrl
    jwt_configuration: Jwt = Jwt()


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
    actions: tuple[Action, ...]


class Authorization(Section):
    """Who may do what; everybody everything when there are no rules."""

    access_rules: tuple[AccessRule, ...] = ()
