"""From a message to the passages that answer it: what is asked, where it is looked for."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from agent.stacks.embedded.documents import cut
from agent.stacks.embedded.excerpt import excerpt
from agent.stacks.embedded.messages import ModelMessage, UserMessage
from agent.stacks.embedded.ranking import Ranked, Statistics, kind_of, rank
from agent.stacks.embedded.terms import Term, asked, stems, words
from agent.stacks.turn import Citation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from a2a_state.passages import Passage
    from agent.stacks.embedded.knowledge import Knowledge
    from agent.stacks.embedded.messages import Attachment, Message
    from agent.stacks.embedded.ranking import Kind, Question

ATTACHED_CHARS = 1_000_000
"""Characters of attached text that are searched."""

_READ = 4000  # characters of the beginning, and of the end, of a message
_CANDIDATES = 20  # passages that are looked at closely
_FOLLOW_UP = 4  # words; so short a message may go on about what was asked before
_ENOUGH = 0.75  # of the question; a passage that has less is joined by one that adds to it
_ADDS = 0.25  # of the question
_SMALL_TALK = frozenset({"hello", "hi", "hey", "thanks", "thank", "bye", "ok", "okay", "yes", "no"})
_CONNECTIVES = frozenset({"and", "also", "but", "or", "for", "in", "with", "then"})
_ABOUT_FILES = frozenset(stems("attached files documents data texts contents summary summarize"))
_NO_MODEL = (
    "No language model is configured, so I can only answer with what the documents say, and {why}. "
    "To have a language model answer, set `openai.base_url` (or `OPENAI_BASE_URL`) to an "
    "OpenAI-compatible server, or `llama_stack.url` to a Llama Stack."
)
_NOT_SEARCHED = "they are not to be searched for this message"


class Excerpts(msgspec.Struct, frozen=True):
    """An answer and where it was taken from."""

    text: str
    sources: tuple[Ranked, ...] = ()

    def citations(self) -> list[Citation]:
        """Name the sources, the best first."""
        return [citation_of(source.passage, source.score) for source in self.sources]


def citation_of(passage: Passage, score: float | None = None) -> Citation:
    """Name a passage as a source."""
    return Citation(
        title=f"{passage.title} > {passage.section}" if passage.section else passage.title,
        uri=f"{passage.path}#{passage.anchor}" if passage.anchor else passage.path,
        text=passage.text,
        document_id=passage.path,
        score=None if score is None else round(score, 4),
    )


async def find_answer(
    knowledge: Knowledge | None, message: UserMessage, before: Sequence[Message]
) -> Excerpts:
    """Answer from what is attached, else from the documents, else say that nothing is found.

    Without ``knowledge`` the documents are not looked at.
    """
    attachments = _attachments(message, before)
    kind = kind_of(_question_of(message))
    asked_for = _asked_for(message, before, without=_ABOUT_FILES if attachments else ())
    # who asks for more of the same is not told the same again
    shown = "" if asked(_question_of(message)) else _last_answer(before)
    if attachments:
        # cutting up a large text takes a while, in which others want to be served
        found = await asyncio.to_thread(_search_attachments, attachments, asked_for, kind, shown)
        if found:
            return found
        if message.attachments and not any(asked_for):
            return await asyncio.to_thread(_summary, message.attachments[0])
    if knowledge is None:
        return Excerpts(_NO_MODEL.format(why=_NOT_SEARCHED))
    for terms in asked_for:
        hits = await knowledge.search(terms, _CANDIDATES)
        statistics = Statistics(hits.total, hits.counts)
        if found := _best(*rank(terms, kind, hits.passages, statistics), shown):
            return found
    return Excerpts(await _nothing(knowledge, asked_for[0], shown))


async def _nothing(knowledge: Knowledge, terms: Sequence[Term], shown: str) -> str:
    """Say plainly that there is no answer, and what can be asked about."""
    titles = await knowledge.titles()
    if not titles:
        why = "there are none"
    elif not terms:
        why = "this message asks for nothing in them"
    else:
        why = "they say no more on this" if shown else "they hold nothing on this"
    about = f"\n\nThe documents are: {', '.join(titles)}." if titles else ""
    return _NO_MODEL.format(why=why) + about


def _question_of(message: UserMessage) -> str:
    """Return the text that is read as a question: the beginning and the end of a long one."""
    text = message.text
    return text if len(text) <= 2 * _READ else f"{text[:_READ]}\n{text[-_READ:]}"


def _asked_for(
    message: UserMessage, before: Sequence[Message], without: Collection[str]
) -> list[tuple[Term, ...]]:
    """Return what may be asked, the likeliest first.

    A very short follow-up goes on about the question before it.
    """
    text = _question_of(message)
    terms = tuple(term for term in asked(text) if term.stem not in without)
    said = words(text)
    if not said or len(said) > _FOLLOW_UP or said[0] in _SMALL_TALK:
        return [terms]
    if terms and said[0] not in _CONNECTIVES and "about" not in said[1:2]:
        return [terms]
    for earlier in reversed(before):
        if isinstance(earlier, UserMessage) and (meant := asked(_question_of(earlier))):
            known = {term.stem for term in terms}
            more = [Term(t.stem, t.word, t.weight / 2) for t in meant if t.stem not in known]
            return [terms + tuple(more), terms] if terms else [meant]
    return [terms]


def _last_answer(before: Sequence[Message]) -> str:
    answers = (each.text for each in reversed(before) if isinstance(each, ModelMessage))
    return next(answers, "")


def _attachments(message: UserMessage, before: Sequence[Message]) -> list[Attachment]:
    """Return what came with the message or before, the latest first, as much as is searched."""
    users = [message, *(each for each in reversed(before) if isinstance(each, UserMessage))]
    room = ATTACHED_CHARS
    found: list[Attachment] = []
    for attachment in (each for user in users for each in user.attachments):
        room -= len(attachment.text)
        if room < 0:
            break
        found.append(attachment)
    return found


def _search_attachments(
    attachments: Sequence[Attachment], asked_for: Sequence[Sequence[Term]], kind: Kind, shown: str
) -> Excerpts | None:
    passages = [passage for each in attachments for passage in cut(each.name, each.text)[1]]
    for terms in asked_for:
        if found := _best(*rank(terms, kind, passages), shown):
            return found
    return None


def _best(question: Question, ranked: Sequence[Ranked], shown: str) -> Excerpts | None:
    """Answer from the best passage that was not shown yet, and from one that adds to it."""
    cut_out = ((each, excerpt(question, each)) for each in ranked)
    fresh = ((each, text) for each, text in cut_out if text not in shown)
    first, text = next(fresh, (None, ""))
    if first is None:
        return None
    if first.coverage < _ENOUGH:
        for other, more in islice(fresh, _CANDIDATES):
            added = sum(question.shares[term] for term in other.covered - first.covered)
            if added >= _ADDS:
                return Excerpts(f"{text}\n\n{more}", (first, other))
    return Excerpts(text, (first,))


def _summary(attachment: Attachment) -> Excerpts:
    """Begin as the text begins: what an extract can do for a summary."""
    passages = cut(attachment.name, attachment.text)[1]
    if not passages:
        return Excerpts("The attached text is empty.")
    question, _ranked = rank((), "", passages[:1])
    first = Ranked(passages[0])
    return Excerpts(excerpt(question, first), (first,))
