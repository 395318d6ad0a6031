"""Which routes the isolation tests hold for those that take ids."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header
from pydantic import BaseModel

from tests.isolation.routes import taking_ids


class Part(BaseModel):
    """Within a body."""

    vector_store_ids: list[str]
    more: list[Part] = []


class Body(BaseModel):
    """A body that names something by its id."""

    parts: list[Part] | None


class Plain(BaseModel):
    """A body that does not."""

    text: str
    idea: str


async def by_query(conversation_id: str = "") -> None:
    """Take an id in the query."""


async def by_header(last_event_id: Annotated[str, Header()] = "") -> None:
    """Take an id in a header."""


async def by_body(body: Body) -> None:
    """Take ids deep in the body."""


async def by_dependency(found: Annotated[None, Depends(by_query)]) -> None:
    """Take what it depends on takes."""


async def by_path() -> None:
    """Take whatever the path has."""


async def by_none(body: Plain, idle: int = 0) -> None:
    """Take no id."""


def test_a_route_that_takes_an_id_is_known_by_its_names() -> None:
    app = FastAPI()
    for way in (by_query, by_header, by_body, by_dependency, by_none):
        app.add_api_route(f"/{way.__name__}", way, methods=["POST"])
    app.add_api_route("/hidden", by_query, include_in_schema=False)
    router = APIRouter()
    router.add_api_route("/by/{whatever}", by_path, methods=["DELETE"])
    app.include_router(router, prefix="/v1")

    assert taking_ids(app) == {
        "POST /by_query",
        "POST /by_header",
        "POST /by_body",
        "POST /by_dependency",
        "GET /hidden",
        "DELETE /v1/by/{whatever}",
    }
