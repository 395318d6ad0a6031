"""``jwk-token`` against a real issuer, through the whole server: who is let in, and who is not."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.app import create_app
from agent.settings import Settings
from tests.fakes.issuer import (
    Issuer,
    encoded,
    new_key,
    public_jwk,
    public_pem,
    server_tls,
    sign,
)
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

CANARY = "canary-5f2d"
INVALID = "Missing or invalid credentials provided by client"
SIGNED_WITH = [
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
    "Ed448",
]


class Server:
    """Speaks JSON-RPC with the whole server."""

    def __init__(self, http: httpx.AsyncClient, script: Script) -> None:
        self.http = http
        self.script = script

    async def call(
        self, method: str, params: dict[str, Any], token: str | None, **headers: str
    ) -> httpx.Response:
        """Call a method as whoever has the token."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await self.http.post("/a2a", json=body, headers=headers)

    async def send(self, token: str | None, **headers: str) -> httpx.Response:
        """Send a message."""
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
        return await self.call("SendMessage", {"message": message}, token, **headers)


@asynccontextmanager
async def serving(
    issuer: Issuer,
    *,
    authentication: dict[str, Any] | None = None,
    authorization: dict[str, Any] | None = None,
    jwt: dict[str, Any] | None = None,
    **jwk: Any,
) -> AsyncIterator[Server]:
    """Serve with the issuer's keys."""
    script = Script(ANSWER)
    config = {"url": issuer.url, "jwt_configuration": jwt or {}} | jwk
    with scripted(script) as name:
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a_state": {"memory": True},
                "authentication": {"module": "jwk-token", "jwk_config": config}
                | (authentication or {}),
                "authorization": authorization,
                "limits": {"auth_failures_per_minute": 1000},
            }
        )
        async with (
            run_server(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            yield Server(http, script)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """Return an issuer that serves its keys."""
    async with Issuer().serving() as serves:
        yield serves


@pytest.fixture
async def server(issuer: Issuer) -> AsyncIterator[Server]:
    """Return a server that lets in whom the issuer knows."""
    async with serving(issuer) as serves:
        yield serves


@pytest.fixture(scope="module")
async def steady() -> AsyncIterator[Issuer]:
    """Return an issuer for many tests: its key stays the same."""
    async with Issuer().serving() as serves:
        yield serves


@pytest.fixture(scope="module")
async def shared(steady: Issuer) -> AsyncIterator[Server]:
    """Return a server for many tests, which lets in whom that issuer knows."""
    async with serving(steady) as serves:
        yield serves


def is_let_in(answer: httpx.Response) -> bool:
    """Whether the message ran."""
    return answer.status_code == 200 and "TASK_STATE_COMPLETED" in answer.text


def cause(answer: httpx.Response) -> str:
    """Return why a token was refused; the refusal itself is always the same."""
    assert answer.status_code == 401, answer.text
    error = answer.json()["error"]
    said, _, why = error["message"].partition(": ")
    assert (said, error["code"]) == (INVALID, -32055)
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    return str(why)


async def test_good_tokens_are_let_in_whatever_they_are_signed_with(
    issuer: Issuer, server: Server
) -> None:
    """As the user that they name, and they go on to the stack; with one fetch for all."""
    signers = {name: new_key(name, number=number) for number, name in enumerate(SIGNED_WITH)}
    issuer.keys = [public_jwk(key, f"key-{name}") for name, key in signers.items()]
    for name, key in signers.items():
        token = sign(key, {"alg": name, "kid": f"key-{name}"}, issuer.claims(user_id=f"u-{name}"))

        assert is_let_in(await server.send(token)), name
        assert is_let_in(await server.send(token)), name

        assert server.script.owners[-1] == f"u-{name}"
        assert server.script.requests[-1].credentials.token == token
    assert issuer.fetches == 1


async def test_no_token_is_nobody(issuer: Issuer, server: Server) -> None:
    """Not a guest, as in LCS."""
    assert cause(await server.send(None)) == "No Authorization header found"
    basic = await server.http.post("/a2a", headers={"Authorization": "Basic YTpi"}, json={})
    assert cause(basic) == "No token found in Authorization header"
    assert issuer.fetches == 0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": -3600}, "Token has expired"),
        ({"exp": -31}, "Token has expired"),
        ({"exp": None}, "Token missing claim: exp"),
        ({"nbf": 3600}, "Token is not valid yet"),
        ({"iat": 3600}, "Token is not valid yet"),
    ],
    ids=["long-ago", "more-than-the-leeway-ago", "no-exp", "nbf-to-come", "iat-to-come"],
)
async def test_a_token_has_its_time(
    steady: Issuer, shared: Server, changes: dict[str, Any], why: str
) -> None:
    now = int(steady.issued_at)
    times = {name: None if plus is None else now + plus for name, plus in changes.items()}

    assert cause(await shared.send(steady.token(**times))) == why


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["4102444800", True, [1], {"a": 1}], ids=["text", "boolean", "list", "object"]
)
async def test_times_are_numbers(steady: Issuer, shared: Server, name: str, value: Any) -> None:
    refused = await shared.send(steady.token(**{name: value}))

    assert cause(refused) == f"Token has an invalid claim: {name}"


