"""Which system prompt a query has, and the one that names topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_compat.problems import Answered

if TYPE_CHECKING:
    from agent.settings import Settings

TOPIC_SUMMARY = "topic_summary"
"""The prompt of a custom profile that LCS has topics named with."""


def instructions_of(settings: Settings, asked: str | None) -> str | None:
    """Return what stands in for the prompt of the settings, if anything; ``asked`` is the query's.

    Raises LCS's 422 where queries may have none.
    """
    if not asked:
        return None
    if settings.customization.disable_query_system_prompt:
        raise Answered(
            422,
            "System prompt customization is disabled",
            "This instance does not support customizing the system prompt in the query request "
            "(disable_query_system_prompt is set). Please remove the system_prompt field from your "
            "request.",
        )
    return None if asked == settings.instructions else asked


def topic_prompt(settings: Settings) -> str | None:
    """Return the prompt of the custom profile that topics are named with."""
    profile = settings.customization.custom_profile
    return None if profile is None else profile.prompts.get(TOPIC_SUMMARY)
