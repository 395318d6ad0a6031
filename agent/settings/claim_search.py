"""What searches the claims of a token: JSONPath expressions and patterns, which settings may get wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from regex import Pattern


def path_finder(expression: str) -> Callable[[Any], list[Any]]:
    """Return what finds the values that a JSONPath names. Raises ``ValueError``.

    Patterns within an expression cannot be stopped once they search: those that have any are refused.
    """
    from jsonpath import JSONPathEnvironment, JSONPathError  # slow to import

    paths = JSONPathEnvironment()
    for name in ("match", "search"):
        del paths.function_extensions[name]
    try:
        if any(token.kind == "TOKEN_RE_PATTERN" for token in paths.lexer.tokenize(expression)):
            raise ValueError("must be a JSONPath expression without patterns")
        return paths.compile(expression).findall
    except (JSONPathError, RecursionError) as exc:
        problem = "must be a JSONPath expression; match() and search() are not allowed in it"
        raise ValueError(problem) from exc


def pattern(text: Any) -> Pattern[str]:
    """Return a compiled pattern, whose ``search`` takes a time limit. Raises ``ValueError``."""
    import regex  # has no time to spend at start where there are no rules

    try:
        return regex.compile(text)
    except (regex.error, TypeError, RecursionError, OverflowError) as exc:
        raise ValueError("must be a regular expression") from exc
