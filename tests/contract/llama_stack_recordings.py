"""What a real Llama Stack was heard to answer: a folder with an index and a file for each body."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

THEIRS = Path(__file__).parents[3] / "shared" / "recordings" / "llama_stack"
AGENTS, OTHERS = THEIRS / "v0.3.5_agents", THEIRS / "v0.3.5_datasets_eval_posttraining"


class Recorded(NamedTuple):
    """An exchange; ``body`` is None where nothing was sent."""

    name: str
    method: str
    path: str
    body: str | None
    status: int
    content_type: str
    text: str


def read(folder: Path) -> Iterator[Recorded]:
    """Yield the exchanges of a folder about the experimental API, in their order."""
    for entry in json.loads((folder / "index.json").read_text()):
        if not entry["path"].startswith(("/v1alpha", "/v1beta")):
            continue
        name = entry["name"]
        yield Recorded(
            name,
            entry["method"],
            entry["path"],
            _text(folder / f"{name}.req.json"),
            entry["status"],
            entry["ctype"].partition(";")[0],
            _text(folder / f"{name}.resp.json") or _text(folder / f"{name}.sse") or "",
        )


def _text(file: Path) -> str | None:
    return file.read_text() if file.exists() else None
