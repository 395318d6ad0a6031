"""The modules of authentication that need nothing but the request."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.auth.api_key import ApiKeyToken
from agent.auth.base import USERNAME, Presented
from agent.auth.bearer import CHALLENGE, TOKEN_CHARS, bearer_token, invalid_token
from agent.auth.choice import make_authenticator
from agent.auth.noop import ANONYMOUS, Noop
from agent.auth.noop_with_token import NoopWithToken
from agent.auth.rh_identity import HEADER_CHARS, RhIdentity
from agent.auth.warning import (
    address_warning_of,
    is_loopback,
    plain_warning_of,
    role_warning_of,
    source_warning_of,
    warning_of,
    warnings_of,
)
from agent.errors import (
    InvalidParams,
    MalformedCredentials,
    PermissionDenied,
    SettingsError,
    Unauthenticated,
)
from agent.settings import Settings

if TYPE_CHECKING:
    from agent.auth.base import Authenticator

pytestmark = pytest.mark.anyio

KEY = "s3cret-k3y!"
NO_HEADER = "No Authorization header found"
NO_TOKEN = "No token found in Authorization header"

NAMED_BY_QUERY = [Noop(), NoopWithToken(), ApiKeyToken(KEY)]


def type_name(value: object) -> str:
    """Return the id of a module among a test's parameters."""
    return type(value).__name__


def shown(query: bytes = b"", **headers: str) -> Presented:
    """Return what a request shows."""
    return Presented({name.replace("_", "-"): value for name, value in headers.items()}, query)


def user(**changes: Any) -> dict[str, Any]:
    """Return what the proxy tells of a user."""
    told = {
        "identity": {
            "account_number": "77",
            "org_id": "11",
            "type": "User",
            "user": {"user_id": "u-1", "username": "ann@example.com"},
        },
        "entitlements": {"rhel": {"is_entitled": True, "is_trial": False}},
    }
    return told | changes


def system(**changes: Any) -> dict[str, Any]:
    """Return what the proxy tells of a system."""
    identity = {"account_number": "77", "type": "System", "system": {"cn": "host-1"}}
    return {"identity": identity | changes}


def header(told: Any) -> Presented:
    """Return a request with this JSON in its header."""
    return shown(x_rh_identity=base64.b64encode(json.dumps(told).encode()).decode())


async def cause_of(module: Authenticator, presented: Presented, error: type[Exception]) -> str:
    """Return why a module refuses."""
    with pytest.raises(error) as caught:
        await module.identify(presented)
    refused: Any = caught.value
    cause: str = refused.cause
    assert refused.message == f"{refused.response}: {cause}"
    return cause


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER abc", "abc"),
        ("  Bearer \t abc ", "abc"),
        ("Bearer a-b.c_d~e+f/g==", "a-b.c_d~e+f/g=="),
        ("Bearer !#$%&'()*;<>?@[]^`{|}\"\\", "!#$%&'()*;<>?@[]^`{|}\"\\"),
        ("Bearer Bearer", "Bearer"),
        (f"Bearer {'x' * TOKEN_CHARS}", "x" * TOKEN_CHARS),
    ],
    ids=["plain", "lower", "upper", "spaces", "base64", "marks", "itself", "longest"],
)
def test_a_bearer_token_is_found(value: str, token: str) -> None:
    assert bearer_token({"authorization": value}) == token


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        " ",
        "abc",
        "Bearerabc",
        "Basic YTpi",
        "Token abc",
        "Bearer a b",
        "Bearer abc, Bearer def",
        "Bearer abc,Bearer",
        "Bearer abc, ",
        ", Bearer abc",
        "Basic YTpi, Bearer abc",
        "Bearer\xa0abc",
        "Bearer \xfc",
        "Bearer \u2603",
        "Bearer a\x00b",
        "Bearer a\nb",
        "Bearer abc\n",
    ],
    ids=ascii,
)
def test_what_is_no_bearer_token_is_refused(value: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        bearer_token({"authorization": value})
    assert (caught.value.cause, caught.value.challenge) == (NO_TOKEN, CHALLENGE)


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}], ids=["none", "empty"])
def test_a_missing_header_is_told_apart(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated) as caught:
        bearer_token(headers)
    assert (caught.value.cause, caught.value.challenge) == (NO_HEADER, CHALLENGE)
    assert caught.value.response == "Missing or invalid credentials provided by client"


