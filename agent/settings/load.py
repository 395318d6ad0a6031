"""Loads the settings: the one place that reads the configuration file and the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.errors import SettingsError
from agent.settings.document import read_document
from agent.settings.environment import read_environment, unknown_variables, variable
from agent.settings.expansion import expand
from agent.settings.problems import Location, dotted, problems_of
from agent.settings.profile import with_profile
from agent.settings.settings import Settings


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the configuration file, if any, and the environment, which wins.

    Without a file feedback is stored and conversations are kept; with one LCS's defaults hold.
    Raises ``SettingsError`` with everything that is wrong, by the dotted path of the key.
    """
    content, unexpanded = _read(path, environ) if path else ({}, {})
    given = read_environment(environ)
    merged = _openai(_merge(content, given), environ)
    problems = [(at, text) for at, text in unexpanded.items() if not _stands_in(given, at)]
    unset = [at for at, _ in problems]
    settings = None
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as exc:
        cause: ValidationError | None = exc
        for at, text in problems_of(exc, Settings):
            if any(at[: len(start)] == start for start in unset):
                continue  # said already: it could not be expanded
            name = variable(at, environ)
            problems.append((at, f"{text} (set by {name})" if name else text))
    else:
        cause = None
    told = [*unknown_variables(environ), *((dotted(at), text) for at, text in problems)]
    if told or settings is None:
        raise SettingsError.of(told) from cause
    read = with_profile(_with_prompt(settings))
    return read if path else _without_file(read)


def _without_file(settings: Settings) -> Settings:
    """Let old user interfaces work: take feedback and keep conversations, unless told otherwise."""
    updates: dict[str, Any] = {}
    collection, cache = settings.user_data_collection, settings.conversation_cache
    if "feedback_enabled" not in collection.model_fields_set:
        folder = collection.feedback_storage or settings.state.folder / "feedback"
        enabled = {"feedback_enabled": True, "feedback_storage": folder}
        updates["user_data_collection"] = collection.model_copy(update=enabled)
    if not cache.model_fields_set:
        updates["conversation_cache"] = cache.model_copy(update={"type": "state"})
    return settings.model_copy(update=updates)


def _read(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[Location, str]]:
    try:
        content, unexpanded = expand(read_document(path), environ)
    except RecursionError as exc:
        raise SettingsError("", f"{path}: holds an alias of itself, or is nested too deep") from exc
    # A section that is written down but empty counts as left out.
    return {key: value for key, value in content.items() if value is not None}, unexpanded


def _merge(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    kept = {key: value for key, value in below.items() if key not in above}
    return kept | {key: _merge(below.get(key), value) for key, value in above.items()}


def _openai(content: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Take what OpenAI's own variables say where nothing else is given."""
    known = {"base_url": environ.get("OPENAI_BASE_URL"), "api_key": environ.get("OPENAI_API_KEY")}
    fallback = {key: value for key, value in known.items() if value}
    return _merge({"openai": fallback}, content) if fallback else content


def _stands_in(content: Any, location: Location) -> bool:
    for step in location:
        if not isinstance(content, dict) or step not in content:
            return False
        content = content[step]
    return True


def _with_prompt(settings: Settings) -> Settings:
    """Read the file of the system prompt when the prompt itself is not given."""
    custom = settings.customization
    if custom.system_prompt or custom.system_prompt_path is None:
        return settings
    try:
        prompt = custom.system_prompt_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(
            "customization.system_prompt_path",
            f"{custom.system_prompt_path} cannot be read as UTF-8 text",
        ) from exc
    custom = custom.model_copy(update={"system_prompt": prompt})
    return settings.model_copy(update={"customization": custom})
