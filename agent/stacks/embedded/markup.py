"""Text files of any kind -> blocks: headings, prose, lists, tables and code, in their own words."""

from __future__ import annotations

import re
import string
from html import unescape
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

type Kind = Literal["heading", "prose", "list", "table", "code"]

_FENCE = re.compile(r"^\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(?=\S)(.*)$")
_ITEM = re.compile(r"^\s{0,3}(?:[-*+•]|\d{1,3}[.)])\s+\S")
_UNDERLINE = re.compile(r"^([=\-~^\"'*+#`:.])\1{2,}\s*$")
_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---\r?\n", re.DOTALL)
# Texts come from callers too, so no pattern here takes more than linear time.
_IMAGE = re.compile(r"!\[[^\]\n]{0,300}\]\([^)\n]{0,1000}\)")
_RELATIVE_LINK = re.compile(r"\[([^\]\n]{1,300})\]\((?!https?:|mailto:)[^)\n]{0,1000}\)")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)?+[^<>]*+>")
_LONG_NUMBER = re.compile(r"&#[0-9]{20,}+;?")  # no character, and Python refuses to read it
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SPACE = re.compile(r"\s+")
_RULE = re.compile(r"^\s*([-*_])(?:\s*\1){2,}\s*$")


class Block(msgspec.Struct, frozen=True):
    """A piece of a text. ``level`` is that of a heading, 1 being the title's."""

    kind: Kind
    text: str
    level: int = 0


def blocks_of(text: str) -> list[Block]:
    """Cut Markdown, reStructuredText or plain text into blocks."""
    text = _without(_FRONT_MATTER.sub("", text, count=1), "<!--", "-->")
    return list(_read(text.replace("\r\n", "\n").expandtabs(4).split("\n")))


def blocks_of_html(text: str) -> list[Block]:
    """Cut HTML into blocks; tags, scripts and styles are left out."""
    for tag in _HIDDEN:
        text = _without(text, f"<{tag}", f"</{tag}>")
    plain = _LONG_NUMBER.sub("", "".join(_untagged(_without(text, "<!--", "-->"))))
    return blocks_of(unescape(plain))


def _untagged(text: str) -> Iterator[str]:
    """Write Markdown's headings, items and fences in place of tags."""
    at = 0
    code = False
    for found in _TAG.finditer(text):
        said = text[at : found.start()]
        yield said if code else _SPACE.sub(" ", said)
        at = found.end()
        is_end, tag = bool(found[1]), (found[2] or "").lower()
        if tag == "pre":
            code = not is_end
            yield "\n```\n\n" if is_end else "\n\n```\n"
        elif tag in _HEADINGS:
            yield "\n\n" if is_end else f"\n\n{'#' * int(tag[1])} "
        elif tag in _BREAKS:
            yield "" if is_end and tag in {"li", "td", "th", "br"} else _BREAKS[tag]
    yield _SPACE.sub(" ", text[at:])


def _without(text: str, start: str, end: str) -> str:
    """Drop what stands between two marks, case aside."""
    lower = text.translate(_LOWER)  # unlike lower(), it never changes the length
    kept: list[str] = []
    at = 0
    while (begin := lower.find(start, at)) >= 0:
        kept.append(text[at:begin])
        close = lower.find(end, begin)
        if close < 0:
            return "".join(kept)
        at = close + len(end)
    return "".join([*kept, text[at:]])


def _read(lines: list[str]) -> Iterator[Block]:
    at = 0
    levels: list[str] = []
    while at < len(lines):
        line = lines[at]
        if not line.strip() or _RULE.match(line):
            at += 1
        elif fence := _FENCE.match(line):
            end = _end_of_fence(lines, at, fence[1])
            yield Block("code", "\n".join(lines[at:end]))
            at = end
        elif heading := _HEADING.match(line):
            yield Block("heading", _inline(heading[2].rstrip(" #")), len(heading[1]))
            at += 1
        elif at + 1 < len(lines) and _underlines(lines[at + 1], line):
            style = lines[at + 1].strip()[0]
            if style not in levels:
                levels.append(style)
            yield Block("heading", _inline(line.strip()), levels.index(style) + 1)
            at += 2
        else:
            end = _end_of_block(lines, at)
            yield _block(lines[at:end])
            at = end


def _underlines(line: str, heading: str) -> bool:
    return bool(_UNDERLINE.match(line)) and len(heading.strip()) <= len(line.strip()) + 3


def _end_of_fence(lines: list[str], start: int, fence: str) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].strip().startswith(fence):
            return at + 1
    return len(lines)


def _end_of_block(lines: list[str], start: int) -> int:
    """Find the blank line, heading or fence that ends a block; a list goes on after its items."""
    at = start + 1
    while at < len(lines):
        line = lines[at]
        if _FENCE.match(line) and not line.startswith(" "):
            break
        if _HEADING.match(line):
            break
        if not line.strip() and not _continues_list(lines, start, at):
            break
        # a list right below its introduction is a block of its own
        if _ITEM.match(line) and not _ITEM.match(lines[start]):
            break
        at += 1
    return at


def _continues_list(lines: list[str], start: int, blank: int) -> bool:
    following = lines[blank + 1] if blank + 1 < len(lines) else ""
    return bool(_ITEM.match(lines[start])) and bool(
        _ITEM.match(following) or (following.strip() and following.startswith("  "))
    )


def _block(lines: list[str]) -> Block:
    if _ITEM.match(lines[0]):
        return Block("list", _inline("\n".join(lines)))
    if lines[0].lstrip().startswith("|"):
        return Block("table", _inline("\n".join(lines)))
    if all(line.startswith("    ") for line in lines):
        return Block("code", "\n".join(lines))
    return Block("prose", _inline(" ".join(line.strip() for line in lines)))


def _inline(text: str) -> str:
    """Drop images, and links that lead nowhere outside of their folder."""
    return _RELATIVE_LINK.sub(r"\1", _IMAGE.sub("", text)).strip("\n ")


_HIDDEN = ("script", "style", "nav", "template", "svg", "title")
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BREAKS = {
    "p": "\n\n", "div": "\n\n", "section": "\n\n", "article": "\n\n", "table": "\n\n",
    "ul": "\n\n", "ol": "\n\n", "dl": "\n\n", "blockquote": "\n\n", "li": "\n- ", "tr": "\n",
    "td": " | ", "th": " | ", "dt": "\n\n", "dd": "\n", "br": "\n",
}  # fmt: skip
