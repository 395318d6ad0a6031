"""Settings by environment: ``LLAMASTACK_A2A__SECTION__KEY``."""

from collections.abc import Mapping
from typing import Any

from agent.settings.problems import Location, suggestion
from agent.settings.settings import Settings

PREFIX = "LLAMASTACK_A2A__"


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Collect the settings that the environment gives, as a file would give them."""
    if not any(map(_is_ours, environ)):
        return {}
    from agent.settings.source import Variables  # slow to import, rarely needed

    return Variables(environ, PREFIX)()


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name the variables of ours whose section does not exist, each with what is wrong."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    heads = {name: "__".join(name.upper().split("__")[:2]) for name in environ if _is_ours(name)}
    return [
        (name, f"unknown setting{suggestion(head, known)}")
        for name, head in heads.items()
        if head not in known
    ]


def variable(location: Location, environ: Mapping[str, str]) -> str | None:
    """Find the variable that set the value at a location, or something that holds it."""
    ours = {name.upper(): name for name in environ if _is_ours(name)}
    for end in range(len(location), 0, -1):
        name = PREFIX + "__".join(str(step).upper() for step in location[:end])
        if name in ours:
            return ours[name]
    return None


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)
