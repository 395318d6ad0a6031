"""Bodies of requests and answers of Llama Stack's datasets and datasetio APIs."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field, model_validator

type Row = dict[str, Any]


class DatasetPurpose(StrEnum):
    """What a dataset is for."""

    MESSAGES = "post-training/messages"
    QUESTION_ANSWER = "eval/question-answer"
    MESSAGES_ANSWER = "eval/messages-answer"


class URIDataSource(BaseModel):
    """Rows of a document: CSV, JSON or JSON lines at a ``data:``, ``http(s)://`` or ``file://`` URI."""

    type: Literal["uri"]
    uri: Annotated[str, Field(min_length=1)]


class RowsDataSource(BaseModel):
    """Rows as they are; an answer has the first of them, and ``iterrows`` all."""

    type: Literal["rows"]
    rows: list[Row]


type DataSource = Annotated[URIDataSource | RowsDataSource, Field(discriminator="type")]


class RegisterDatasetRequest(BaseModel):
    """What to register.

    Without a ``source``, with both id and metadata, it is a dataset that has no rows yet. Metadata may be
    a text: JSON, or else its ``description``.
    """

    purpose: DatasetPurpose
    source: DataSource | None = None
    metadata: dict[str, Any] | str | None = None
    dataset_id: str | None = None

    @property
    def has_source(self) -> bool:
        """Whether it says where rows come from, or need not."""
        return self.source is not None or (
            self.metadata is not None and self.dataset_id is not None
        )

    @property
    def wanted_source(self) -> dict[str, Any]:
        """Where rows come from."""
        return {"type": "rows", "rows": []} if self.source is None else self.source.model_dump()

    @property
    def wanted_metadata(self) -> dict[str, Any]:
        """Metadata as an object."""
        if not isinstance(self.metadata, str):
            return self.metadata or {}
        return _object_in(self.metadata)


class AppendRowsRequest(BaseModel):
    """Rows to append; a list of them is as good."""

    rows: list[Row]

    @model_validator(mode="before")
    @classmethod
    def _is_rows(cls, value: Any) -> Any:
        return {"rows": value} if isinstance(value, list) else value


class Dataset(BaseModel):
    """A dataset."""

    identifier: str
    provider_resource_id: str
    provider_id: str
    type: Literal["dataset"]
    purpose: DatasetPurpose
    source: DataSource
    metadata: dict[str, Any]


class ListDatasetsResponse(BaseModel):
    """All datasets of the caller."""

    data: list[Dataset]


def _object_in(text: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    return {"description": text} if text else {}
