"""Lists that are told a page at a time."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, BaseModel, Field

MOST = 1000
"""Most items of a page; ``has_more`` says whether there are others."""
_LAST = 2**31 - 1


class PaginatedResponse(BaseModel):
    """A generic paginated response that follows a simple format."""

    data: list[dict[str, Any]] = Field(description="The list of items for the current page")
    has_more: bool = Field(description="Whether there are more items available after this set")
    url: str | None = Field(default=None, description="The URL for accessing this list")


def _is_limit(value: int | None) -> int | None:
    if value == 0:
        raise ValueError("must be at least 1, or -1 for all")
    return value


Start = Annotated[
    int | None, Query(ge=0, le=_LAST, description="The index to start the pagination from.")
]
Limit = Annotated[
    int | None,
    Query(
        ge=-1,
        description=f"The number of items to return: {MOST} at most, which is what -1 and nothing mean.",
    ),
    AfterValidator(_is_limit),
]


def page_of(start: int | None, limit: int | None) -> tuple[int, int]:
    """Return from where on, and how many."""
    return start or 0, MOST if limit is None or limit < 0 else min(limit, MOST)
