"""What hides secrets that do not stand in settings of their own."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

MASK = "**********"
"""As pydantic writes secrets."""

_HIDDEN = "********"
# As Llama Stack writes what it hides itself.
_SECRET = re.compile(
    r"key$|apikey|accesskey|private|secret|passw|passphrase|pwd|credential|authorization|[a-z]auth$"
    r"|bearer|jwt|signature|cookie|conn(ection)?str|dsn|pem$|pat$|session(id|key)?$|token(?!i[sz])"
)
# What may hold secrets under any name, or in a text of its own.
_SECRETS = re.compile(r"headers?$|^(env|environment|args|auth)$")
# What gives away a secret in a text of any name: by what is before it, or by what it looks like.
_TELLING = re.compile(
    r"(pass(word|wd|phrase)?|pwd|secret|token|key|credentials?|auth)[\"']?\s*[=:]\s*\S"
    r"|\b(bearer|basic)\s+[\w+/=.~-]{8,}|-----BEGIN"
    r"|\b((sk|pk|rk|hf|xox[a-z])[-_]|gh[a-z]_|github_pat_|glpat-|akia|eyj)[\w-]{10,}",
    re.IGNORECASE,
)
_USER = re.compile(r"(?<=//)[^/\s@]*@")
_SHOWN_SOURCES = frozenset({"client", "kubernetes", "oauth"})


def masked(url: str) -> str:
    """Return a URL without its user and password, its query and its fragment, if there are any."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(
        (
            parts.scheme,
            f"{MASK}@{host}" if at else host,
            parts.path,
            parts.query and MASK,
            parts.fragment and MASK,
        )
    )


def masked_path(url: str) -> str:
    """Return a URL without its path, either: those of MCP servers often have a key in it."""
    try:
        parts = urlsplit(masked(url))
    except ValueError:
        return MASK
    path = f"/{MASK}" if parts.path.strip("/") else parts.path
    return urlunsplit(parts._replace(path=path))


def masked_json(value: Any) -> Any:
    """Return a JSON value whose texts that are URLs are masked."""
    if isinstance(value, dict):
        return {name: masked_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [masked_json(item) for item in value]
    if isinstance(value, str) and "://" in value and not any(char.isspace() for char in value):
        return masked(value)
    return value


def masked_source(source: str) -> str:
    """Return where a header's value comes from; a path is hidden, for it may be the value by mistake."""
    return source if source in _SHOWN_SOURCES else MASK


def without_secrets(value: Any) -> Any:
    """Return a JSON value without what the names of its members say is secret, or what they look like.

    Numbers are shown, such as ``max_tokens``, and so is that there is nothing.
    """
    if isinstance(value, dict):
        return {
            name: _HIDDEN if member and _is_secret(name, member) else _shown(name, member)
            for name, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return _without_secret(value) if isinstance(value, str) else value


def _shown(name: str, member: Any) -> Any:
    if not member or not _SECRETS.search(_letters(name)):
        return without_secrets(member)
    if not isinstance(member, dict):
        return _HIDDEN
    if "auth" in name.lower():
        return without_secrets(member)
    return dict.fromkeys(member, _HIDDEN)


def _without_secret(text: str) -> str:
    if "://" in text and not any(char.isspace() for char in text):
        return masked(text)
    return _HIDDEN if _TELLING.search(text) else _USER.sub(f"{MASK}@", text)


def _is_secret(name: str, member: Any) -> bool:
    if isinstance(member, bool | int | float):
        return False
    return _SECRET.search(_letters(name)) is not None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())
