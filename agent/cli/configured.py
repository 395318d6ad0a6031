"""The settings as a command sees them: file, then environment, then options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.settings import load
from agent.settings.environment import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.settings import Settings

CONFIG = "LLAMASTACK_A2A_CONFIG"


def config_option[F: Callable[..., object]](function: F) -> F:
    """Add ``--config``."""
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar=CONFIG,
        help="Configuration file (YAML, LCS's format).",
    )(function)


def environment(options: Mapping[str, object]) -> dict[str, str]:
    """Return the environment with options put over it: an option is a setting like any other."""
    given = {PREFIX + name: str(value) for name, value in options.items() if value is not None}
    return {**os.environ, **given}


def settings_from(config: Path | None, options: Mapping[str, object]) -> Settings:
    """Load the settings; raises ``SettingsError``."""
    return load(config, environment(options))
