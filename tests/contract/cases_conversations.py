"""Conversations, as both versions of the API tell them, and what users think of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.case import Cases
from tests.contract.requests import BODIES, UNKNOWN, asking, conversation, detail_of
from tests.fakes.identities import user

if TYPE_CHECKING:
    import httpx

    from tests.contract.case import Server

VERSIONS = ("v1", "v2")
FEEDBACK, STATUS, SWITCH = "POST /v1/feedback", "GET /v1/feedback/status", "PUT /v1/feedback/status"
NOT_THERE = {
    "response": "Conversation not found",
    "cause": f"Conversation with ID {UNKNOWN} does not exist",
}
WRONG_TOPICS = {
    "without a topic": {},
    "with an empty topic": {"topic_summary": ""},
    "with a topic that is too long": {"topic_summary": "x" * 1001},
    "with a topic that PostgreSQL cannot keep": {"topic_summary": "a\0b"},
}

cases = Cases()


def _paths(version: str) -> tuple[str, str]:
    return f"/{version}/conversations", f"/{version}/conversations/{{conversation_id}}"


def _read(version: str) -> None:
    many, one = _paths(version)
    listing, get = f"GET {many}", f"GET {one}"

    @cases.shows(listing, 200)
    async def _those_of_the_caller(server: Server) -> httpx.Response:
        known = await conversation(server)
        answer = await asking(server, listing)
        assert known in {each["conversation_id"] for each in answer.json()["conversations"]}
        return answer

    @cases.shows(get, 200)
    async def _what_was_said(server: Server) -> httpx.Response:
        known = await conversation(server, "What does the fox jump over?")
        answer = await asking(server, get, conversation_id=known)
        (turn,) = answer.json()["chat_history"]
        said = [(each["type"], each["content"]) for each in turn["messages"]]
        assert said[0] == ("user", "What does the fox jump over?")
        assert said[1][0] == "assistant"
        assert "lazy dog" in said[1][1]
        return answer


def _changed(version: str) -> None:
    many, one = _paths(version)
    listing, get = f"GET {many}", f"GET {one}"
    delete, put = f"DELETE {one}", f"PUT {one}"

    @cases.shows(put, 200)
    async def _a_topic_is_given(server: Server) -> httpx.Response:
        known = await conversation(server)
        answer = await asking(server, put, {"topic_summary": "pets"}, conversation_id=known)
        assert (answer.json()["conversation_id"], answer.json()["success"]) == (known, True)
        rows = (await asking(server, listing)).json()["conversations"]
        topics = {each["conversation_id"]: each["topic_summary"] for each in rows}
        assert topics[known] == "pets"
        return answer

    @cases.shows(delete, 200)
    async def _it_is_gone_then(server: Server) -> httpx.Response:
        known = await conversation(server)
        answer = await asking(server, delete, conversation_id=known)
        assert answer.json()["response"] == "Conversation deleted successfully"
        assert (await asking(server, get, conversation_id=known)).status_code == 404
        return answer

    @cases.shows(delete, 200)
    async def _what_is_not_there_is_gone(server: Server) -> httpx.Response:
        answer = await asking(server, delete)
        assert answer.json()["response"] == "Conversation cannot be deleted"
        return answer


def _wrong(version: str) -> None:
    one = _paths(version)[1]
    for method in ("GET", "DELETE", "PUT"):
        _with_an_id_that_is_none(f"{method} {one}")
    for method in ("GET", "PUT"):
        _of_what_is_not_there(f"{method} {one}")
    for about, body in WRONG_TOPICS.items():
        _wrong_topic(f"PUT {one}", about, body)


def _wrong_topic(put: str, about: str, body: dict[str, str]) -> None:
    async def provoke(server: Server) -> httpx.Response:
        answer = await asking(server, put, body)
        assert answer.json()["detail"][0]["loc"] == ["body", "topic_summary"]
        return answer

    provoke.__name__ = about
    cases.shows(put, 422)(provoke)


def _with_an_id_that_is_none(operation: str) -> None:
    @cases.shows(operation, 400)
    async def _an_id_that_is_none(server: Server) -> httpx.Response:
        answer = await asking(server, operation, conversation_id="bad")
        assert detail_of(answer) == {
            "response": "Invalid conversation ID format",
            "cause": "The conversation ID bad has invalid format.",
        }
        return answer


def _of_what_is_not_there(operation: str) -> None:
    @cases.shows(operation, 404)
    async def _no_such_conversation(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer) == NOT_THERE
        return answer

    @cases.shows(operation, 404, on="users")
    async def _that_of_another(server: Server) -> httpx.Response:
        another = await conversation(server)
        answer = await asking(server, operation, headers=user("bob"), conversation_id=another)
        assert detail_of(answer)["cause"] == f"Conversation with ID {another} does not exist"
        return answer


for each in VERSIONS:
    _read(each)
    _changed(each)
    _wrong(each)


def _without_cache(operation: str) -> None:
    @cases.shows(operation, 500, on="no collection")
    async def _no_cache_is_configured(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer)["response"] == "Conversation cache not configured"
        return answer


def _without_database(operation: str) -> None:
    @cases.shows(operation, 500, on="broken state")
    async def _the_database_is_broken(server: Server) -> httpx.Response:
        answer = await asking(server, operation)
        assert detail_of(answer)["response"]
        return answer


for each in [*BODIES, *(f"GET {path}" for path in ("/v1/conversations", "/v2/conversations"))]:
    if "/v2/" in each:
        _without_cache(each)
for method in ("GET", "DELETE"):
    _without_cache(f"{method} /v2/conversations/{{conversation_id}}")
_without_database("GET /v1/conversations")
for method in ("GET", "DELETE", "PUT"):
    _without_database(f"{method} /v1/conversations/{{conversation_id}}")


@cases.shows(FEEDBACK, 200)
async def _what_a_user_thinks(server: Server) -> httpx.Response:
    known = await conversation(server)
    body = BODIES[FEEDBACK] | {"conversation_id": known}
    answer = await asking(server, FEEDBACK, body)
    assert answer.json() == {"response": "feedback received"}
    stored = [each.read_text() for each in (server.folder / "feedback").iterdir()]
    assert any(known in text for text in stored)
    return answer


@cases.shows(FEEDBACK, 403, on="no collection")
async def _feedback_is_not_wanted(server: Server) -> httpx.Response:
    answer = await asking(server, FEEDBACK)
    assert detail_of(answer)["response"] == "Storing feedback is disabled"
    return answer


@cases.shows(FEEDBACK, 404)
async def _about_no_conversation(server: Server) -> httpx.Response:
    answer = await asking(server, FEEDBACK)
    assert detail_of(answer) == NOT_THERE
    return answer


@cases.shows(FEEDBACK, 404, on="users")
async def _about_the_conversation_of_another(server: Server) -> httpx.Response:
    another = await conversation(server)
    body = BODIES[FEEDBACK] | {"conversation_id": another}
    return await asking(server, FEEDBACK, body, headers=user("bob"))


@cases.shows(FEEDBACK, 422)
async def _without_an_opinion(server: Server) -> httpx.Response:
    body = {name: value for name, value in BODIES[FEEDBACK].items() if name != "sentiment"}
    answer = await asking(server, FEEDBACK, body)
    assert "At least one form of feedback" in answer.json()["detail"][0]["msg"]
    return answer


@cases.shows(FEEDBACK, 500, on="no room")
async def _it_cannot_be_stored(server: Server) -> httpx.Response:
    body = BODIES[FEEDBACK] | {"conversation_id": await conversation(server)}
    answer = await asking(server, FEEDBACK, body)
    assert detail_of(answer)["response"] == "Failed to store feedback"
    return answer


@cases.shows(STATUS, 200)
async def _feedback_is_wanted(server: Server) -> httpx.Response:
    answer = await asking(server, STATUS)
    assert answer.json() == {"functionality": "feedback", "status": {"enabled": True}}
    return answer


@cases.shows(STATUS, 200, on="no collection")
async def _it_is_not_wanted(server: Server) -> httpx.Response:
    answer = await asking(server, STATUS)
    assert answer.json()["status"] == {"enabled": False}
    return answer


@cases.shows(SWITCH, 200, on="users")
async def _it_is_switched_off(server: Server) -> httpx.Response:
    answer = await asking(server, SWITCH, {"status": False})
    changed = answer.json()["status"]
    assert (changed["previous_status"], changed["updated_status"]) == (True, False)
    assert changed["updated_by"] == "ann"
    assert (await asking(server, STATUS)).json()["status"] == {"enabled": False}
    assert (await asking(server, SWITCH, {"status": True})).status_code == 200
    return answer


@cases.shows(SWITCH, 422)
async def _neither_on_nor_off(server: Server) -> httpx.Response:
    answer = await asking(server, SWITCH, {"status": "perhaps"})
    assert answer.json()["detail"][0]["loc"] == ["body", "status"]
    return answer
