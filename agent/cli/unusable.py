"""What the settings name and cannot be used: files that are not there, folders that take none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.settings import Settings
    from agent.settings.databases import A2AState


def unusable(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the key of each, and what is wrong; nothing is made to find that out."""
    collection = settings.user_data_collection
    folders = {
        "feedback_storage": collection.feedback_enabled and collection.feedback_storage,
        "transcripts_storage": collection.transcripts_enabled and collection.transcripts_storage,
    }
    for name, folder in folders.items():
        if folder and not takes_files(folder):
            yield f"user_data_collection.{name}", f"{folder} cannot be written to"
    splunk = settings.splunk
    token = splunk.token_path if splunk is not None and splunk.enabled else None
    if token is not None and not (_may(token, os.R_OK) and token.is_file()):
        yield "splunk.token_path", f"{token} is no file that can be read"


def takes_files(folder: Path) -> bool:
    """Whether a folder is there and may be written to, or may be made."""
    there = next(each for each in (folder, *folder.absolute().parents) if _may(each, os.F_OK))
    return there.is_dir() and _may(there, os.W_OK | os.X_OK)


def file_to_make(state: A2AState) -> Path | None:
    """Return the file of a state that is to be kept in one, and is not there yet."""
    url = state.url
    if url.get_backend_name() != "sqlite" or url.database is None:
        return None
    file = Path(url.database)
    return None if _may(file, os.F_OK) else file


def _may(path: Path, mode: int) -> bool:
    """Ask without a fault: what is in a folder that may not be read is as good as not there."""
    try:
        return os.access(path, mode)
    except ValueError:  # a null byte
        return False
