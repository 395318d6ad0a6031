"""Who may do what, as LCS shows it: the sections of authentication and authorization."""

from typing import Any, Literal

from agent.settings.access import Action
from rest_compat.lightspeed.shown import FilePath, FullUrl, Secret, Shown

type JsonPathOperator = Literal["equals", "contains", "in", "match"]


class JwtRoleRule(Shown):
    """Gives roles to tokens whose claims fit."""

    jsonpath: str
    operator: JsonPathOperator
    negate: bool = False
    value: Any
    roles: tuple[str, ...]


class JwtConfiguration(Shown):
    """Which claims of a token say who the caller is."""

    user_id_claim: str = "user_id"
    username_claim: str = "username"
    role_rules: tuple[JwtRoleRule, ...] = ()


class JwkConfiguration(Shown):
    """Where the keys are that tokens are checked with."""

    url: FullUrl
    jwt_configuration: JwtConfiguration = JwtConfiguration()


class APIKeyTokenConfiguration(Shown):
    """The one key that callers show."""

    api_key: Secret


class RHIdentityConfiguration(Shown):
    """What a caller must be entitled to."""

    required_entitlements: tuple[str, ...] | None = None


class AuthenticationConfiguration(Shown):
    """How callers say who they are."""

    module: str = "noop"
    skip_tls_verification: bool = False
    skip_for_health_probes: bool = False
    k8s_cluster_api: FullUrl | None = None
    k8s_ca_cert_path: FilePath | None = None
    jwk_config: JwkConfiguration | None = None
    api_key_config: APIKeyTokenConfiguration | None = None
    rh_identity_config: RHIdentityConfiguration | None = None


class AccessRule(Shown):
    """What a role may do."""

    role: str
    actions: tuple[Action, ...]


class AuthorizationConfiguration(Shown):
    """Who may do what."""

    access_rules: tuple[AccessRule, ...] = ()
