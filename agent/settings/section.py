"""What every section of the settings is built from: the base model and the types of fields."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)

from agent.settings.expansion import typed


class Section(BaseModel):
    """A frozen mapping that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Problems(ValueError):
    """What is wrong with the keys of one section, by key."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        """Keep the problems, in the order in which they are to be told."""
        self.problems = dict(problems)
        super().__init__()


def require(section: Section, *keys: str, because: str) -> None:
    """Raise ``Problems`` for those of ``keys`` that are not set."""
    missing = [key for key in keys if getattr(section, key) is None]
    if missing:
        raise Problems(dict.fromkeys(missing, f"is missing; {because} needs it"))


def allow_one(section: Section, *keys: str) -> None:
    """Raise ``Problems`` when more than one of ``keys`` is set."""
    given = [key for key in keys if getattr(section, key)]
    if len(given) > 1:
        raise Problems({key: f"only one of {', '.join(keys)} may be set" for key in given[1:]})


def _is_http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not match
        sound = False
    if not sound or any(char.isspace() for char in value):
        raise ValueError("must be an http:// or https:// URL")
    return value


def _is_not_empty(value: Any) -> Any:
    if value == "":
        raise ValueError("must not be empty")
    return value


def _is_not_bool(value: Any) -> Any:
    if isinstance(value, bool):  # a kind of int for Python
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


type Text = Annotated[str, StringConstraints(min_length=1)]
type Secret = Annotated[SecretStr, Field(min_length=1)]
type HttpUrl = Annotated[str, AfterValidator(_is_http_url)]
type FilePath = Annotated[Path, BeforeValidator(_is_not_empty)]
"""A file or folder; relative paths are relative to the working directory."""

type Whole = Annotated[int, BeforeValidator(_is_not_bool)]
type Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_is_not_bool)]
type Port = Annotated[Whole, Field(ge=0, le=65535)]
type Count = Annotated[Whole, Field(ge=1)]
type Seconds = Annotated[Number, Field(gt=0)]
type JsonValue = Annotated[Any, BeforeValidator(typed)]
type JsonObject = Annotated[dict[str, Any], BeforeValidator(typed)]