def test_an_oversized_token_is_wrong() -> None:
    with pytest.raises(Unauthenticated) as caught:
        bearer_token({"authorization": f"Bearer {'x' * (TOKEN_CHARS + 1)}"})
    assert caught.value.cause == "The token is too long"
    assert 'error="invalid_token"' in caught.value.challenge


def test_a_challenge_cannot_be_broken_out_of() -> None:
    """Names of claims come from the settings: quotes, line breaks and other scripts are not for headers."""
    error = invalid_token('Token missing claim: a"b\\c\r\nd\u2603')
    assert error.challenge == (
        'Bearer realm="llamastack-a2a", error="invalid_token", '
        'error_description="Token missing claim: a?b?c??d?"'
    )
    assert error.cause == 'Token missing claim: a"b\\c\r\nd\u2603'


@pytest.mark.parametrize(
    ("query", "user_id"),
    [
        (b"", ANONYMOUS),
        (b"other=1", ANONYMOUS),
        (b"user_id=ann", "ann"),
        (b"a=1&user_id=ann&b=2", "ann"),
        (b"user_id=ann&user_id=bob", "bob"),
        (b"user%5Fid=ann", "ann"),
        (b"user_id=Z%C3%BCrich+1", "Zürich 1"),
        (b"user_id=" + b"x" * 255, "x" * 255),
    ],
    ids=["none", "other", "named", "among", "last", "escaped", "unicode", "longest"],
)
@pytest.mark.parametrize("module", NAMED_BY_QUERY, ids=type_name)
async def test_the_query_names_the_user(module: Authenticator, query: bytes, user_id: str) -> None:
    identity = await module.identify(shown(query, authorization=f"Bearer {KEY}"))
    assert (identity.user_id, identity.username) == (user_id, USERNAME)
    assert identity.skip_user_id_check
    assert identity.roles == frozenset()


@pytest.mark.parametrize(
    "query",
    [
        b"user_id=",
        b"user_id=%00",
        b"user_id=a%0Ab",
        b"user_id=%FF",
        b"user_id=a%ED%A0%80",
        b"user_id=" + b"x" * 256,
        b"user_id=a&user_id=",
    ],
    ids=["empty", "nul", "line-break", "no-utf-8", "surrogate", "too-long", "last-empty"],
)
@pytest.mark.parametrize("module", NAMED_BY_QUERY, ids=type_name)
async def test_nobody_can_be_called_like_that(module: Authenticator, query: bytes) -> None:
    presented = shown(query, authorization=f"Bearer {KEY}")
    with pytest.raises(InvalidParams) as caught:
        await module.identify(presented)
    problem = "must have 1 to 255 printable characters"
    assert caught.value.message == f"Invalid parameter user_id: {problem}"


@pytest.mark.parametrize("module", [NoopWithToken(), ApiKeyToken(KEY)], ids=type_name)
@pytest.mark.parametrize(
    ("value", "credential"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic YTpi", "Basic YTpi"),
        ("", None),
        (None, None),
    ],
    ids=["token", "written-otherwise", "no-token", "empty", "none"],
)
def test_the_credential_is_the_token_however_it_is_written(
    module: Authenticator, value: str | None, credential: str | None
) -> None:
    headers = {} if value is None else {"authorization": value}
    presented = Presented({"x-rh-identity": "ignored", **headers})
    assert module.credential(presented) == credential


async def test_noop_takes_no_notice_of_credentials() -> None:
    identity = await Noop().identify(shown(authorization="nonsense", x_rh_identity="nonsense"))
    assert (identity.user_id, identity.token) == (ANONYMOUS, "")


async def test_noop_with_token_passes_on_any_token() -> None:
    identity = await NoopWithToken().identify(shown(authorization="bearer whatever"))
    assert identity.token == "whatever"
    assert "whatever" not in repr(identity)


