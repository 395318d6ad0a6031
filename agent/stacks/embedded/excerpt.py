"""The part of a passage that answers a question, in the passage's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.stacks.embedded.documents import sentences
from agent.stacks.embedded.markup import Block, blocks_of
from agent.stacks.embedded.terms import stems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.stacks.embedded.ranking import Question, Ranked

SENTENCES = 4
"""How many sentences an answer has at most; a list, a table or code comes on top."""

_SHORT_LIST = 6  # items; of a longer list or table only what is asked for is shown
_TOPIC = 0.2  # of the question; what the first sentence of a paragraph has ahead of the others
_ITEM = re.compile(r"^(?=\s{0,3}(?:[-*+•]|\d{1,3}[.)])\s)", re.MULTILINE)
_POINTS_BACK = re.compile(r"(it|this|that|these|those|they|then|he|she|such)\b", re.IGNORECASE)


def excerpt(question: Question, ranked: Ranked) -> str:
    """Return one to four sentences, or the list, table or code that holds the answer."""
    blocks = blocks_of(ranked.passage.text)
    if not blocks:
        return ranked.passage.text
    covers = [_covers(question, block) for block in blocks]
    best = max(range(len(blocks)), key=lambda at: (covers[at], -at))
    heading = question.coverage(set(stems(ranked.passage.section)))
    if blocks[best].kind != "prose":
        return _join([*_introduction(blocks, best), _narrowed(question, blocks[best])])
    chosen = _sentences_about(question, blocks[best].text)
    picked = [" ".join(chosen)]
    following = blocks[best + 1 :]
    if heading >= covers[best]:
        # the section as a whole is the answer: go on from where it begins
        picked += _further_prose(following, SENTENCES - len(chosen))
    if following and following[0].kind != "prose" and _leads_on(question, blocks[best]):
        picked.insert(1, _narrowed(question, following[0]))
    return _join(picked)


def _covers(question: Question, block: Block) -> float:
    """Tell how much of the question a block has; words of an example count less."""
    factor = {"code": 0.5, "table": 0.8}.get(block.kind, 1.0)
    return round(factor * question.coverage(set(stems(block.text))), 3)


def _leads_on(question: Question, block: Block) -> bool:
    return block.text.endswith(":") or question.kind == "steps"


def _introduction(blocks: Sequence[Block], at: int) -> list[str]:
    """Return the prose right before a list, a table or code, its last sentences if it is long."""
    if at == 0 or blocks[at - 1].kind != "prose":
        return []
    return [" ".join(sentences(blocks[at - 1].text)[-SENTENCES:])]


def _sentences_about(question: Question, text: str) -> list[str]:
    """Return the whole of a short paragraph, else the best sentence with what follows it."""
    every = sentences(text)
    if len(every) <= SENTENCES:
        return every
    scores = [question.coverage(set(stems(sentence))) for sentence in every]
    scores[0] += _TOPIC
    at = max(range(len(every)), key=lambda n: (scores[n], -n))
    if at and _POINTS_BACK.match(every[at]):
        at -= 1
    at = min(at, len(every) - 2)
    return every[at : at + SENTENCES - 1]


def _further_prose(blocks: Sequence[Block], room: int) -> list[str]:
    further: list[str] = []
    for block in blocks:
        if block.kind != "prose":
            continue
        every = sentences(block.text)
        if len(every) > room:
            break
        room -= len(every)
        further.append(block.text)
    return further


def _narrowed(question: Question, block: Block) -> str:
    """Leave out the rows and items of a long table or list that are not asked for."""
    if block.kind == "table":
        lines = block.text.split("\n")
        return "\n".join(lines[:2] + _asked_for(question, lines[2:]))
    if block.kind == "list":
        items = [item.rstrip("\n") for item in _ITEM.split(block.text) if item.strip()]
        return "\n".join(_asked_for(question, items))
    return block.text


def _asked_for(question: Question, rows: list[str]) -> list[str]:
    if len(rows) <= _SHORT_LIST:
        return rows
    scores = [question.coverage(set(stems(row))) for row in rows]
    bound = max(0.75 * max(scores), 0.05)
    return [row for row, score in zip(rows, scores, strict=True) if score >= bound] or rows


def _join(pieces: Sequence[str]) -> str:
    return "\n\n".join(piece for piece in pieces if piece)
