"""What commands show to agents that want to know who asks: a bearer token, from no command line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "LLAMASTACK_A2A_TOKEN"  # noqa: S105 - the name of a variable
_META = "agent.cli.token"
_SENDABLE = re.compile(r"[!-~]+")


def token_option[F: Callable[..., Any]](function: F) -> F:
    """Add ``--token-file``; the token is found by ``token``, so that it is in no parameter of a command."""
    return click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File with the bearer token that the agent wants; also from the variable {TOKEN}.",
        expose_value=False,
        callback=_keep,
    )(function)


def token() -> str | None:
    """Return the token of the command that runs, if it has one."""
    found: str | None = click.get_current_context().meta.get(_META)
    return found


def _keep(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        shown, source = os.environ.get(TOKEN, "").strip(), TOKEN
    else:
        shown, source = _read(path, context, parameter), "--token-file"
    if (shown or path is not None) and not _SENDABLE.fullmatch(shown):
        raise click.BadParameter("does not hold a token", context, parameter, param_hint=source)
    if shown:
        context.meta[_META] = shown


def _read(path: Path, context: click.Context, parameter: click.Parameter) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise click.BadParameter(f"{path} cannot be read", context, parameter) from exc
