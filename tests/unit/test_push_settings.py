"""The settings of push notifications."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent.settings.push import Push


@pytest.mark.parametrize(
    "entry", ["hooks.internal", "Hooks", "10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "fd00::/8", "::1"]
)
def test_hosts_and_networks_can_be_exempt(entry: str) -> None:
    assert Push(allow=(entry,)).allow == (entry,)


@pytest.mark.parametrize(
    "entry", ["", "*", "*.internal", "http://hooks.internal", "10.0.0.0/33", "hooks:8080", "a b"]
)
def test_what_is_neither_host_nor_network_is_refused(entry: str) -> None:
    with pytest.raises(ValidationError):
        Push(allow=(entry,))


@pytest.mark.parametrize(
    "given",
    [
        {"ports": [0]},
        {"ports": [65536]},
        {"timeout_seconds": 0},
        {"attempts": 0},
        {"concurrency": 0},
        {"configs_per_task": 0},
        {"hmac_secret": ""},
    ],
    ids=str,
)
def test_values_out_of_bounds_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Push.model_validate(given)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_???", "whsec_abc"])
def test_a_secret_that_begins_as_one_of_standard_webhooks_must_be_one(secret: str) -> None:
    with pytest.raises(ValidationError, match="must be base64 after whsec_"):
        Push.model_validate({"hmac_secret": secret})