async def test_clocks_may_differ_a_little(steady: Issuer, shared: Server) -> None:
    now = int(steady.issued_at)

    assert is_let_in(await shared.send(steady.token(exp=now - 5)))
    assert is_let_in(await shared.send(steady.token(nbf=now + 20, iat=now + 20)))


@pytest.mark.parametrize("claim", ["user_id", "username"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "Token missing claim"),
        (7, "Token has an invalid claim"),
        ("", "Token has an invalid claim"),
        (" ", "Token has an invalid claim"),
        ("a" * 256, "Token has an invalid claim"),
        ("a\nb", "Token has an invalid claim"),
        ("a\u202eb", "Token has an invalid claim"),
        (["ann"], "Token has an invalid claim"),
    ],
    ids=["missing", "number", "empty", "blank", "long", "line-break", "bidi", "list"],
)
async def test_a_user_has_an_id_and_a_name(
    steady: Issuer, shared: Server, claim: str, value: Any, why: str
) -> None:
    ran = len(shared.script.requests)

    assert cause(await shared.send(steady.token(**{claim: value}))) == f"{why}: {claim}"
    assert len(shared.script.requests) == ran


@pytest.mark.parametrize("claim", ["sub", "https://acme.example/id", "realm.user", "$.sub"])
async def test_claims_are_found_by_their_name(issuer: Issuer, claim: str) -> None:
    """It is a name, not a path."""
    names = {"user_id_claim": claim, "username_claim": claim}
    async with serving(issuer, jwt=names) as server:
        assert is_let_in(await server.send(issuer.token(None, **{claim: "ben"}, user_id=None)))
        nested = issuer.token(realm={"user": "x"}, user_id="y")
        assert cause(await server.send(nested)) == f"Token missing claim: {claim}"
        assert set(server.script.owners) == {"ben"}


async def test_another_key_than_the_issuers_signs_nothing(steady: Issuer, shared: Server) -> None:
    other = new_key("ES256")

    known = sign(other, {"alg": "ES256", "kid": steady.kid}, steady.claims())
    unknown = sign(other, {"alg": "ES256", "kid": "other"}, steady.claims())

    assert cause(await shared.send(known)) == "Invalid token signature"
    assert cause(await shared.send(unknown)) == "Token signed by unknown key"
    assert is_let_in(await shared.send(steady.token()))


async def test_what_is_signed_cannot_be_changed(steady: Issuer, shared: Server) -> None:
    head, _, signature = steady.token().split(".")
    forged = encoded(steady.claims(user_id="admin")).decode()

    assert cause(await shared.send(f"{head}.{forged}.{signature}")) == "Invalid token signature"
    assert cause(await shared.send(f"{head}.{forged}.")) == "Invalid token signature"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, ["none"], {"a": 1}, 5])
async def test_a_token_that_is_not_signed_is_refused(
    steady: Issuer, shared: Server, algorithm: Any
) -> None:
    """However it says so."""
    header = {"alg": algorithm, "kid": steady.kid}
    unsigned = b".".join([encoded(header), encoded(steady.claims()), b""]).decode()

    assert cause(await shared.send(unsigned)) == "Token algorithm is not allowed"