@pytest.mark.parametrize("module", [NoopWithToken(), ApiKeyToken(KEY)], ids=type_name)
async def test_a_token_is_needed(module: Authenticator) -> None:
    assert await cause_of(module, shown(), Unauthenticated) == NO_HEADER
    assert await cause_of(module, shown(authorization="Basic YTpi"), Unauthenticated) == NO_TOKEN


@pytest.mark.parametrize(
    "wrong",
    [KEY[:-1], f"{KEY}x", KEY.upper(), KEY[::-1], "x", "x" * TOKEN_CHARS],
    ids=["shorter", "longer", "upper-case", "reversed", "other", "longest"],
)
async def test_a_wrong_key_is_refused(wrong: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await ApiKeyToken(KEY).identify(shown(authorization=f"Bearer {wrong}"))
    assert caught.value.cause == "Invalid API Key"
    assert caught.value.challenge == (
        'Bearer realm="llamastack-a2a", error="invalid_token", error_description="Invalid API Key"'
    )


async def test_the_api_key_stays_here() -> None:
    """It opens this server: a server of tools has no use for it but to misuse it."""
    module = ApiKeyToken(KEY)
    identity = await module.identify(shown(authorization=f"Bearer {KEY}"))
    assert identity.token == ""
    assert KEY not in repr(vars(module))


@pytest.mark.parametrize(
    "key",
    ["k k", "k,k", "a\n", "schl\xfcssel", "\u2603", "x" * (TOKEN_CHARS + 1)],
    ids=["space", "comma", "line-break", "latin-1", "unicode", "too-long"],
)
def test_a_key_that_nobody_could_show_is_found_at_start(key: str) -> None:
    given = {"module": "api-key-token", "api_key_config": {"api_key": key}}
    settings = Settings.model_validate({"authentication": given})
    with pytest.raises(SettingsError) as caught:
        make_authenticator(settings)
    assert caught.value.problems[0][0] == "authentication.api_key_config.api_key"
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("authentication", "module"),
    [
        ({}, Noop),
        ({"module": "noop-with-token"}, NoopWithToken),
        ({"module": "api-key-token", "api_key_config": {"api_key": KEY}}, ApiKeyToken),
        ({"module": "rh-identity"}, RhIdentity),
        ({"module": "rh-identity", "rh_identity_config": {}}, RhIdentity),
    ],
    ids=["default", "noop-with-token", "api-key-token", "rh-identity", "rh-identity-empty"],
)
def test_the_settings_choose_the_module(authentication: dict[str, Any], module: type) -> None:
    settings = Settings.model_validate({"authentication": authentication})
    assert type(make_authenticator(settings)) is module


def test_a_key_that_is_missing_after_all_opens_nothing() -> None:
    """Settings that were not validated may lack what validation asks for."""
    settings = Settings()
    unchecked = settings.authentication.model_copy(update={"module": "api-key-token"})
    with pytest.raises(SettingsError):
        make_authenticator(settings.model_copy(update={"authentication": unchecked}))


async def test_a_user_is_known_by_the_header() -> None:
    identity = await RhIdentity().identify(header(user()))
    assert (identity.user_id, identity.username) == ("u-1", "ann@example.com")
    assert (identity.token, identity.skip_user_id_check) == ("", False)


async def test_a_system_is_known_by_the_header() -> None:
    identity = await RhIdentity().identify(header(system()))
    assert (identity.user_id, identity.username) == ("host-1", "77")


async def test_the_query_names_nobody_where_the_header_does() -> None:
    presented = Presented(header(user()).headers, b"user_id=somebody-else")
    assert (await RhIdentity().identify(presented)).user_id == "u-1"


@pytest.mark.parametrize("presented", [shown(), shown(x_rh_identity=" \t")], ids=["none", "empty"])
async def test_the_header_is_needed(presented: Presented) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await RhIdentity().identify(presented)
    assert caught.value.cause == "Missing x-rh-identity header"
    assert caught.value.challenge == 'x-rh-identity realm="llamastack-a2a"'


GOOD = header(user()).headers["x-rh-identity"]


