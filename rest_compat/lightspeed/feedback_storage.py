"""Feedback as LCS keeps it: a file of JSON for each, in a folder that others collect it from."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from agent.json_file import store_json
from agent.model import timestamp
from rest_compat.problems import Answered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.settings.lcs import UserDataCollection

logger = logging.getLogger(__name__)

_FAILED = "Failed to store feedback"


class FeedbackStorage:
    """Stores feedback while ``is_enabled``, which the settings say at first: for this process alone."""

    def __init__(self, settings: UserDataCollection) -> None:
        """Nothing is made before there is something to store."""
        self.is_enabled = settings.feedback_enabled
        self._folder = settings.feedback_storage

    async def store(self, user_id: str, given: Mapping[str, Any]) -> None:
        """Keep what a user has said; raises LCS's answer when that is impossible."""
        if self._folder is None:
            cause = f"{_FAILED}: user_data_collection.feedback_storage is not set"
            raise Answered(500, _FAILED, cause)
        document = {"user_id": user_id, "timestamp": timestamp(), **given}
        try:
            await asyncio.to_thread(store_json, self._folder, document)
        except OSError as exc:
            logger.exception("Feedback cannot be stored")
            raise Answered(500, _FAILED, f"{_FAILED} at directory: {self._folder}") from exc
