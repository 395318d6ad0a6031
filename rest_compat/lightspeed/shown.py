"""What the sections of the configuration that is shown are made of."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema

from rest_compat.lightspeed.masking import masked, masked_json, masked_path, masked_source

# Assigned, not declared with ``type``: what that declares has a schema of its own in the document.
Url = Annotated[str, AfterValidator(masked), WithJsonSchema({"type": "string"})]
FullUrl = Annotated[
    str,
    AfterValidator(masked),
    WithJsonSchema({"type": "string", "minLength": 1, "format": "uri"}),
]
PathlessUrl = Annotated[str, AfterValidator(masked_path), WithJsonSchema({"type": "string"})]
FilePath = Annotated[Path, WithJsonSchema({"type": "string", "format": "file-path"})]
AnyPath = Annotated[Path, WithJsonSchema({"type": "string"})]
Json = Annotated[Any, AfterValidator(masked_json)]
Source = Annotated[str, AfterValidator(masked_source)]
# What the settings have made sure of already.
Positive = Annotated[int, WithJsonSchema({"type": "integer", "exclusiveMinimum": 0})]
NotNegative = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]
Secret = Annotated[SecretStr, Field(json_schema_extra={"minLength": 1})]
Text = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]


class Shown(BaseModel):
    """Read from the settings, attribute by attribute."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)