@pytest.mark.parametrize("kind", ["RS256", "ES256"])
async def test_the_public_key_is_no_shared_secret(
    issuer: Issuer, server: Server, kind: str
) -> None:
    """In no form in which the key is published."""
    issuer.rotate(kind)
    assert is_let_in(await server.send(issuer.token()))
    jwk = issuer.keys[0]
    forms = [public_pem(issuer.private), public_pem(issuer.private).strip(), issuer.document]
    forms += [json.dumps(jwk).encode(), jwk.get("n", jwk.get("x")).encode(), b""]
    for secret in forms:
        for hmac in ("HS256", "HS384", "HS512"):
            for named in (hmac, issuer.algorithm):
                header = encoded({"alg": named, "kid": issuer.kid})
                token = hmac_token(header, encoded(issuer.claims()), secret, hmac)
                why = cause(await server.send(token))
                assert why == (
                    "Token algorithm is not allowed" if named == hmac else "Invalid token signature"
                )


def hmac_token(header: bytes, claims: bytes, secret: bytes, algorithm: str) -> str:
    """Sign with a shared secret, by hand: the library refuses a public key as one."""
    import hashlib
    import hmac

    signed = header + b"." + claims
    digest = getattr(hashlib, f"sha{algorithm[2:]}")
    return (signed + b"." + encoded(hmac.new(secret, signed, digest).digest())).decode()


async def test_a_key_is_for_the_algorithms_of_its_type(issuer: Issuer, server: Server) -> None:
    """Neither another type, nor another curve, nor another than the key's own ``alg``."""
    rsa_key, p256, p384 = new_key("RS256"), new_key("ES256"), new_key("ES384")
    issuer.keys = [
        public_jwk(rsa_key, "rsa", alg="RS256"),
        public_jwk(p256, "p256"),
        public_jwk(p384, "p384"),
    ]
    claims = issuer.claims()

    for kid, key, signed_with in [
        ("rsa", p256, "ES256"),
        ("p256", rsa_key, "RS256"),
        ("rsa", rsa_key, "PS256"),
        ("rsa", rsa_key, "RS512"),
        ("p256", p384, "ES384"),
        ("p384", p256, "ES256"),
    ]:
        token = sign(key, {"alg": signed_with, "kid": kid}, claims)
        assert cause(await server.send(token)) == "Token signed by unknown key"
    for kid, key, signed_with in [("rsa", rsa_key, "RS256"), ("p384", p384, "ES384")]:
        assert is_let_in(await server.send(sign(key, {"alg": signed_with, "kid": kid}, claims)))


async def test_keys_that_are_not_for_signatures_are_ignored(issuer: Issuer) -> None:
    """So is a set's rubbish; one good key among it is enough."""
    usable, small = new_key("RS256"), rsa.generate_private_key(65537, 1024)  # noqa: S505 - is refused
    private = issuer.private.private_numbers().private_value
    rubbish: list[Any] = [
        public_jwk(usable, "enc", use="enc"),
        public_jwk(usable, "wrap", key_ops=["wrapKey"]),
        public_jwk(usable, "other", alg="RSA-OAEP"),
        public_jwk(usable, "type", kty="EC"),
        public_jwk(usable, "broken", n="!"),
        public_jwk(usable, "number", n=5),
        public_jwk(usable, "even", e="AA"),
        public_jwk(small, "small"),
        public_jwk(issuer.private, "secret", d=encoded(private.to_bytes(32)).decode()),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {"kty": ["RSA"], "kid": "list"},
        {"kid": "nothing"},
        "text",
        None,
    ]
    good = public_jwk(usable, "good", use="sig", key_ops=["verify"], x5u="https://a.example")
    issuer.keys = [*rubbish, good]
    async with serving(issuer) as server:
        for jwk in rubbish:
            kid = jwk["kid"] if isinstance(jwk, dict) else "text"
            key = {"small": small, "secret": issuer.private}.get(kid, usable)
            signed_with = "ES256" if kid == "secret" else "RS256"
            token = sign(key, {"alg": signed_with, "kid": kid}, issuer.claims())
            assert cause(await server.send(token)) == "Token signed by unknown key", kid
        token = sign(usable, {"alg": "RS256", "kid": "good"}, issuer.claims())
        assert is_let_in(await server.send(token))