@pytest.mark.parametrize(
    "value",
    [
        "not base64!",
        GOOD[:-1],
        f"{GOOD}, {GOOD}",
        f"{GOOD}=",
        f"{GOOD[:8]} {GOOD[8:]}",
        f"={GOOD}",
        "\xfc\xfc\xfc\xfc",
        "\u2603",
        "-_-_",
    ],
    ids=[
        "marks",
        "cut",
        "twice",
        "excess-padding",
        "space",
        "padding-first",
        "latin-1",
        "unicode",
        "url-safe",
    ],
)
async def test_what_is_no_base64_is_malformed(value: str) -> None:
    cause = await cause_of(RhIdentity(), shown(x_rh_identity=value), MalformedCredentials)
    assert cause == "Invalid base64 encoding in x-rh-identity header"


@pytest.mark.parametrize(
    "decoded",
    [
        b"no json",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"identity": "\xff"}',
        b'{"identity": "\\ud800"}',
        b'{"identity": NaN}',
        b'{"a":' * 2000,
        b"[" * 12000,
        b"{} {}",
    ],
    ids=[
        "text",
        "cut",
        "list",
        "null",
        "string",
        "no-utf-8",
        "surrogate",
        "nan",
        "deep-objects",
        "deep-lists",
        "two",
    ],
)
async def test_what_is_no_json_object_is_malformed(decoded: bytes) -> None:
    presented = shown(x_rh_identity=base64.b64encode(decoded).decode())
    cause = await cause_of(RhIdentity(), presented, MalformedCredentials)
    assert cause == "Invalid JSON in x-rh-identity header"


async def test_an_oversized_header_is_not_even_read() -> None:
    presented = shown(x_rh_identity="A" * (HEADER_CHARS + 4))
    cause = await cause_of(RhIdentity(), presented, MalformedCredentials)
    assert cause == "The x-rh-identity header is too long"


