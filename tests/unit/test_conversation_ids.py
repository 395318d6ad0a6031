"""What is a conversation's id on REST."""

from __future__ import annotations

import pytest

from agent.conversation_ids import is_conversation_id, new_public_id
from rest_compat.lightspeed.conversation_ids import read_conversation_id

UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize("text", ["0a" * 24, "0A" * 24, UUID, UUID.upper()])
def test_hex_of_48_characters_and_uuids_are_ids(text: str) -> None:
    assert read_conversation_id(text) == text
    assert read_conversation_id(f"conv_{text}") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conv_",
        "0a" * 23,
        "0a" * 24 + "\n",
        f"{{{UUID}}}",
        f"urn:uuid:{UUID}",
        "٣" * 48,
        UUID[:-1],
    ],
    ids=ascii,
)
def test_everything_else_is_none(text: str) -> None:
    assert read_conversation_id(text) is None


def test_a_public_id_is_an_id_that_nobody_guesses() -> None:
    made = {new_public_id() for _ in range(100)}
    assert len(made) == 100
    assert all(is_conversation_id(one) for one in made)
