"""Environment variables as pydantic-settings reads them; the library is slow to import."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic_settings import BaseSettings, EnvSettingsSource

from agent.settings.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class Variables(EnvSettingsSource):
    """The variables of one environment, not of the process; empty ones do not count."""

    def __init__(self, environ: Mapping[str, str], prefix: str) -> None:
        # The source asks a model for its fields and configuration only, which every model has.
        layout = cast("type[BaseSettings]", Settings)
        super().__init__(layout, env_prefix=prefix, env_nested_delimiter="__")
        self.env_vars = {name.lower(): value for name, value in environ.items() if value}

    def decode_complex_value(self, field_name: str, field: "FieldInfo", value: Any) -> Any:
        """Read JSON; what is not JSON stays text, and the model says what it wants instead."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value
