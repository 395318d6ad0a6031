"""A row of a dataset -> what a candidate is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import InvalidParams

if TYPE_CHECKING:
    from collections.abc import Iterable

type Json = Any

QUERY, CHAT, COMPLETION = "input_query", "chat_completion_input", "completion_input"


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a row; ``content`` is text, or items of text."""

    role: str
    content: Json = ""


class Row(msgspec.Struct, frozen=True):
    """A row and its ``place``, as ``input_rows[3]``, for who is told what is wrong with it."""

    place: str
    values: dict[str, Json]

    def check(self, needed: Iterable[str]) -> None:
        """Raise ``InvalidParams`` unless the row can be asked, and has these columns."""
        self.messages()
        for name in sorted(needed):
            if self.values.get(name) is None:
                raise InvalidParams(f"{self.place}.{name}", "the row has none")

    def messages(self) -> list[ChatMessage]:
        """Return what is asked; raises ``InvalidParams`` for a row that asks nothing."""
        if (prompt := self.values.get(COMPLETION)) is not None:
            return [ChatMessage("user", self._prompt(prompt))]
        if (chat := self.values.get(CHAT)) is not None:
            return self._chat(chat)
        if isinstance(query := self.values.get(QUERY), str):
            return [ChatMessage("user", query)]
        problem = f"an invalid row: it has no {CHAT}, no {COMPLETION} and no {QUERY}"
        raise InvalidParams(self.place, problem)

    def _prompt(self, written: Json) -> str:
        """Return the text that a JSON string holds; text that is no JSON is the prompt itself."""
        try:
            read = msgspec.json.decode(written) if isinstance(written, str) else None
        except (msgspec.DecodeError, RecursionError):
            return str(written)
        if not isinstance(read, str):
            raise InvalidParams(f"{self.place}.{COMPLETION}", "must be a JSON string")
        return read

    def _chat(self, written: Json) -> list[ChatMessage]:
        field = f"{self.place}.{CHAT}"
        try:
            if isinstance(written, str):
                written = msgspec.json.decode(written)
            read = msgspec.convert(written, list[ChatMessage])
        except (msgspec.MsgspecError, RecursionError) as exc:
            raise InvalidParams(field, "must be a JSON list of messages") from exc
        messages = [ChatMessage(each.role, text_in(each.content, field)) for each in read]
        if not any(message.role == "user" for message in messages):
            raise InvalidParams(field, "has no message of the user")
        return messages


def text_in(content: Json, field: str) -> str:
    """Return the text of content; raises ``InvalidParams`` for anything but text."""
    texts = []
    for item in content if isinstance(content, list) else [content]:
        text = item.get("text") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise InvalidParams(field, "only text can be evaluated")
        texts.append(text)
    return "\n\n".join(texts)
