"""Documents are read as the rows that they hold."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from agent.datasets.bounded import BoundedFile
from agent.datasets.formats import declared, read_rows
from agent.datasets.wrong import Unreadable
from agent.errors import PayloadTooLarge

ROWS = [{"q": "one", "n": 1}, {"q": "zwei ü", "n": 2.5}, {"q": "a,b\nc", "n": None}]
TABLE = 'q,n\none,1\nzwei ü,2.5\n"a,b\nc",\n'
LINES = "\n".join(json.dumps(row) for row in ROWS)


def rows(text: str | bytes, told: Any = None, row_bytes: int = 1000) -> list[Any]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_rows(BoundedFile(io.BytesIO(data), row_bytes), told))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LINES, "jsonl"),
        (f"\n{LINES}\n\n", "jsonl"),
        (LINES, "json"),
        (LINES, None),
        (json.dumps(ROWS), "json"),
        (json.dumps(ROWS, indent=1), None),
        (json.dumps({"of": {"data": [{}]}, "data": ROWS}), "json"),
        (json.dumps({"data": ROWS}, indent=1), None),
    ],
)
def test_json_is_read_however_it_is_called(text: str, told: Any, mark: bytes) -> None:
    assert rows(mark + text.encode(), told) == ROWS


@pytest.mark.parametrize("told", ["csv", None])
def test_a_table_is_read(told: Any) -> None:
    expected = [{"q": "one", "n": 1}, {"q": "zwei ü", "n": 2.5}, {"q": "a,b\nc", "n": None}]
    assert rows(TABLE, told) == expected
    assert rows(TABLE.replace("\n", "\r\n").encode("utf-8-sig"), told)[:2] == expected[:2]


def test_a_cell_may_be_as_long_as_a_row() -> None:
    """What the csv module takes by itself ends at 128 KiB."""
    long = "x" * 200_000

    assert rows(f"q,n\n{long},1\n", "csv", 1024 * 1024) == [{"q": long, "n": 1}]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "+3", " 4"], [1, -2, 3, 4]),
        (["1", "", "NA", "nan"], [1, None, None, None]),
        (["1", "2.5", ".5", "1e3", ""], [1.0, 2.5, 0.5, 1000.0, None]),
        (["true", "False", ""], [True, False, None]),
        (["true", "1"], ["true", "1"]),
        (["1", "one", "NA", ""], ["1", "one", "NA", None]),
        (["007", "8"], ["007", "8"]),
        (["99999999999999999999"], ["99999999999999999999"]),
        (["inf", "1"], ["inf", "1"]),
        (["1e999"], ["1e999"]),
        (["NA"], ["NA"]),
        ([".", "e5"], [".", "e5"]),
    ],
)
def test_a_column_is_of_numbers_when_all_its_cells_are(cells: list[str], values: list[Any]) -> None:
    found = rows("\n".join(["a,b", *[f"{cell},x" for cell in cells]]), "csv")
    assert [row["a"] for row in found] == values
    assert [type(row["a"]) for row in found] == [type(value) for value in values]


def test_short_rows_of_a_table_are_filled_and_blank_lines_are_none() -> None:
    assert rows(",a,b\n1,x\n\n2,y,z\n", "csv") == [
        {"Unnamed: 0": 1, "a": "x", "b": None},
        {"Unnamed: 0": 2, "a": "y", "b": "z"},
    ]


@pytest.mark.parametrize("told", ["csv", "jsonl", None])
def test_an_empty_document_has_no_rows(told: Any) -> None:
    assert rows("", told) == []


@pytest.mark.parametrize(
    ("text", "told", "problem"),
    [
        ("a\n1,2\n", "csv", "row 0 has more cells than there are columns"),
        ("a,a\n1,2\n", "csv", "its first line names a column twice"),
        ('a\n"1', "csv", "line 2 is not CSV"),
        (b"a\nb\n\xff\n", "csv", "line 3 is not UTF-8"),
        ('{"a":1}\n{"a":', "jsonl", "line 2 is not JSON"),
        ('{"a":"\\ud800"}', "jsonl", "line 1 is not JSON"),
        (b'{"a":"\xff"}', "jsonl", "line 1 is not JSON"),
        ('[{"a":1},', "json", "it is not JSON from row 1 on"),
        ('[{"a":1}] x', "json", "it is not JSON from row 1 on"),
        ("", "json", "it is not JSON from row 0 on"),
        ("nothing", "json", "it is not JSON from row 0 on"),
        ('[{"a":NaN}]', "json", "it is not JSON from row 0 on"),
        ("[" * 5000, "jsonl", "line 1 is not JSON"),
        ("[" * 5000, "json", "it is nested more than 100 levels deep"),
        (
            '{"rows":\n[{}]}',
            "json",
            "it is neither a list of rows nor an object with one as its data",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    text: str | bytes, told: Any, problem: str
) -> None:
    with pytest.raises(Unreadable) as wrong:
        rows(text, told, row_bytes=10_000)
    assert wrong.value.problem == problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a":"' + "x" * 400_000 + '"}', "jsonl"),
        ('[{"a":"' + "x" * 400_000 + '"}]', "json"),
        ("[" + " " * 400_000, "json"),
        ("a\n" + "x," * 200_000, "csv"),
        ("a\n" + '"x\n",' * 100_000, "csv"),
    ],
)
def test_a_row_that_is_too_large_is_not_read_to_its_end(text: str, told: Any) -> None:
    with pytest.raises(PayloadTooLarge):
        rows(text, told)


@pytest.mark.parametrize(
    ("media_type", "path", "expected"),
    [
        ("text/csv", "/a.jsonl", "csv"),
        ("TEXT/CSV", "", "csv"),
        ("csv", "", "csv"),
        ("application/x-ndjson", "", "jsonl"),
        ("text/plain", "/a/b.JSONL", "jsonl"),
        ("", "/a.json", "json"),
        ("application/octet-stream", "/a", None),
    ],
)
def test_the_format_is_told_by_the_media_type_or_else_the_name(
    media_type: str, path: str, expected: str | None
) -> None:
    assert declared(media_type, path) == expected
