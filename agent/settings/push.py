"""Push notifications: how webhooks are called."""

import base64
import binascii
import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from agent.settings.section import Count, Seconds, Secret, Section, Text, Whole

PREFIX = "whsec_"
"""How secrets of Standard Webhooks begin; what follows is the key in base64."""

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class Push(Section):
    """``allow`` names hosts and networks that may be called although they are not public."""

    enabled: bool = True
    timeout_seconds: Seconds = 15.0
    attempts: Count = 10
    backoff_seconds: Seconds = 1.0
    backoff_max_seconds: Seconds = 3600.0
    concurrency: Count = 32
    configs_per_task: Count = 10
    https_only: bool = False
    ports: tuple[Annotated[Whole, Field(ge=1, le=65535)], ...] = ()
    allow: tuple[Text, ...] = ()
    hmac_secret: Secret | None = None

    @field_validator("allow")
    @classmethod
    def _are_hosts_or_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not (_is_network(entry) or _HOST.fullmatch(entry.lower())):
                raise ValueError("must be host names, addresses or networks such as 10.0.0.0/8")
        return value

    @field_validator("hmac_secret")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        given = value.get_secret_value() if value else ""
        if given.startswith(PREFIX) and not _is_encoded(given.removeprefix(PREFIX)):
            raise ValueError(f"must be base64 after {PREFIX}")
        return value


def _is_encoded(key: str) -> bool:
    try:
        return bool(base64.b64decode(key, validate=True))
    except binascii.Error:
        return False


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry, strict=False)
    except ValueError:
        return False
    return True