async def test_a_token_without_a_key_id_is_tried_with_the_keys_that_fit(
    issuer: Issuer, server: Server
) -> None:
    """With so many and no more."""
    keys = [new_key("ES256") for _ in range(10)]
    issuer.keys = [
        public_jwk(new_key("RS256"), "rsa"),
        *(public_jwk(key, str(number)) for number, key in enumerate(keys)),
    ]
    tokens = [sign(key, {"alg": "ES256"}, issuer.claims()) for key in keys]

    assert is_let_in(await server.send(tokens[0]))
    assert is_let_in(await server.send(tokens[7]))
    assert cause(await server.send(tokens[8])) == "Invalid token signature"
    named = sign(keys[8], {"alg": "ES256", "kid": "8"}, issuer.claims())
    assert is_let_in(await server.send(named))


async def test_a_token_does_not_say_where_its_key_is(server: Server) -> None:
    async with Issuer().serving() as evil:
        jwk = public_jwk(evil.private, "key-1")
        for more in (
            {"jwk": jwk},
            {"jku": evil.url},
            {"x5u": evil.url},
            {"x5c": ["MIIB"]},
            {"jwk": jwk, "jku": evil.url, "kid": None},
        ):
            refused = await server.send(evil.token(headers=more))
            assert cause(refused) == "Invalid token signature"
        assert evil.fetches == 0


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": True}, {"crit": []}, {"b64": True}],
    ids=["crit-exp", "crit-b64", "crit-empty", "b64"],
)
async def test_extensions_of_the_header_are_refused(
    steady: Issuer, shared: Server, header: dict[str, Any]
) -> None:
    cause(await shared.send(steady.token(headers=header)))


def malformed() -> dict[str, str]:
    """Return what no issuer would make, by what is wrong."""
    issuer = Issuer(issued_at=0)
    header = encoded({"alg": "ES256", "kid": "key-1"})
    claims = encoded(issuer.claims())
    deep = b'{"a":' * 2000 + b"1" + b"}" * 2000
    raw = {
        "text": CANARY.encode(),
        "one-dot": header + b"." + claims,
        "three-dots": header + b"." + claims + b".AA.AA",
        "only-dots": b"..",
        "not-base64": b"%%%." + claims + b".AA",
        "header-is-text": encoded(CANARY) + b"." + claims + b".AA",
        "header-is-a-list": encoded([1]) + b"." + claims + b".AA",
        "header-is-not-utf-8": encoded(b'{"alg": "\xff\xfe"}') + b"." + claims + b".AA",
        "header-is-deep": encoded(deep) + b"." + claims + b".AA",
        "kid-is-a-number": encoded({"alg": "ES256", "kid": 5}) + b"." + claims + b".AA",
        "encrypted": header + b".AA.AA.AA.AA",
    }
    return {name: value.decode() for name, value in raw.items()}


@pytest.mark.parametrize("name", sorted(malformed()))
async def test_what_is_no_token_is_refused(shared: Server, name: str) -> None:
    assert cause(await shared.send(malformed()[name])) == "Token could not be decoded"


