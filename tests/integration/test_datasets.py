"""Datasets in real databases, read from real files and sockets."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import msgspec
import pytest
from sqlalchemy import func, select

from a2a_state.dataset_chunks import Chunk
from a2a_state.datasets import BUILDING, Dataset, DatasetStore, dataset_rows, datasets
from agent.caller import Caller
from agent.datasets.datasets import Datasets
from agent.datasets.registering import DOCUMENTS_PER_OWNER
from agent.errors import (
    InvalidParams,
    PayloadTooLarge,
    QuotaExceeded,
    ResourceNotFound,
)
from agent.settings import Settings
from tests.fakes.documents import answer, serve_documents
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

ANN, BOB = Caller("ann"), Caller("bob")
PURPOSE = "eval/question-answer"
LOOPBACK = ("127.0.0.0/8",)


def settings(**given: Any) -> Settings:
    """Return settings of datasets."""
    return Settings.model_validate({"experimental": {"datasets": {"allow": LOOPBACK} | given}})


@asynccontextmanager
async def opened(database: Database, **given: Any) -> AsyncIterator[Datasets]:
    """Return the datasets of a database."""
    made = Datasets(database, settings(**given))
    await made.open()
    yield made
    await made.close()


@pytest.fixture(scope="module")
async def memory() -> AsyncIterator[Database]:
    """Return a database in memory, for all tests."""
    async with open_database("sqlite://") as opened_database:
        yield opened_database


@pytest.fixture
async def database(memory: Database) -> AsyncIterator[Database]:
    """Return a database that has no datasets."""
    yield memory
    await memory.write(lambda c: c.execute(datasets.delete()))


@pytest.fixture
async def made(database: Database) -> AsyncIterator[Datasets]:
    """Return datasets within the usual limits."""
    async with opened(database) as found:
        yield found


def numbers(*of: int) -> list[dict[str, Any]]:
    """Return a row for each number."""
    return [{"n": n} for n in of]


def rows_of(*of: int) -> dict[str, Any]:
    """Return a source of rows."""
    return {"type": "rows", "rows": numbers(*of)}


async def add(
    made: Datasets, source: Any = None, dataset_id: str | None = "d", caller: Caller = ANN
) -> Any:
    """Register a dataset."""
    source = {"type": "uri", "uri": source} if isinstance(source, str) else source or rows_of(0, 1)
    return await made.register(caller, purpose=PURPOSE, source=source, dataset_id=dataset_id)


async def read(
    made: Datasets, start: int = 0, limit: int | None = None, dataset_id: str = "d"
) -> tuple[list[Any], bool]:
    """Return rows, and whether there are more."""
    reading = await made.iterrows(ANN, dataset_id, start, limit)
    return [r async for c in reading.chunks() for r in msgspec.json.decode(c)], reading.has_more


async def in_table(database: Database) -> tuple[int, int]:
    """Return how many datasets and chunks are stored, seen or not."""
    counts = [
        select(func.count()).select_from(table).scalar_subquery()
        for table in (datasets, dataset_rows)
    ]
    row = await database.read(lambda c: c.execute(select(*counts)).one())
    return row[0], row[1]


async def test_a_dataset_lives_in_every_database(database_url: str) -> None:
    """All statements, on each kind."""
    async with open_database(database_url) as database, opened(database, per_owner=3) as made:
        added = await add(made)
        assert await add(made) == added
        assert await made.get(ANN, "d") == added
        assert added["source"] == rows_of(0, 1)
        with pytest.raises(InvalidParams, match="already exists"):
            await add(made, rows_of(7))
        async with anyio.create_task_group() as group:
            for n in range(10, 20):
                group.start_soon(made.append, ANN, "d", numbers(n, n + 100))
        found, _ = await read(made)
        assert found[:2] == numbers(0, 1)
        pairs = list(zip(found[2::2], found[3::2], strict=True))
        assert sorted(first["n"] for first, _ in pairs) == list(range(10, 20))
        assert all(second["n"] == first["n"] + 100 for first, second in pairs)
        assert await read(made, 3, 4) == (found[3:7], True)
        await add(made, "data:,n%0A5", "e")
        await add(made, rows_of(), None)
        with pytest.raises(QuotaExceeded):
            await add(made, rows_of(), None)
        with pytest.raises(QuotaExceeded):
            await add(made, "data:,n%0A5", None)
        assert [one["identifier"] async for one in made.list(ANN)][:2] == ["d", "e"]
        await made.unregister(ANN, "d")
        await made.unregister(ANN, "d")
        with pytest.raises(ResourceNotFound):
            await made.get(ANN, "d")
        assert await in_table(database) == (2, 1)


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [
        (0, None, ([0, 1, 2, 3, 4], False)),
        (0, -1, ([0, 1, 2, 3, 4], False)),
        (0, 2, ([0, 1], True)),
        (3, 2, ([3, 4], False)),
        (3, None, ([3, 4], False)),
        (0, 0, ([], True)),
        (5, 0, ([], False)),
        (99, 2, ([], False)),
        (10**30, 10**30, ([], False)),
    ],
)
async def test_rows_are_read_as_llama_stack_pages(
    made: Datasets, start: int, limit: int | None, expected: tuple[list[int], bool]
) -> None:
    await add(made, rows_of(*range(5)))
    found, has_more = await read(made, start, limit)
    assert ([row["n"] for row in found], has_more) == expected


@pytest.mark.parametrize(("start", "limit"), [(-1, 2), (0, -2)])
async def test_rows_before_the_first_are_refused(made: Datasets, start: int, limit: int) -> None:
    await add(made)
    with pytest.raises(InvalidParams):
        await read(made, start, limit)


async def test_pages_go_through_all_rows_of_many_chunks(made: Datasets) -> None:
    """Some rows are large, and stand alone."""
    given = [{"n": n, "text": "x" * (100_000 if n % 500 == 0 else 10)} for n in range(2500)]
    await add(made, {"type": "rows", "rows": given})
    pages = [page async for page in made.pages(ANN, "d", 3, 100)]
    assert [row for page in pages for row in page] == given[3:]
    assert max(map(len, pages)) == 100
    assert (await read(made, 499, 3))[0] == given[499:502]
    shown = (await made.get(ANN, "d"))["source"]["rows"]
    assert shown == given
    (listed,) = [one async for one in made.list(ANN)]
    assert listed["source"]["rows"] == []


async def test_only_the_first_rows_are_in_the_source_of_a_large_dataset(made: Datasets) -> None:
    given = [{"text": "x" * 1000} for _ in range(2000)]
    source = (await add(made, {"type": "rows", "rows": given}))["source"]
    assert 1000 < len(source["rows"]) < 1100
    assert source["type"] == "rows"


async def test_rows_that_are_appended_are_not_in_the_source(made: Datasets) -> None:
    before = await add(made)
    await made.append(ANN, "d", numbers(2, 3))
    await made.append(ANN, "d", ())
    assert await made.get(ANN, "d") == before
    assert await add(made) == before
    assert await read(made) == (numbers(0, 1, 2, 3), False)


async def test_what_is_no_number_is_null(made: Datasets) -> None:
    await add(made, {"type": "rows", "rows": [{"n": float("nan")}, {"n": float("inf")}]})
    assert (await read(made))[0] == [{"n": None}, {"n": None}]


async def test_another_owner_and_another_tenant_find_nothing(made: Datasets) -> None:
    await add(made)
    for other in (BOB, ANN.within("t")):
        with pytest.raises(ResourceNotFound):
            await made.get(other, "d")
        with pytest.raises(ResourceNotFound):
            await made.iterrows(other, "d")
        with pytest.raises(ResourceNotFound):
            await made.append(other, "d", numbers(1))
        with pytest.raises(ResourceNotFound):
            [page async for page in made.pages(other, "d")]
        await made.unregister(other, "d")
        assert [one async for one in made.list(other)] == []
        await add(made, rows_of(5), caller=other)
    assert await read(made) == (numbers(0, 1), False)


@pytest.mark.parametrize("dataset_id", ["", "/a", "a/", "a\nb", "a\0b", "x" * 257])
async def test_an_id_that_no_path_can_hold_is_refused_and_never_found(
    made: Datasets, dataset_id: str
) -> None:
    with pytest.raises(InvalidParams):
        await add(made, dataset_id=dataset_id)
    with pytest.raises(ResourceNotFound):
        await made.get(ANN, dataset_id)
    await made.unregister(ANN, dataset_id)


@pytest.mark.parametrize(
    ("given", "limit", "error"),
    [
        ([1], {}, InvalidParams),
        ([[]], {}, InvalidParams),
        (numbers(1, 2, 3), {"rows": 2}, PayloadTooLarge),
        ([{"a": "x" * 100}], {"row_bytes": 99}, PayloadTooLarge),
        ([{"a": "x" * 90}] * 2, {"bytes": 150}, PayloadTooLarge),
    ],
)
async def test_rows_that_cannot_be_kept_are_refused_as_a_whole(
    database: Database, given: Sequence[Any], limit: dict[str, int], error: type[Exception]
) -> None:
    uri = "data:application/json," + quote(json.dumps(given))
    async with opened(database, **limit) as made:
        for source in ({"type": "rows", "rows": given}, uri):
            with pytest.raises(error):
                await add(made, source)
        await add(made, rows_of(0))
        with pytest.raises(error):
            await made.append(ANN, "d", [{}, *given])
        assert await read(made) == (numbers(0), False)
        assert await in_table(database) == (1, 1)


@pytest.mark.parametrize(("limit"), [{"rows": 3}, {"bytes": 21}])
async def test_a_dataset_does_not_grow_beyond_its_limits(
    database: Database, limit: dict[str, int]
) -> None:
    async with opened(database, **limit) as made:
        await add(made)
        with pytest.raises(PayloadTooLarge):
            await made.append(ANN, "d", numbers(2, 3))
        assert await read(made) == (numbers(0, 1), False)


@pytest.mark.parametrize(
    "uri",
    [
        "data:text/csv;base64,bgowCjEK",
        "data:csv;base64,bgow%0ACjEK",
        "data:,n%0A0%0A1",
        'data:application/jsonl,{"n":0}%0A{"n":1}',
        'data:application/json;charset=utf-8,[{"n":0},{"n":1}]',
    ],
)
async def test_rows_come_from_a_data_uri(made: Datasets, uri: str) -> None:
    added = await add(made, uri)
    assert added["source"] == {"type": "uri", "uri": uri}
    assert await add(made, uri) == added
    assert await read(made) == (numbers(0, 1), False)


@pytest.mark.parametrize(
    "uri",
    [
        "data:text/csv;base64",
        "data:text/csv;base64,!",
        "data:application/json,nonsense",
        "huggingface://datasets/x/y?split=train",
        "lsfs://a.jsonl",
        "ftp://127.0.0.1/a",
        "nonsense",
        "http://10.0.0.1/a.csv",
        "http://127.0.0.1:1/a.csv",
        "http://[/",
        "file:///etc/passwd",
    ],
)
async def test_a_source_that_cannot_be_read_leaves_nothing(database: Database, uri: str) -> None:
    async with opened(database) as made:
        with pytest.raises(InvalidParams) as refused:
            await add(made, uri)
        assert refused.value.field == "source.uri"
        assert await in_table(database) == (0, 0)


async def test_rows_come_from_a_server(database: Database) -> None:
    answers = {
        "/a": answer(b"n\n0\n1\n", Content_Type="text/csv; charset=utf-8"),
        "/b.jsonl?c": answer(b'{"n":0}\n{"n":1}', Content_Type="text/plain"),
        "/c": answer(b"", "302 X", Location="/d"),
        "/d": answer(b'[{"n":0},\n{"n":1}]'),
    }
    async with serve_documents(answers) as library, opened(database) as made:
        for path in ("a", "b.jsonl?c", "c"):
            await add(made, f"{library.url}/{path}", path)
            assert await read(made, dataset_id=path) == (numbers(0, 1), False)


async def test_a_file_is_read_below_the_folder_of_the_settings_only(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "in side"
    folder.mkdir()
    (folder / "a.csv").write_text("n\n0\n1\n")
    outside = tmp_path / "outside.csv"
    outside.write_text("secret\n1\n")
    (folder / "link.csv").symlink_to(outside)
    (folder / "links").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    async with opened(database, folder=folder) as made:
        await add(made, (folder / "a.csv").as_uri())
        assert await read(made) == (numbers(0, 1), False)
        for name in ("link.csv", "links/outside.csv", "../outside.csv", "loop", "", "none.csv"):
            with pytest.raises(InvalidParams, match="must name a file below") as refused:
                await add(made, f"file://{folder}/{name}", "other")
            assert str(tmp_path) not in refused.value.message
        for uri in (outside.as_uri(), f"file://elsewhere{folder}/a.csv", "file://%00"):
            with pytest.raises(InvalidParams):
                await add(made, uri, "other")
    async with opened(database, folder=folder, bytes=5) as made:
        with pytest.raises(PayloadTooLarge):
            await add(made, (folder / "a.csv").as_uri(), "large")


async def test_a_dataset_that_is_being_read_is_not_seen(database: Database) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nn\n1\n"
    async with (
        serve_documents({"/": begun}) as library,
        opened(database) as made,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(add, made, f"{library.url}/")
            with anyio.fail_after(5):
                while await in_table(database) != (1, 0):
                    await anyio.lowlevel.checkpoint()
            with pytest.raises(ResourceNotFound):
                await made.get(ANN, "d")
            with pytest.raises(ResourceNotFound):
                await made.append(ANN, "d", numbers(1))
            with pytest.raises(InvalidParams, match="just being read"):
                await add(made, f"{library.url}/")
            with pytest.raises(InvalidParams, match="already exists"):
                await add(made, rows_of(1))
            assert [one async for one in made.list(ANN)] == []
            group.cancel_scope.cancel()
        assert await in_table(database) == (0, 0)


async def test_slow_documents_of_one_owner_are_in_nobody_elses_way(made: Datasets) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nn\n1\n"
    async with serve_documents({"/": begun}) as library, anyio.create_task_group() as group:
        for n in range(DOCUMENTS_PER_OWNER):
            group.start_soon(add, made, f"{library.url}/", str(n))
        with anyio.fail_after(5):
            while len(library.requests) < DOCUMENTS_PER_OWNER:
                await anyio.lowlevel.checkpoint()
        with pytest.raises(QuotaExceeded, match="just being read"):
            await add(made, "data:,n%0A0")
        await add(made, "data:,n%0A0", caller=BOB)
        group.cancel_scope.cancel()
    await add(made, "data:,n%0A0")


async def test_a_dataset_that_is_deleted_while_it_is_read_does_not_come_back(
    made: Datasets,
) -> None:
    store_rows = [{"n": n, "text": "x" * 1000} for n in range(2000)]
    await add(made, {"type": "rows", "rows": store_rows})
    pages = made.pages(ANN, "d")
    await anext(pages)
    await made.unregister(ANN, "d")
    await add(made, rows_of(*range(2000)))
    with pytest.raises(ResourceNotFound):
        [page async for page in pages]


async def test_what_a_process_that_stopped_has_left_is_deleted(tmp_path: Path) -> None:
    async with open_database(f"sqlite:///{tmp_path}/state.db") as database:
        store = DatasetStore(database)
        old = Dataset("ann", "", "d", PURPOSE, {}, {}, b"", "old", BUILDING, created_at=1)
        young = Dataset("ann", "", "e", PURPOSE, {}, {}, b"", "young", BUILDING, 10**15)
        for left in (old, young):
            await store.add(left, [Chunk(0, 0, b'[{"n":0}]')], 10, 0)
        async with opened(database) as made:
            assert await in_table(database) == (1, 1)
            await store.add(old, (), 10, 0)
            await add(made, rows_of(5))
            assert await read(made) == (numbers(5), False)
        assert not await store.build(old, ())
        assert not await store.finish(old, 7)
        await store.abandon(old)
        assert await store.get("ann", "", "d") is not None


async def test_who_unregisters_a_dataset_that_is_being_read_ends_that(database: Database) -> None:
    """Nothing else can take its place and be mixed with it."""
    async with opened(database) as made:
        begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nn\n1\n\r\n"
        async with serve_documents({"/": begun}) as library:
            failed: list[Exception] = []

            async def register() -> None:
                try:
                    await add(made, f"{library.url}/")
                except ResourceNotFound as exc:
                    failed.append(exc)

            async with anyio.create_task_group() as group:
                group.start_soon(register)
                with anyio.fail_after(5):
                    while await in_table(database) != (1, 0):
                        await anyio.lowlevel.checkpoint()
                await made.unregister(ANN, "d")
                await add(made)
                library.end()
        assert len(failed) == 1
        assert await read(made) == (numbers(0, 1), False)


async def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    """100,000 rows come in and go out a part at a time."""
    count = 100_000
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(_lines(count)))
    size = file.stat().st_size
    async with (
        open_database(f"sqlite:///{tmp_path}/state.db") as database,
        opened(database, folder=tmp_path) as made,
    ):
        tracemalloc.start()
        try:
            await add(made, file.as_uri())
            seen = 0
            async for page in made.pages(ANN, "d"):
                assert page[0]["n"] == seen
                seen += len(page)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert seen == count
    assert peak < min(size, 10_000_000), (peak, size)


def _lines(count: int) -> Iterable[str]:
    text = "x" * 80
    return (f'{{"n":{n},"text":"{text}"}}\n' for n in range(count))
