"""Ids of datasets: they stand in paths, where they may hold slashes."""

from __future__ import annotations

import re

from agent.errors import InvalidParams

# Slashes at the ends do not come through paths unchanged.
_ID = re.compile(r"(?!/)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+(?<!/)")


def is_id(text: str, most: int) -> bool:
    """Whether a dataset may be called so; ``most`` is in characters."""
    return len(text) <= most and _ID.fullmatch(text) is not None


def check_id(text: str, most: int) -> None:
    """Raise ``InvalidParams`` unless a dataset may be called so."""
    if not is_id(text, most):
        raise InvalidParams(
            "dataset_id",
            f"must have 1 to {most} characters, none of them a control character, "
            "and no slash at its beginning or end",
        )