@pytest.mark.parametrize(
    ("identity", "cause"),
    [
        (None, "Missing 'identity' field"),
        ([], "Invalid 'identity' field"),
        ("ann", "Invalid 'identity' field"),
        ({}, "Missing identity 'type' field"),
        ({"type": None}, "Missing identity 'type' field"),
        ({"type": 7}, "Invalid identity 'type' field"),
        ({"type": ["User"]}, "Invalid identity 'type' field"),
        ({"type": "a\nb"}, "Invalid identity 'type' field"),
        ({"type": "x" * 256}, "Invalid identity 'type' field"),
        ({"type": "Robot"}, "Unsupported identity type: Robot"),
        ({"type": "user"}, "Unsupported identity type: user"),
        ({"type": "User"}, "Missing 'user' field for User type"),
        ({"type": "User", "user": "ann"}, "Invalid 'user' field for User type"),
        ({"type": "User", "user": {"username": "a"}}, "Missing 'user_id' in user data"),
        ({"type": "User", "user": {"user_id": 7}}, "Invalid 'user_id' in user data"),
        ({"type": "User", "user": {"user_id": ""}}, "Invalid 'user_id' in user data"),
        ({"type": "User", "user": {"user_id": True}}, "Invalid 'user_id' in user data"),
        ({"type": "User", "user": {"user_id": "a\x00"}}, "Invalid 'user_id' in user data"),
        ({"type": "User", "user": {"user_id": "x" * 256}}, "Invalid 'user_id' in user data"),
        ({"type": "User", "user": {"user_id": "a"}}, "Missing 'username' in user data"),
        (
            {"type": "User", "user": {"user_id": "a", "username": {}}},
            "Invalid 'username' in user data",
        ),
        (
            {"type": "User", "user": {"user_id": "a", "username": "x" * 256}},
            "Invalid 'username' in user data",
        ),
        ({"type": "System"}, "Missing 'system' field for System type"),
        ({"type": "System", "system": []}, "Invalid 'system' field for System type"),
        ({"type": "System", "system": {}}, "Missing 'cn' in system data"),
        ({"type": "System", "system": {"cn": 1.5}}, "Invalid 'cn' in system data"),
        (
            {"type": "System", "system": {"cn": "h"}},
            "Missing 'account_number' for System type",
        ),
        (
            {"type": "System", "system": {"cn": "h"}, "account_number": 77},
            "Invalid 'account_number' for System type",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:40],
)
async def test_an_identity_that_lacks_something_is_malformed(identity: Any, cause: str) -> None:
    presented = header({"identity": identity})
    assert await cause_of(RhIdentity(), presented, MalformedCredentials) == cause


def rhel(**said: Any) -> dict[str, Any]:
    """Return entitlements that say this of ``rhel``."""
    return {"rhel": said}


@pytest.mark.parametrize(
    "entitlements",
    [None, {}, {"rhel": None}, rhel(), rhel(is_entitled=False), {"RHEL": {"is_entitled": True}}],
    ids=["none", "empty", "null", "unsaid", "false", "other-case"],
)
async def test_who_is_not_entitled_is_refused(entitlements: Any) -> None:
    presented = header(user(entitlements=entitlements))
    cause = await cause_of(RhIdentity(["rhel"]), presented, PermissionDenied)
    assert cause == "Missing required entitlement: rhel"
    assert (await RhIdentity().identify(presented)).user_id == "u-1"


async def test_all_entitlements_are_required() -> None:
    entitlements = {"a": {"is_entitled": True}, "b": {"is_entitled": False}}
    presented = header(user(entitlements=entitlements))
    cause = await cause_of(RhIdentity(["a", "b", "c"]), presented, PermissionDenied)
    assert cause == "Missing required entitlements: b, c"
    assert (await RhIdentity(["a"]).identify(presented)).user_id == "u-1"


async def test_systems_need_entitlements_too() -> None:
    presented = header(system())
    cause = await cause_of(RhIdentity(["rhel"]), presented, PermissionDenied)
    assert cause == "Missing required entitlement: rhel"


@pytest.mark.parametrize(
    ("entitlements", "cause"),
    [
        ([], "Invalid 'entitlements' field"),
        ("rhel", "Invalid 'entitlements' field"),
        (True, "Invalid 'entitlements' field"),
        ({"rhel": True}, "Invalid entitlement: rhel"),
        ({"rhel": ["is_entitled"]}, "Invalid entitlement: rhel"),
        (rhel(is_entitled="yes"), "Invalid 'is_entitled' in entitlement: rhel"),
        (rhel(is_entitled=1), "Invalid 'is_entitled' in entitlement: rhel"),
        (rhel(is_entitled=None), "Invalid 'is_entitled' in entitlement: rhel"),
    ],
    ids=["list", "text", "true", "of-true", "of-list", "said-yes", "said-1", "said-null"],
)
async def test_entitlements_of_wrong_types_are_malformed(entitlements: Any, cause: str) -> None:
    presented = header(user(entitlements=entitlements))
    assert await cause_of(RhIdentity(["rhel"]), presented, MalformedCredentials) == cause


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "::ffff:127.0.0.1"],
)
def test_only_this_machine_reaches_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "[::]",
        "0",
        "192.168.1.7",
        "10.0.0.1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "agent.example.com",
        "localhost.example.com",
        "",
    ],
)
def test_others_may_reach_everything_else(host: str) -> None:
    assert not is_loopback(host)


def listening(module: str, host: str, **service: Any) -> Settings:
    """Return settings of a server."""
    key = {"api_key_config": {"api_key": KEY}} if module == "api-key-token" else {}
    given = {"authentication": {"module": module} | key, "service": {"host": host} | service}
    return Settings.model_validate(given)


@pytest.mark.parametrize("module", ["noop", "noop-with-token", "rh-identity"])
def test_trust_on_an_open_address_is_told(module: str) -> None:
    danger = warning_of(listening(module, "192.0.2.7"))
    assert danger is not None
    assert f"authentication.module is {module}" in danger
    assert "192.0.2.7" in danger
    assert warning_of(listening(module, "localhost")) is None


def test_what_checks_credentials_may_listen_anywhere() -> None:
    assert warning_of(listening("api-key-token", "192.0.2.7")) is None


TLS = {"tls_certificate_path": "c.pem", "tls_key_path": "k.pem"}


