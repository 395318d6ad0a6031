"""The topic of a conversation: what a model says it is, or else how its first question begins."""

from __future__ import annotations

_WORDS = 8
_CHARACTERS = 80
_MOST = 200  # characters of what a model says


def topic_of(question: str) -> str:
    """Return the question in one line, cut off after a word where it is long."""
    said = question.split(maxsplit=_WORDS)
    topic = " ".join(said[:_WORDS])
    if len(said) <= _WORDS and len(topic) <= _CHARACTERS:
        return topic
    if len(topic) >= _CHARACTERS:
        topic = topic[:_CHARACTERS].rpartition(" ")[0] or topic[: _CHARACTERS - 1]
    return f"{topic}…"


def in_a_line(said: str) -> str:
    """Return what a model calls the topic; one that says too much is cut off."""
    return " ".join(said.split())[:_MOST]