@pytest.mark.parametrize(
    "claims",
    [
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"",
        b'{"exp": NaN}',
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=["not-utf-8", "list", "text", "nothing", "nan", "deep", "deeper"],
)
async def test_claims_that_cannot_be_read_are_refused(
    steady: Issuer, shared: Server, claims: bytes
) -> None:
    """Though the issuer signed them."""
    token = sign(steady.private, {"alg": "ES256", "kid": steady.kid}, claims)

    if len(token) > 16 * 1024:
        assert cause(await shared.send(token)) == "The token is too long"
    else:
        assert cause(await shared.send(token)) == "Token could not be decoded"


async def test_an_oversized_token_is_not_looked_at(steady: Issuer, shared: Server) -> None:
    token = steady.token(more="x" * 16 * 1024)

    assert cause(await shared.send(token)) == "The token is too long"


async def test_a_token_is_for_this_audience_and_from_this_issuer(issuer: Issuer) -> None:
    async with serving(issuer, jwt={"audience": ["mine", "ours"], "issuer": "me"}) as server:
        for aud in ("mine", ["others", "ours"]):
            assert is_let_in(await server.send(issuer.token(aud=aud, iss="me")))
        for changes, why in (
            ({"aud": "others", "iss": "me"}, "Token is meant for another audience"),
            ({"aud": [], "iss": "me"}, "Token missing claim: aud"),
            ({"aud": ["mine", 5], "iss": "me"}, "Token is meant for another audience"),
            ({"aud": {"mine": 1}, "iss": "me"}, "Token is meant for another audience"),
            ({"iss": "me"}, "Token missing claim: aud"),
            ({"aud": "mine", "iss": "you"}, "Token comes from another issuer"),
            ({"aud": "mine", "iss": ["me"]}, "Token comes from another issuer"),
            ({"aud": "mine"}, "Token missing claim: iss"),
        ):
            assert cause(await server.send(issuer.token(**changes))) == why


async def test_without_an_audience_any_will_do(steady: Issuer, shared: Server) -> None:
    """As in LCS."""
    assert is_let_in(await shared.send(steady.token(aud="others", iss="somebody")))


async def test_only_the_algorithms_of_the_settings_are_allowed(issuer: Issuer) -> None:
    async with serving(issuer, algorithms=["EdDSA"]) as server:
        assert cause(await server.send(issuer.token())) == "Token algorithm is not allowed"
        issuer.rotate("EdDSA")
        assert is_let_in(await server.send(issuer.token()))


async def test_roles_of_the_token_say_what_may_be_done(issuer: Issuer) -> None:
    """Whoever has none may do what everybody may: here, nothing but look at tasks."""
    contains = {"jsonpath": "$.groups[*]", "operator": "contains"}
    roles = [contains | {"value": "writers", "roles": ["writer"]}]
    rules = [
        {"role": "*", "actions": ["a2a_task_execution"]},
        {"role": "writer", "actions": ["a2a_message"]},
    ]
    async with serving(
        issuer, jwt={"role_rules": roles}, authorization={"access_rules": rules}
    ) as server:
        assert is_let_in(await server.send(issuer.token(groups=["readers", "writers"])))
        reader = issuer.token(groups=["readers"])
        refused = await server.send(reader)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, -32056)
        assert refused.json()["error"]["message"] == (
            "User does not have permission to access this endpoint: "
            "User ann is not authorized to access this endpoint."
        )
        assert len(server.script.requests) == 1
        listed = await server.call("ListTasks", {}, reader)
        assert len(listed.json()["result"]["tasks"]) == 1


async def test_users_do_not_see_each_other(issuer: Issuer, server: Server) -> None:
    ann, ben = issuer.token(user_id="ann"), issuer.token(user_id="ben")
    task_id = (await server.send(ann)).json()["result"]["task"]["id"]

    mine = await server.call("GetTask", {"id": task_id}, ann)
    theirs = await server.call("GetTask", {"id": task_id}, ben)
    nobodys = await server.call("GetTask", {"id": "0" * len(task_id)}, ben)
    listed = await server.call("ListTasks", {}, ben)

    assert mine.json()["result"]["id"] == task_id
    assert theirs.json()["error"]["code"] == nobodys.json()["error"]["code"] == -32001
    assert theirs.json()["error"]["message"] == nobodys.json()["error"]["message"]
    assert listed.json()["result"]["tasks"] == []


