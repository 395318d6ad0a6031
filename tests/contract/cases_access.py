"""Who may not: the same for every operation that asks who calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.contract.case import Case, Cases
from tests.contract.operations import DOCUMENTED, OPEN, TAKES_A_BODY, Pair
from tests.contract.requests import asking, detail_of
from tests.contract.servers import BODY_BYTES, entitled

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.contract.case import Provoke, Server

RPC = "POST /a2a"
# Whoever is known may ask who they are, and no rule keeps them from it.
WITHOUT_ACTION = frozenset({"POST /authorized"})
# JSON-RPC is at the path of the page, too: POST is no other method there.
OTHERS = ("PATCH", "DELETE", "PUT")

cases = Cases()


def _told(answer: httpx.Response, operation: str, response: str) -> None:
    """Check the short summary; JSON-RPC tells it in its own form."""
    if operation == RPC:
        assert answer.json()["error"]["message"].startswith(response)
    else:
        assert detail_of(answer)["response"] == response


def _nobody(operation: str) -> Provoke:
    async def without_credentials(server: Server) -> httpx.Response:
        answer = await asking(server, operation, headers={})
        _told(answer, operation, "Missing or invalid credentials provided by client")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        return answer

    return without_credentials


def _without_role(operation: str) -> Provoke:
    async def without_a_role(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        _told(answer, operation, "User does not have permission to access this endpoint")
        return answer

    return without_a_role


def _without_entitlement(operation: str) -> Provoke:
    async def without_an_entitlement(server: Server) -> httpx.Response:
        answer = await asking(server, operation, headers=entitled("other"))
        _told(answer, operation, "User does not have permission to access this endpoint")
        return answer

    return without_an_entitlement


def _malformed(operation: str) -> Provoke:
    async def with_credentials_that_are_none(server: Server) -> httpx.Response:
        answer = await asking(server, operation, headers={"x-rh-identity": "!"})
        _told(answer, operation, "Invalid credentials format")
        return answer

    return with_credentials_that_are_none


def _too_often(operation: str) -> Provoke:
    async def after_too_many_wrong_credentials(server: Server) -> httpx.Response:
        answer = await asking(server, operation, headers={"authorization": "Bearer other"})
        _told(answer, operation, "Too many failed authentication attempts")
        assert 0 < int(answer.headers["retry-after"]) <= 60
        return answer

    return after_too_many_wrong_credentials


def _away(operation: str) -> Provoke:
    async def when_nobody_can_tell_who_calls(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        _told(answer, operation, "Unable to verify credentials")
        assert operation == RPC or int(answer.headers["retry-after"]) > 0
        return answer

    return when_nobody_can_tell_who_calls


def _other_method(path: str, methods: set[str]) -> Provoke:
    async def another_method(server: Server) -> httpx.Response:
        method = next(each for each in OTHERS if each not in methods)
        answer = await server.http.request(method, path.format(**ANY_ID))
        # FastAPI names the methods of the first of its routes.
        allowed = set(answer.headers["allow"].replace(" ", "").split(","))
        assert allowed & methods
        assert method not in allowed
        return answer

    return another_method


ANY_ID = {"conversation_id": "0" * 48, "provider_id": "p", "rag_id": "r"}


def _too_large(operation: str) -> Provoke:
    async def with_a_body_that_is_too_large(server: Server) -> httpx.Response:
        answer = await asking(server, operation, json={"query": "x" * BODY_BYTES})
        if operation != RPC:
            cause = f"The request is larger than {BODY_BYTES} bytes"
            assert detail_of(answer) == {"response": "Request is too large", "cause": cause}
        return answer

    return with_a_body_that_is_too_large


def _cases() -> Iterator[Case]:
    paths: dict[str, set[str]] = {}
    for operation in DOCUMENTED:
        method, _, path = operation.partition(" ")
        paths.setdefault(path, set()).add(method)
    for operation in DOCUMENTED:
        path = operation.partition(" ")[2]
        yield _case(operation, 405, "plain", _other_method(path, paths[path]))
        if operation in TAKES_A_BODY:
            yield _case(operation, 413, "plain", _too_large(operation))
        if operation in OPEN:
            continue
        yield _case(operation, 401, "guarded", _nobody(operation))
        if operation not in WITHOUT_ACTION:
            yield _case(operation, 403, "guarded", _without_role(operation))
        yield _case(operation, 403, "entitled", _without_entitlement(operation))
        yield _case(operation, 400, "entitled", _malformed(operation))
        yield _case(operation, 429, "tried too often", _too_often(operation))
        yield _case(operation, 503, "identities away", _away(operation))


def _case(operation: str, status: int, server: str, provoke: Any) -> Case:
    about = provoke.__name__.replace("_", " ")
    return Case(Pair(operation, status), server, about, provoke)


cases.all.extend(_cases())