@pytest.mark.parametrize(
    ("module", "service", "is_told"),
    [
        ("api-key-token", {"host": "0.0.0.0"}, True),
        ("k8s", {"host": "agent.test"}, True),
        ("k8s", {"host": "0.0.0.0", "base_url": "http://agent.test"}, True),
        ("api-key-token", {"host": "localhost"}, False),
        ("api-key-token", {"host": "0.0.0.0", "base_url": "https://agent.test"}, False),
        ("api-key-token", {"host": "0.0.0.0", "tls_config": TLS}, False),
        ("noop", {"host": "0.0.0.0"}, False),
        ("rh-identity", {"host": "0.0.0.0"}, False),
    ],
)
def test_credentials_in_plain_http_are_told(
    module: str, service: dict[str, Any], *, is_told: bool
) -> None:
    """Modules that trust too much are told of as such; behind a proxy the base URL says HTTPS."""
    settings = listening(module, **service)

    warning = plain_warning_of(settings)

    assert (warning is not None) is is_told
    assert (warning in warnings_of(settings)) is is_told


@pytest.mark.parametrize(
    ("service", "is_told"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "0.0.0.0", "base_url": "https://agent.test"}, False),
        ({"host": "192.0.2.7"}, False),
        ({"host": "localhost"}, False),
        ({"host": "localhost", "base_url": "https://a.test", "root_path": "/agent"}, True),
        ({"host": "localhost", "base_url": "https://a.test/agent", "root_path": "/agent"}, False),
        ({"host": "localhost", "root_path": "/agent"}, False),
    ],
)
def test_a_card_that_callers_cannot_follow_is_told(
    service: dict[str, Any], *, is_told: bool
) -> None:
    settings = listening("api-key-token", **service)

    warning = address_warning_of(settings)

    assert (warning is not None) is is_told
    assert (warning in warnings_of(settings)) is is_told


def knowing(module: str, url: str, **more: Any) -> Settings:
    """Return settings with a source of identities."""
    source = {"k8s_cluster_api": url} if module == "k8s" else {"jwk_config": {"url": url}}
    return Settings.model_validate({"authentication": {"module": module} | source | more})


@pytest.mark.parametrize(
    ("url", "more", "is_told"),
    [
        ("http://source.test", {}, True),
        ("http://10.0.0.1:8080", {}, True),
        ("https://source.test", {"skip_tls_verification": True}, True),
        ("https://source.test", {}, False),
        ("http://127.0.0.1:8080", {}, False),
    ],
)
@pytest.mark.parametrize("module", ["jwk-token", "k8s"])
def test_a_source_of_identities_that_others_can_play_is_told(
    module: str, url: str, more: dict[str, Any], *, is_told: bool
) -> None:
    settings = knowing(module, url, **more)

    warning = source_warning_of(settings)

    assert (warning is not None) is is_told
    assert (warning in warnings_of(settings)) is is_told


@pytest.mark.parametrize(
    ("module", "roles", "told"),
    [
        ("jwk-token", ["*", "manager"], []),
        ("jwk-token", ["manger", "manager", "clerk"], ["clerk, manger", "only *, manager"]),
        ("k8s", ["*"], []),
        ("k8s", ["manager"], ["manager", "module k8s", "only *"]),
    ],
    ids=["given", "misspelled", "everybody", "none are given"],
)
def test_rules_for_roles_that_nobody_has_are_told(
    module: str, roles: list[str], told: list[str]
) -> None:
    rule = {"jsonpath": "$.a", "operator": "equals", "value": 1, "roles": ["manager"]}
    jwk = {"url": "https://a.test", "jwt_configuration": {"role_rules": [rule]}}
    rules = [{"role": role, "actions": ["a2a_message"]} for role in roles]
    settings = Settings.model_validate(
        {
            "authentication": {"module": module, "jwk_config": jwk},
            "authorization": {"access_rules": rules},
        }
    )

    warning = role_warning_of(settings)

    assert (warning is not None) is bool(told)
    assert (warning in warnings_of(settings)) is bool(told)
    assert all(part in (warning or "") for part in told)