async def test_tokens_stay_out_of_logs_and_answers(
    issuer: Issuer, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good = issuer.token(note=CANARY)
    head, claims, signature = good.split(".")
    bad = [
        f"{head}.{claims}.{signature[::-1]}",
        f"{head}.{claims}",
        issuer.token(exp=1, note=CANARY),
        issuer.token(user_id=[CANARY]),
        issuer.token(headers={"kid": CANARY}),
        issuer.token(headers={"crit": [CANARY]}),
        sign(issuer.private, {"alg": CANARY, "kid": "a"}, {}, "ES256"),
        CANARY,
    ]
    answers = [await server.send(token) for token in [good, *bad]]

    ours = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("httpcore"))
    shown = ours + "".join(f"{answer.headers}{answer.text}" for answer in answers)
    assert [answer.status_code for answer in answers] == [200, *(len(bad) * [401])]
    assert CANARY not in shown
    assert not any(part in shown for part in (claims, signature))


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'{"keys": 5}',
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"keys": [], "a": "' + b"a" * 300_000 + b'"}',
    ],
    ids=["html", "list", "no-list", "no-keys", "not-utf-8", "deep", "too-large"],
)
async def test_rubbish_instead_of_keys_lets_nobody_in(
    issuer: Issuer, server: Server, answer: bytes
) -> None:
    issuer.answer = answer

    refused = await server.send(issuer.token())

    assert cause(refused) == "Authentication key server returned invalid data"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/9 what",
    ],
    ids=["closed", "500", "404", "cut-off", "redirect", "not-http"],
)
async def test_an_issuer_that_cannot_be_asked_lets_nobody_in(
    issuer: Issuer, server: Server, answer: bytes
) -> None:
    """That is nobody's fault, so it is 503. A redirect is not followed."""
    async with Issuer().serving() as elsewhere:
        elsewhere.keys = issuer.keys
        issuer.answer = answer.replace(b"%b", elsewhere.url.encode())
        refused = await server.send(issuer.token())

        assert (refused.status_code, elsewhere.fetches) == (503, 0)
    assert refused.json()["error"]["message"] == (
        "Unable to verify credentials: Authentication key server cannot be reached"
    )


async def test_an_issuer_that_is_not_there_lets_nobody_in() -> None:
    async with Issuer().serving() as gone:
        pass
    async with serving(gone) as server:
        assert (await server.send(gone.token())).status_code == 503


async def test_a_set_without_keys_revokes_all(issuer: Issuer, server: Server) -> None:
    issuer.keys = []

    assert cause(await server.send(issuer.token())) == "Token signed by unknown key"


async def test_a_new_key_works_at_once_and_the_old_one_no_more(issuer: Issuer) -> None:
    async with serving(issuer, refetch_seconds=0.001) as server:
        before = issuer.token()
        assert is_let_in(await server.send(before))
        issuer.rotate("EdDSA")
        assert is_let_in(await server.send(before))
        assert is_let_in(await server.send(issuer.token()))
        assert cause(await server.send(before)) == "Token signed by unknown key"


async def test_https_is_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the authorities of the settings, or not at all if they say so: that is told loudly."""
    tls, certificate = server_tls(tmp_path)
    async with Issuer().serving(tls) as issuer:
        async with serving(issuer) as server:
            assert (await server.send(issuer.token())).status_code == 503
        assert issuer.fetches == 0
        async with serving(issuer, ca_cert_path=str(certificate)) as server:
            assert is_let_in(await server.send(issuer.token()))
        assert "ANYBODY ON THE WAY" not in caplog.text
        unchecked = {"skip_tls_verification": True}
        async with serving(issuer, authentication=unchecked) as server:
            assert is_let_in(await server.send(issuer.token()))
        assert "ANYBODY ON THE WAY" in caplog.text


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://keys.example/jwks", True),
        ("http://192.0.2.1/jwks", True),
        ("https://keys.example/jwks", False),
        ("http://localhost:1/jwks", False),
        ("http://[::1]:1/jwks", False),
    ],
)
async def test_plain_http_to_another_machine_is_warned_of(
    caplog: pytest.LogCaptureFixture, url: str, *, warned: bool
) -> None:
    issuer = Issuer()
    issuer.url = url
    async with serving(issuer):
        pass

    assert ("ANYBODY ON THE WAY" in caplog.text) is warned


def test_documents_are_small() -> None:
    """The issuer of these tests makes what a real one would."""
    [jwk] = json.loads(Issuer("RS256").document)["keys"]

    assert set(jwk) == {"kty", "n", "e", "kid"}
