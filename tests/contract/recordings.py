"""What a real LCS was heard to answer, read from files of text.

A section begins with ``----- `` and what it is about: the method and the path, with the body after
``>``; or a name, and then the request and its body on lines with ``>``. The response follows.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = Path(__file__).parent / "recorded"
THEIRS = Path(__file__).parents[3] / "shared" / "recordings" / "lightspeed"
_SECTION = re.compile(r"^----- ", re.MULTILINE)
_REQUEST = re.compile(r"^(?:> )?(GET|POST|PUT|DELETE) (\S+)(?: > (.*))?\s*$")


class Recorded(NamedTuple):
    """A request, and what was answered; ``name`` is unique within a file."""

    name: str
    method: str
    path: str
    body: str | None
    status: int
    content_type: str
    text: str


def read(content: str) -> Iterator[Recorded]:
    """Yield what a file holds; of several parts the first, which is of the version that is ours."""
    content = content.partition("######## PART 2")[0]
    seen: dict[str, int] = {}
    for section in _SECTION.split(content)[1:]:
        name, request, answer = _divided(section)
        seen[name] = seen.get(name, 0) + 1
        numbered = name if seen[name] == 1 else f"{name} ({seen[name]})"
        yield _recorded(numbered, request, answer)


def _divided(section: str) -> tuple[str, tuple[str, str, str | None], str]:
    """Return the name, the request, and the lines of the answer."""
    about, _, rest = section.partition("\n")
    if found := _REQUEST.match(about):
        return about.strip(), (found[1], found[2], found[3]), rest
    line, _, rest = rest.partition("\n")
    found = _REQUEST.match(line)
    assert found is not None, section[:80]
    body: str | None = None
    if rest.startswith("> "):
        body, _, rest = rest.removeprefix("> ").partition("\n")
    return about.strip(), (found[1], found[2], body), rest


def _recorded(name: str, request: tuple[str, str, str | None], answer: str) -> Recorded:
    head, _, text = answer.partition("\n\n")
    status, *lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    content_type = headers["content-type"]
    method, path, body = request
    return Recorded(name, method, path, body, int(status.split()[1]), content_type, text)
