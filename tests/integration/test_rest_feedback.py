"""``/v1/feedback`` over sockets: what is taken, where it is kept, and who may switch it off."""

from __future__ import annotations

import base64
import json
import stat
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.auth.noop import ANONYMOUS
from agent.json_file import store_json
from agent.settings import Settings
from tests.fakes.lightspeed_document import check, published
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

PATH, STATUS = "/v1/feedback", "/v1/feedback/status"
UNKNOWN = "12345678-abcd-0000-0123-456789abcdef"
RH_IDENTITY = {"module": "rh-identity"}


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve all there is, on a script."""
    with scripted(Script(ANSWER)) as name:
        given = {"name": name, "stack": STACK, "a2a_state": {"memory": True}} | settings
        app = create_app(Settings.model_validate(given))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            yield http


def storing(folder: Path) -> dict[str, Any]:
    """Return the section that has feedback stored."""
    return {"user_data_collection": {"feedback_enabled": True, "feedback_storage": folder}}


def ruled(*actions: str) -> dict[str, Any]:
    """Return settings that allow everybody these actions."""
    return {"authorization": {"access_rules": [{"role": "*", "actions": actions}]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the shared server stores feedback: a folder that is not there yet."""
    return tmp_path_factory.mktemp("feedback") / "deep" / "feedback"


