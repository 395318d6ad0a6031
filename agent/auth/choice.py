"""Which module tells who callers are: LCS's ``authentication.module``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.auth.api_key import ApiKeyToken
from agent.auth.k8s import make_k8s
from agent.auth.noop import Noop
from agent.auth.noop_with_token import NoopWithToken
from agent.auth.rh_identity import RhIdentity
from agent.errors import SettingsError

if TYPE_CHECKING:
    from agent.auth.base import Authenticator
    from agent.settings import Settings


def make_authenticator(settings: Settings) -> Authenticator:
    """Return the module, not open yet. Raises ``SettingsError``: better no server than an open one."""
    authentication = settings.authentication
    match authentication.module:
        case "noop":
            return Noop()
        case "noop-with-token":
            return NoopWithToken()
        case "api-key-token" if authentication.api_key_config is not None:
            return ApiKeyToken(authentication.api_key_config.api_key.get_secret_value())
        case "k8s":
            return make_k8s(authentication, os.environ)
        case "rh-identity":
            config = authentication.rh_identity_config
            return RhIdentity((config and config.required_entitlements) or ())
        case "jwk-token" if authentication.jwk_config is not None:
            from agent.auth.jwk_token import JwkToken  # cryptography is slow to import

            return JwkToken(authentication.jwk_config, authentication)
        case module:
            raise SettingsError("authentication.module", f"{module} is not supported")
