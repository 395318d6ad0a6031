"""Lists of conversations as they are answered."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from a2a_state.conversation_cache import CachedConversation
from agent.conversation_turns import Turn
from agent.histories import ListedConversation
from rest_compat.lightspeed import conversation_lists
from rest_compat.lightspeed.conversation_history import SHORT, history
from rest_compat.lightspeed.conversation_models import (
    ConversationData,
    ConversationDetails,
    ConversationResponse,
    ConversationsListResponse,
    ConversationsListResponseV2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.anyio

SIZES = [0, 1, conversation_lists.FEW + 1]


def listed(number: int, model: str | None = "p/m/x") -> ListedConversation:
    """Return a conversation of the state; of those that began at once, there are two."""
    return ListedConversation(f"{number:048x}", None, 2000 * (number // 2), 1500, 3, model)


@pytest.mark.parametrize("size", SIZES)
async def test_the_first_version_begins_with_the_oldest(size: int) -> None:
    answer = await conversation_lists.details([listed(number) for number in reversed(range(size))])
    shown = ConversationsListResponse.model_validate_json(bytes(answer.body), strict=True)
    ids = [one.conversation_id for one in shown.conversations]
    assert ids == [f"{number:048x}" for number in range(size)]
    assert answer.media_type == "application/json"


@pytest.mark.parametrize("size", SIZES)
async def test_the_second_version_is_in_the_order_of_what_was_found(size: int) -> None:
    found = [CachedConversation("ann", "", str(number), None, number) for number in range(size)]
    answer = await conversation_lists.data(found)
    shown = ConversationsListResponseV2.model_validate_json(bytes(answer.body), strict=True)
    assert [one.conversation_id for one in shown.conversations] == [str(n) for n in range(size)]


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [("p/m/x", "p", "m/x"), ("m", None, "m"), (None, None, None)],
    ids=["both", "model", "none"],
)
async def test_what_is_listed_is_what_the_document_says(
    model: str | None, provider: str | None, name: str | None
) -> None:
    (shown,) = rows(await conversation_lists.details([listed(2, model)]))
    assert shown == {
        "conversation_id": f"{2:048x}",
        "created_at": "1970-01-01T00:00:02Z",
        "last_message_at": "1970-01-01T00:00:01Z",
        "message_count": 3,
        "last_used_model": name,
        "last_used_provider": provider,
        "topic_summary": "",
    }
    assert list(shown) == list(ConversationDetails.model_fields)
    (shown,) = rows(await conversation_lists.data([listed(2)]))
    assert shown["last_message_timestamp"] == 1.5
    assert list(shown) == list(ConversationData.model_fields)


async def test_a_long_list_is_not_written_on_the_event_loop() -> None:
    threads = set()

    class Watched(list[ListedConversation]):
        def __iter__(self) -> Iterator[ListedConversation]:
            threads.add(threading.current_thread())
            return super().__iter__()

    few: Sequence[ListedConversation] = Watched([listed(1)])
    await conversation_lists.details(few)
    assert threads == {threading.current_thread()}
    threads.clear()
    await conversation_lists.details(Watched([listed(1)] * (conversation_lists.FEW + 1)))
    assert threads
    assert threading.current_thread() not in threads


def rows(answer: Any) -> list[dict[str, Any]]:
    """Return what is listed."""
    found: list[dict[str, Any]] = json.loads(answer.body)["conversations"]
    return found


@pytest.mark.parametrize("length", [1, SHORT], ids=["short", "long"])
async def test_a_history_is_the_same_however_long_it_is(length: int) -> None:
    tool = {
        "tool_name": "t",
        "result": {"call_id": "c"},
        "arguments": {},
        "type": "mcp",
        "round": 2,
    }
    turns = [
        Turn("t1", 1000, 2000, 'a "quoted" fox 🦊', "x" * length, (tool,), "p/m"),
        Turn("t2", 3000, 3000, "b"),
    ]
    answer = await history("c" * 48, turns)
    shown = ConversationResponse.model_validate_json(bytes(answer.body), strict=True)
    assert shown.conversation_id == "c" * 48
    said = [[one.content for one in turn.messages] for turn in shown.chat_history]
    assert said == [['a "quoted" fox 🦊', "x" * length], ["b"]]
    assert [len(turn.tool_calls) for turn in shown.chat_history] == [1, 0]
    empty = json.loads(bytes((await history("c" * 48, [])).body))
    assert empty == {"conversation_id": "c" * 48, "chat_history": []}
