"""Words of a text as search terms: case and accents folded, endings cut, empty words left out.

The index and the question go through the same functions, so both databases match the same way, and
no text of a user is ever read as query syntax: a term is letters and digits only.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import msgspec

MAX_TERM = 40
"""Characters kept of a term."""

_WORD = re.compile("[^\\W_]+(?:['\u2019][a-z]{1,2}(?![^\\W_]))?")
_POSSESSIVE = re.compile("['\u2019]s$")
_APOSTROPHES = str.maketrans("", "", "'\u2019")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_VOWEL = re.compile(r"[aeiouy]")

# Words that say nothing about what is asked.
_STOP = """
a about above again against all also am an and another any anybody anyone anything anyway are as
ask asking at be because been before being below between both but by came can cannot cant come
could couldnt did didnt do does doesnt doing done dont down during each either else ever every
exactly explain few find for from further gave get gets getting give gives go goes going gone got
had has hasnt have havent having he hello help her here hers hey hi him his how however i id if ill
im in into is isnt it its itself ive just kind know let lets like look looking made make makes many
may maybe me mean means might mine more most much must my myself need needed needs no nor not now
of off ok okay on once one only onto or other our ours out over own please quite rather really said
same say says see seem shall she should show shows since so some somebody someone something soon
sort still such sure tell than thank thanks that the their theirs them then there these they thing
things think this those though through thus to too under until up upon us use used useful user uses
using very want wanted wants was way ways we well were what whatever when where whether which while
who whom whose why will wish with within without wont would wouldnt yes yet you your yours yourself
"""

_COMPOUNDS = """
back-up break-down check-out clean-up data-base end-point fail-over fall-back file-name hand-shake
head-less health-check host-name key-board life-cycle load-balancer log-in log-out look-up
name-space opt-in opt-out path-name plug-in roll-back roll-out run-time set-up shut-down sign-in
sign-up start-up time-out time-stamp time-zone user-name web-hook web-socket white-list work-flow
work-space
"""

_IRREGULAR = """
began-begin begun-begin broke-break broken-break built-build chose-choose chosen-choose held-hold
hidden-hide kept-keep lost-lose ran-run sent-send shown-show spent-spend stuck-stick taken-take
taught-teach thrown-throw told-tell took-take written-write wrote-write
"""

# Words for an action or a kind of answer; they weigh little beside what the question is about.
_GENERIC = """
able add allow allowed available best big change changed changing check choose common create
current default describe detail detailed details differ difference different easy enable example
examples first good great handle happen happens important information instead issue keep kinds last
list long main necessary new next number option options order part possible problem provide put
question read right run running set sets setting several simple simply small start step steps
support supported supports switch time try turn type types value various version whole work working
works write
"""

_STOP_WORDS = frozenset(_STOP.split())
_GENERIC_WORDS = frozenset(_GENERIC.split())

_JOINED = {tuple(pair.split("-")): pair.replace("-", "") for pair in _COMPOUNDS.split()}
_BASES = dict(pair.split("-") for pair in _IRREGULAR.split())

_ENDINGS = (
    ("izations", 3), ("ization", 3), ("ations", 3), ("ation", 3), ("ating", 3), ("ated", 3),
    ("ates", 3), ("ators", 3), ("ator", 3), ("ate", 3), ("ments", 5), ("ment", 5), ("ably", 4),
    ("ables", 4), ("able", 4), ("ible", 4), ("ings", 3), ("ing", 3), ("ions", 4), ("ion", 4),
    ("edly", 3), ("ed", 3), ("ers", 5), ("er", 5), ("ly", 4),
)  # fmt: skip
"""What is cut off the end of a word, and how many letters must be left."""


class Term(msgspec.Struct, frozen=True):
    """One word asked for. ``weight`` is below 1 for words that matter less."""

    stem: str
    word: str
    weight: float = 1.0


def words(text: str) -> list[str]:
    """Split into folded words; a word in camel case also gives its parts."""
    found: list[str] = []
    for raw in _WORD.findall(text):
        if raw.isascii() and raw.islower() and raw.isalnum():
            found.append(raw[:MAX_TERM])
            continue
        word = _POSSESSIVE.sub("", raw).translate(_APOSTROPHES)
        parts = _CAMEL.split(word)
        found.append(fold(word)[:MAX_TERM])
        if len(parts) > 1:
            found.extend(fold(part)[:MAX_TERM] for part in parts)
    return [word for word in found if word]


def fold(text: str) -> str:
    """Lower the case and drop accents."""
    if text.isascii():
        return text.lower()
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c for c in plain.casefold() if c.isalnum())


def is_stop(word: str) -> bool:
    """Tell whether a folded word says nothing."""
    return word in _STOP_WORDS or (len(word) == 1 and not word.isdigit())


def stems(text: str) -> list[str]:
    """Every meaningful word of a text, in order, for the index."""
    found: list[str] = []
    before = ""
    for word in words(text):
        if joined := _joined(before, word):
            found.append(stem(joined))
        if not is_stop(word):
            found.append(stem(word))
        before = word
    return found


def asked(text: str, limit: int = 24) -> tuple[Term, ...]:
    """Return the distinct terms of a question, the first ``limit`` of them."""
    terms: dict[str, Term] = {}
    before = ""
    for word in words(text):
        if joined := _joined(before, word):
            # two words that the documents may write as one; the index holds one for either
            terms.pop(stem(before), None)
            terms[stem(joined)] = Term(stem(joined), joined)
        elif not is_stop(word):
            terms.setdefault(stem(word), Term(stem(word), word, _weight(word)))
        before = word
    return tuple(terms.values())[:limit]


def _joined(before: str, word: str) -> str | None:
    return _JOINED.get((stem(before), word))


def _weight(word: str) -> float:
    return 0.2 if stem(word) in _GENERIC_STEMS else 1.0


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Cut English endings: ``streams``, ``streaming`` and ``streamed`` are one term."""
    word = _BASES.get(word, word)
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    word = _singular(word)
    for ending, left in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= left:
            shorter = word[: -len(ending)]
            if _VOWEL.search(shorter):
                return _settle(shorter)
    return _settle(word)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _settle(word: str) -> str:
    """Make one of what is left of ``setting`` (sett) and ``set``, of ``store`` and ``storing``."""
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sz":
        word = word[:-1]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word.endswith("i"):
        word = word[:-1] + "y"
    return word


_GENERIC_STEMS = frozenset(stem(word) for word in _GENERIC_WORDS)
