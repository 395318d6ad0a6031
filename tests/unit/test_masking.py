"""What is shown of a provider's configuration, whatever secrets are called there."""

from __future__ import annotations

from typing import Any

import pytest

from rest_compat.lightspeed.masking import without_secrets

HIDDEN = "********"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "pwd",
            "db_pwd",
            "pat",
            "github-pat",
            "bearer",
            "jwt",
            "signature",
            "X-Auth",
            "basic_auth",
        ),
        *(
            "conn_str",
            "dsn_string",
            "private_key",
            "privatePem",
            "tls_pem",
            "session",
            "session_id",
        ),
        *("auth", "headers", "extra_headers", "env", "args", "api_key", "client_secret", "token"),
    ],
)
@pytest.mark.parametrize("value", ["ann:fox", ["fox"], [{"name": "x", "value": "fox"}]])
def test_what_is_called_a_secret_is_not_shown(name: str, value: Any) -> None:
    assert without_secrets({"of": [{name: value}]}) == {"of": [{name: HIDDEN}]}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "host=h password=fox",
            "PGPASSWORD=fox",
            "run --token=fox",
            "api_key: fox",
            "Bearer foxfoxfox",
        ),
        *("-----BEGIN PRIVATE KEY-----\nfox", "Incorrect API key provided: sk-proj-foxfoxfox1"),
        *("hf_foxfoxfoxfox", "eyJmb3hmb3hmb3g.fox", "the key=fox is wrong"),
    ],
)
def test_a_text_that_holds_a_secret_is_not_shown(text: str) -> None:
    assert without_secrets({"message": text, "list": [text]}) == {
        "message": HIDDEN,
        "list": [HIDDEN],
    }


def test_whose_password_is_in_a_url_is_not_shown() -> None:
    shown = without_secrets(
        {"hosts": "redis://:fox@one:1 redis://ann:fox@two:2", "url": "http://a:fox@h"}
    )
    assert "fox" not in str(shown)
    assert shown["hosts"] == "redis://**********@one:1 redis://**********@two:2"


def test_members_of_headers_keep_their_names() -> None:
    assert without_secrets({"headers": {"X-Fox": "fox"}, "env": {"FOX": "1"}}) == {
        "headers": {"X-Fox": HIDDEN},
        "env": {"FOX": HIDDEN},
    }


@pytest.mark.parametrize(
    "plain",
    [
        {"model": "meta-llama/Llama-3.1-8B-Instruct", "max_tokens": 4096, "tokenizer": "cl100k"},
        {"path": "/var/lib/keys.db", "namespace": "prod", "compatible": "yes", "author": "ann"},
        {"status": "Error", "message": "Connection to http://models:8000/v1 refused"},
        {"auth": {"type": "oauth2"}, "headers": {}, "env": None, "args": []},
        {
            "tokenize": "no",
            "auth_enabled": True,
            "patience": "long",
            "provider_id": "llama-guard-3-8b",
        },
    ],
)
def test_what_is_no_secret_is_shown(plain: dict[str, Any]) -> None:
    assert without_secrets(plain) == plain
