"""``/v1beta/datasets`` and ``/v1beta/datasetio``: datasets of the caller, and their rows."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from starlette.responses import StreamingResponse

from agent.caller import Caller
from agent.datasets.datasets import Datasets
from agent.datasets.reading import Reading
from rest_compat.callers import Callers
from rest_compat.llama_stack.dataset_models import (
    AppendRowsRequest,
    Dataset,
    ListDatasetsResponse,
    RegisterDatasetRequest,
)
from rest_compat.llama_stack.paging import PaginatedResponse
from rest_compat.llama_stack.responses import EMPTY, ERRORS, NOT_FOUND, TOO_LARGE, answer

ITERROWS = "/v1beta/datasetio/iterrows/{dataset_id:path}"
JSON = "application/json"
WHOLE_BYTES = 256 * 1024
"""Answers up to this length are sent as a whole, longer ones as they are read."""

# Wrong ones are told of by the datasets.
StartRow = Annotated[
    int | None, Query(description="The first row; 0 if absent.", json_schema_extra={"minimum": 0})
]
RowLimit = Annotated[
    int | None,
    Query(description="How many; -1 or absent: all.", json_schema_extra={"minimum": -1}),
]
type DatasetId = Annotated[str, Path(description="The dataset, whose id may hold slashes.")]


def make_datasets(datasets: Datasets, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = callers.router("Datasets", takes_rows=True)
    _add_datasets(router, datasets, callers)
    _add_rows(router, datasets, callers)
    return router


def _add_datasets(router: APIRouter, datasets: Datasets, callers: Callers) -> None:
    known = callers.may("datasets")

    @router.get(
        "/v1beta/datasets",
        operation_id="list_datasets_v1beta_datasets_get",
        summary="List all datasets.",
        response_model=ListDatasetsResponse,
        responses=ERRORS,
    )
    async def list_datasets(caller: Annotated[Caller, Depends(known)]) -> Response:
        """List the caller's datasets, the oldest first."""
        return await _answered(_list(datasets, caller))

    @router.post(
        "/v1beta/datasets",
        operation_id="register_dataset_v1beta_datasets_post",
        summary="Register a new dataset.",
        response_model=Dataset,
        responses=ERRORS | TOO_LARGE,
    )
    async def register(
        asked: RegisterDatasetRequest, caller: Annotated[Caller, Depends(known)]
    ) -> Response:
        """Register a dataset; the same again is answered with the one that is there."""
        if not asked.has_source:
            problem = {"loc": ("body", "source"), "msg": "Field required", "type": "missing"}
            raise RequestValidationError([problem])
        return answer(
            await datasets.register(
                caller,
                purpose=asked.purpose.value,
                source=asked.wanted_source,
                metadata=asked.wanted_metadata,
                dataset_id=asked.dataset_id,
            )
        )

    @router.get(
        "/v1beta/datasets/{dataset_id:path}",
        operation_id="get_dataset_v1beta_datasets__dataset_id__get",
        summary="Get a dataset by its ID.",
        response_model=Dataset,
        responses=ERRORS | NOT_FOUND,
    )
    async def get(dataset_id: DatasetId, caller: Annotated[Caller, Depends(known)]) -> Response:
        """Return a dataset."""
        return answer(await datasets.get(caller, dataset_id))

    @router.delete(
        "/v1beta/datasets/{dataset_id:path}",
        operation_id="unregister_dataset_v1beta_datasets__dataset_id__delete",
        summary="Unregister a dataset by its ID.",
        status_code=204,
        responses=ERRORS | EMPTY,
    )
    async def unregister(
        dataset_id: DatasetId, caller: Annotated[Caller, Depends(known)]
    ) -> Response:
        """Delete a dataset and its rows; what is not there is deleted already."""
        await datasets.unregister(caller, dataset_id)
        return Response(status_code=204)


def _add_rows(router: APIRouter, datasets: Datasets, callers: Callers) -> None:
    known = callers.may("datasets")

    @router.post(
        "/v1beta/datasetio/append-rows/{dataset_id:path}",
        operation_id="append_rows_v1beta_datasetio_append_rows__dataset_id__post",
        summary="Append rows to a dataset.",
        response_model=None,
        responses=ERRORS | NOT_FOUND | TOO_LARGE,
    )
    async def append_rows(
        dataset_id: DatasetId,
        caller: Annotated[Caller, Depends(known)],
        asked: AppendRowsRequest | None = None,
    ) -> None:
        """Append rows, all or none; without a body there are none."""
        await datasets.append(caller, dataset_id, asked.rows if asked else ())

    @router.get(
        ITERROWS,
        operation_id="iterrows_v1beta_datasetio_iterrows__dataset_id__get",
        summary="Get a paginated list of rows from a dataset.",
        response_model=PaginatedResponse,
        responses=ERRORS | NOT_FOUND,
    )
    async def iterrows(
        dataset_id: DatasetId,
        caller: Annotated[Caller, Depends(known)],
        start_index: StartRow = None,
        limit: RowLimit = None,
    ) -> Response:
        """Return rows in their order; however many they are, they are sent as they are read."""
        return await _answered(
            _rows(await datasets.iterrows(caller, dataset_id, start_index or 0, limit))
        )


async def _list(datasets: Datasets, caller: Caller) -> AsyncGenerator[bytes]:
    before = b'{"data":['
    async for dataset in datasets.list(caller):
        yield before + msgspec.json.encode(dataset)
        before = b","
    yield (before if before != b"," else b"") + b"]}"


async def _rows(reading: Reading) -> AsyncGenerator[bytes]:
    before = b'{"data":['
    async with aclosing(reading.chunks()) as chunks:
        async for chunk in chunks:
            yield before + chunk[1:-1]
            before = b","
    end = msgspec.json.encode({"has_more": reading.has_more, "url": ITERROWS})
    yield (before if before != b"," else b"") + b"]," + end[1:]


async def _answered(text: AsyncGenerator[bytes]) -> Response:
    """Answer with JSON text: a short one as a whole, so that what goes wrong has a status."""
    begun: list[bytes] = []
    size = 0
    async for part in text:
        begun.append(part)
        size += len(part)
        if size > WHOLE_BYTES:
            return StreamingResponse(_go_on(begun, text), media_type=JSON)
    return Response(b"".join(begun), media_type=JSON)


async def _go_on(begun: list[bytes], text: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(text):
        yield b"".join(begun)
        begun.clear()
        async for part in text:
            yield part