@pytest.fixture(scope="module")
async def shared(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serve callers who say who they are."""
    async with serving(authentication=RH_IDENTITY, **storing(folder)) as http:
        yield http


def shown(user: str) -> dict[str, str]:
    """Return the header of an identity."""
    said = {"type": "User", "user": {"user_id": user, "username": user}}
    header = base64.b64encode(json.dumps({"identity": said}).encode()).decode()
    return {"x-rh-identity": header}


ANN, BEN = shown("ann"), shown("ben")


async def conversation(http: httpx.AsyncClient, headers: dict[str, str] | None = None) -> str:
    """Begin a conversation by A2A; returns its id."""
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "Hi"}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": said}}
    answer = await http.post("/a2a", json=call, headers={"A2A-Version": "1.0"} | (headers or {}))
    context_id: str = answer.json()["result"]["task"]["contextId"]
    return context_id


def about(conversation_id: str, **more: Any) -> dict[str, Any]:
    """Return feedback."""
    said = {"conversation_id": conversation_id, "user_question": "q", "llm_response": "r"}
    return said | (more or {"sentiment": 1})


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is stored, by the names of the files."""
    return {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    """Return the names of all files, hidden ones too."""
    return [file.name for file in folder.iterdir()]


async def test_feedback_is_a_file_for_its_owner_only(
    shared: httpx.AsyncClient, folder: Path
) -> None:
    conversation_id = await conversation(shared, ANN)
    before = kept(folder)
    given = about(
        conversation_id,
        sentiment=-1,
        user_feedback="Schön vage",
        categories=["incomplete", "unsafe", "incomplete"],
    )

    answer = await shared.post(PATH, json=given, headers=ANN)

    assert (answer.status_code, answer.json()) == (200, {"response": "feedback received"})
    ((name, stored),) = [each for each in kept(folder).items() if each[0] not in before]
    at = datetime.fromisoformat(stored.pop("timestamp"))
    assert at.utcoffset() is not None
    assert stored == given | {"user_id": "ann", "categories": ["incomplete", "unsafe"]}
    assert mode(folder / name) == 0o600
    assert mode(folder) == mode(folder.parent) == 0o700
    assert {name.rpartition(".")[2] for name in names(folder)} == {"json"}


async def test_what_is_left_out_is_stored_as_nothing(
    shared: httpx.AsyncClient, folder: Path
) -> None:
    conversation_id = await conversation(shared, BEN)
    given = about(f"conv_{conversation_id}", categories=["other"])
    assert (await shared.post(PATH, json=given, headers=BEN)).status_code == 200
    assert (await shared.post(PATH, json=given, headers=BEN)).status_code == 200

    bens = [each for each in kept(folder).values() if each["user_id"] == "ben"]
    assert [each["conversation_id"] for each in bens] == [conversation_id] * 2
    assert (bens[0]["sentiment"], bens[0]["user_feedback"]) == (None, None)


WHERE = ["body"]
NOTHING = (
    "Value error, At least one form of feedback must be provided: 'sentiment', 'user_feedback', "
    "or 'categories'"
)


@pytest.mark.parametrize(
    ("body", "where", "kind", "message"),
    [
        (about("bad"), ["body", "conversation_id"], "value_error", "Improper conversation ID bad"),
        (about("../x"), ["body", "conversation_id"], "value_error", "Improper conversation ID"),
        (about(UNKNOWN, sentiment=0), ["body", "sentiment"], "value_error", "Improper sentiment"),
        (about(UNKNOWN, sentiment="a"), ["body", "sentiment"], "int_parsing", ""),
        (about(UNKNOWN, sentiment=None), WHERE, "value_error", NOTHING),
        (about(UNKNOWN, user_feedback=""), WHERE, "value_error", NOTHING),
        (about(UNKNOWN, categories=[]), WHERE, "value_error", NOTHING),
        (about(UNKNOWN, categories=["rude"]), ["body", "categories", 0], "enum", ""),
        (
            about(UNKNOWN, user_feedback="x" * 4097),
            ["body", "user_feedback"],
            "string_too_long",
            "",
        ),
        (about(UNKNOWN, sentiment=1, more=1), ["body", "more"], "extra_forbidden", ""),
    ],
    ids=[
        *("id", "path", "sentiment", "text", "none", "empty", "no category"),
        *("category", "long", "extra"),
    ],
)
async def test_what_is_no_feedback_is_refused(
    body: Any, where: list[Any], kind: str, message: str, shared: httpx.AsyncClient
) -> None:
    refused = await shared.post(PATH, json=body, headers=ANN)

    assert refused.status_code == 422
    (problem,) = refused.json()["detail"]
    assert (problem["loc"], problem["type"]) == (where, kind)
    assert message in problem["msg"]


async def test_all_fields_that_are_missing_are_named(shared: httpx.AsyncClient) -> None:
    refused = await shared.post(PATH, json={"user_question": "q"}, headers=ANN)
    assert [each["loc"] for each in refused.json()["detail"]] == [
        ["body", "conversation_id"],
        ["body", "llm_response"],
    ]


async def test_half_a_surrogate_pair_is_no_text(shared: httpx.AsyncClient, folder: Path) -> None:
    conversation_id, before = await conversation(shared, ANN), kept(folder)
    # As JSON it is written in ASCII: nothing but its meaning is wrong.
    body = json.dumps(about(conversation_id) | {"user_question": "\ud800"})
    headers = ANN | {"Content-Type": "application/json"}
    refused = await shared.post(PATH, content=body, headers=headers)
    assert refused.status_code == 422
    assert kept(folder) == before


async def test_a_conversation_of_another_is_like_one_that_is_not_there(
    shared: httpx.AsyncClient, folder: Path
) -> None:
    of_ann, before = await conversation(shared, ANN), kept(folder)
    for conversation_id in (of_ann, UNKNOWN):
        refused = await shared.post(PATH, json=about(conversation_id), headers=BEN)
        assert refused.status_code == 404
        assert refused.json() == {
            "detail": {
                "response": "Conversation not found",
                "cause": f"Conversation with ID {conversation_id} does not exist",
            }
        }
    assert kept(folder) == before


async def test_who_may_read_those_of_others_has_no_feedback_for_them(tmp_path: Path) -> None:
    rules = ruled("a2a_jsonrpc", "query", "feedback", "read_other_conversations")
    async with serving(authentication=RH_IDENTITY, **storing(tmp_path), **rules) as http:
        of_ann = await conversation(http, ANN)
        refused = await http.post(PATH, json=about(of_ann), headers=BEN)
        taken = await http.post(PATH, json=about(of_ann), headers=ANN)
    assert (refused.status_code, taken.status_code) == (404, 200)
    assert [each["user_id"] for each in kept(tmp_path).values()] == ["ann"]


async def test_storing_is_switched_off_and_on_while_the_server_runs(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with serving(**storing(tmp_path)) as http:
            given = about(await conversation(http))
            assert (await http.get(STATUS)).json() == {
                "functionality": "feedback",
                "status": {"enabled": True},
            }
            off = (await http.put(STATUS, json={"status": False})).json()
            check(off, "FeedbackStatusUpdateResponse", published())
            at = datetime.fromisoformat(off["status"].pop("timestamp"))
            assert at.utcoffset() is not None
            assert off["status"] == {
                "previous_status": True,
                "updated_status": False,
                "updated_by": ANONYMOUS,
            }
            assert (await http.get(STATUS)).json()["status"] == {"enabled": False}
            # Before anything is said of the body, which is no feedback here.
            for body in (given, {}):
                refused = await http.post(PATH, json=body)
                assert refused.status_code == 403
                assert refused.json() == {
                    "detail": {
                        "response": "Storing feedback is disabled",
                        "cause": "Storing feedback is disabled.",
                    }
                }
            on = (await http.put(STATUS, json={"status": True})).json()
            assert (on["status"]["previous_status"], on["status"]["updated_status"]) == (
                False,
                True,
            )
            assert (await http.post(PATH, json=given)).status_code == 200
    assert len(kept(tmp_path)) == 1


async def test_without_a_status_it_is_off_and_other_fields_are_refused(
    shared: httpx.AsyncClient,
) -> None:
    wrong = await shared.put(STATUS, json={"enabled": True}, headers=ANN)
    assert wrong.status_code == 422
    async with serving() as http:
        changed = (await http.put(STATUS, json={})).json()["status"]
        assert (changed["previous_status"], changed["updated_status"]) == (False, False)


async def test_lcs_settings_store_nothing_unless_they_are_told_where() -> None:
    async with serving() as http:
        given = about(await conversation(http))
        assert (await http.post(PATH, json=given)).status_code == 403
        assert (await http.put(STATUS, json={"status": True})).status_code == 200
        failed = await http.post(PATH, json=given)
    assert failed.status_code == 500
    assert failed.json()["detail"]["response"] == "Failed to store feedback"
    assert "feedback_storage" in failed.json()["detail"]["cause"]


async def test_where_nothing_can_be_stored_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    async with serving(**storing(blocked / "feedback")) as http:
        given = about(await conversation(http))
        failed = await http.post(PATH, json=given)
    assert failed.status_code == 500
    assert failed.json() == {
        "detail": {
            "response": "Failed to store feedback",
            "cause": f"Failed to store feedback at directory: {blocked / 'feedback'}",
        }
    }
    assert "Feedback cannot be stored" in caplog.text


async def test_the_status_is_open_and_changing_it_is_not(shared: httpx.AsyncClient) -> None:
    assert (await shared.get(STATUS)).status_code == 200
    assert (await shared.put(STATUS, json={"status": False})).status_code == 401
    assert (await shared.post(PATH, json={})).status_code == 401


async def test_where_there_are_rules_changing_the_status_takes_an_admin(tmp_path: Path) -> None:
    async with serving(**storing(tmp_path), **ruled("feedback", "get_config")) as http:
        assert (await http.put(STATUS, json={"status": False})).status_code == 403
        assert (await http.get(STATUS)).json()["status"] == {"enabled": True}
        assert (await http.post(PATH, json=about(UNKNOWN))).status_code == 404
    async with serving(**ruled("admin")) as http:
        assert (await http.put(STATUS, json={"status": True})).status_code == 200
    async with serving(**storing(tmp_path), **ruled("query")) as http:
        refused = await http.post(PATH, json=about(UNKNOWN))
        assert refused.status_code == 403
        assert refused.json()["detail"]["response"].startswith("User does not have permission")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    class NoJson:
        pass

    with pytest.raises(TypeError):
        store_json(tmp_path / "a", NoJson())
    assert list(tmp_path.iterdir()) == []
