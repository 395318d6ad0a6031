"""A file of the knowledge folder, or of a message -> passages of a few hundred characters."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath

import msgspec

from a2a_state.passages import Document, Passage
from agent.stacks.embedded.markup import Block, blocks_of, blocks_of_html
from agent.stacks.embedded.terms import stems

SUFFIXES = frozenset(
    {".md", ".markdown", ".txt", ".rst", ".html", ".htm", ".json", ".yaml", ".yml"}
)
"""The files that are read."""

SMALL, LARGE = 400, 900
"""Characters: a passage with ``SMALL`` takes no block that makes it exceed ``LARGE``."""

_LONGEST = 2 * LARGE  # a table or a listing is cut only where it is longer than this
_VERSION = "1"  # of the way documents are cut up: another one makes every document be indexed anew
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[\"'(\[`*]?[A-Z0-9])")
_HEADING = 200  # characters kept of one
_GROWTH = 8  # how many times as long JSON may become when it is indented
_HEADING_WEIGHT = 2  # how often the words of the headings count


class _Section(msgspec.Struct):
    """What stands below one heading."""

    heading: str
    blocks: list[Block]


def digest_of(content: bytes) -> str:
    """Tell the content, and how it would be cut up, apart from any other."""
    return hashlib.sha256(_VERSION.encode() + content).hexdigest()


def read(path: str, content: bytes) -> Document | None:
    """Cut a file up; None when it is not text."""
    if b"\0" in content:
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    title, passages = cut(path, text)
    rows = tuple((passage, _terms(passage)) for passage in passages)
    return Document(path, digest_of(content), title, len(content), rows)


def cut(path: str, text: str) -> tuple[str, list[Passage]]:
    """Return the title of a text and its passages."""
    sections = _sections(_blocks(path, text))
    title = next((s.heading for s in sections if s.heading), "") or PurePosixPath(path).name
    passages: list[Passage] = []
    anchors: dict[str, int] = {}
    for section in sections:
        anchor = _anchor(section.heading, anchors)
        for piece in _pieces(section.blocks):
            heading = "" if section.heading == title else section.heading
            passages.append(Passage(path, len(passages), title, heading, anchor, piece))
    return title, passages


def sentences(text: str) -> list[str]:
    """Cut prose after its sentences; nothing is lost but the space between them."""
    return [sentence for sentence in _SENTENCE.split(text) if sentence.strip()]


def _blocks(path: str, text: str) -> list[Block]:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in {".html", ".htm"}:
        return blocks_of_html(text)
    if suffix == ".json":
        text = _indented(text)
    if suffix in {".json", ".yaml", ".yml"}:
        parts = re.split(r"\n\s*\n", text)
        return [Block("code", f"```\n{part.strip()}\n```") for part in parts if part.strip()]
    return blocks_of(text)


def _indented(text: str) -> str:
    """Indent JSON, unless it is so deep that this makes many times as much of it."""
    room = _GROWTH * len(text)
    pieces: list[str] = []
    try:
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(text)):
            room -= len(piece)
            if room < 0:
                return text
            pieces.append(piece)
    except (ValueError, RecursionError):
        return text
    return "".join(pieces)


def _sections(blocks: list[Block]) -> list[_Section]:
    sections = [_Section("", [])]
    for block in blocks:
        if block.kind == "heading":
            sections.append(_Section(block.text[:_HEADING], []))
        else:
            sections[-1].blocks.append(block)
    return sections


def _pieces(blocks: list[Block]) -> list[str]:
    """Join small blocks and cut large ones; what introduces a block stays with it."""
    pieces: list[list[Block]] = [[]]
    for block in (part for whole in blocks for part in _cut(whole)):
        piece = pieces[-1]
        length = sum(len(each.text) for each in piece)
        introduces = bool(piece) and piece[-1].text.endswith(":")
        full = length >= SMALL and length + len(block.text) > LARGE
        if full and introduces and len(piece) > 1:
            pieces.append([piece.pop()])
        elif full and not introduces:
            pieces.append([])
        pieces[-1].append(block)
    return ["\n\n".join(block.text for block in piece) for piece in pieces if piece]


def _cut(block: Block) -> list[Block]:
    if block.kind == "prose":
        return [Block("prose", part) for part in _fill(sentences(block.text), " ", LARGE)]
    if len(block.text) <= _LONGEST:
        return [block]
    lines = block.text.split("\n")
    before, after = _frame(block.kind, lines)
    inner = lines[len(before) : len(lines) - len(after)]
    return [
        Block(block.kind, "\n".join([*before, part, *after])) for part in _fill(inner, "\n", LARGE)
    ]


def _frame(kind: str, lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines that every part of a listing or a table needs before and after it."""
    if kind == "code" and lines[0].lstrip()[:3] in ("```", "~~~"):
        return [lines[0][:40]], [lines[-1][:40]]
    if kind == "table" and len(lines[0]) < SMALL:
        return lines[:2], []
    return [], []


def _fill(units: list[str], joint: str, size: int) -> list[str]:
    parts = [""]
    for unit in (bit for whole in units for bit in _bits(whole)):
        if parts[-1] and len(parts[-1]) + len(joint) + len(unit) > size:
            parts.append("")
        parts[-1] += joint + unit if parts[-1] else unit
    return [part for part in parts if part.strip()]


def _bits(unit: str) -> list[str]:
    """Cut a sentence or a line that is too long by itself, at any character."""
    return [unit[at : at + LARGE] for at in range(0, len(unit), LARGE)] or [""]


def _anchor(heading: str, seen: dict[str, int]) -> str:
    """Make the anchor that renderers of Markdown make of a heading."""
    slug = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
    if not slug:
        return ""
    number = seen.get(slug, 0)
    seen[slug] = number + 1
    return f"{slug}-{number}" if number else slug


def _terms(passage: Passage) -> str:
    headings = f"{passage.title} {passage.section}"
    return " ".join(stems(headings) * _HEADING_WEIGHT + stems(passage.text))
