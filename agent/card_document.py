"""The agent card as its author writes it, in the format of LCS's ``agent_card.yaml``."""

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from agent.errors import SettingsError
from agent.packaged import packaged
from agent.settings.document import read_document
from agent.settings.problems import dotted, problems_of
from agent.settings.section import HttpUrl, JsonObject, JsonValue, Section, Text

if TYPE_CHECKING:
    from pathlib import Path

    from agent.settings.lcs import Customization


class _Document(Section):
    """A section whose keys are written in camelCase, or in snake_case as LCS does at times."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Provider(_Document):
    """Who runs the agent."""

    organization: Text
    url: HttpUrl


class Skill(_Document):
    """Something that the agent does well; modes are media types."""

    id: Text
    name: Text
    description: Text
    tags: tuple[Text, ...] = ()
    examples: tuple[Text, ...] = ()
    input_modes: tuple[Text, ...] = ()
    output_modes: tuple[Text, ...] = ()


class Capabilities(_Document):
    """What the author believes the server can do."""

    streaming: bool | None = None
    push_notifications: bool | None = None
    state_transition_history: bool | None = None
    extended_agent_card: bool | None = None
    extensions: tuple[JsonObject, ...] | None = None


class CardDocument(_Document):
    """The whole document; from ``capabilities`` on, the server decides whatever it says."""

    name: Text
    description: Text
    version: Text | None = None
    provider: Provider | None = None
    documentation_url: HttpUrl | None = None
    icon_url: HttpUrl | None = None
    skills: tuple[Skill, ...] = ()
    default_input_modes: tuple[Text, ...] = ()
    default_output_modes: tuple[Text, ...] = ()

    capabilities: Capabilities = Capabilities()
    url: JsonValue = None
    protocol_version: JsonValue = None
    preferred_transport: JsonValue = None
    additional_interfaces: JsonValue = None
    supported_interfaces: JsonValue = None
    supports_authenticated_extended_card: JsonValue = None
    security: JsonValue = None
    security_schemes: JsonValue = None
    security_requirements: JsonValue = None


def read_card_document(customization: "Customization") -> CardDocument:
    """Read the card from the file that is configured, else from the settings, else our own.

    Raises ``SettingsError`` with everything that is wrong, by the dotted path of the key.
    """
    inline = customization.agent_card_config
    if customization.agent_card_path is not None or inline is None:
        path = customization.agent_card_path or packaged("agent_card.yaml")
        return _validated(read_document(path), "agent_card")
    return _validated(inline, "customization.agent_card_config")


def read_extended_document(path: "Path", public: CardDocument) -> CardDocument:
    """Read what the extended card says beyond the public one, and lay it over that.

    A key takes the place of the public card's; skills are added, or replaced when the id is known.
    Raises ``SettingsError``.
    """
    required = {"name": public.name, "description": public.description}
    try:
        written = read_document(path)
    except SettingsError as exc:
        raise SettingsError("a2a.extended_card_path", exc.message) from exc
    extended = _validated(required | written, "extended_agent_card")
    said = {key: getattr(extended, key) for key in extended.model_fields_set}
    skills = {skill.id: skill for skill in (*public.skills, *extended.skills)}
    return public.model_copy(update=said | {"skills": tuple(skills.values())})


def _validated(content: dict[str, Any], root: str) -> CardDocument:
    try:
        return CardDocument.model_validate(content)
    except ValidationError as exc:
        found = problems_of(exc, CardDocument)
        raise SettingsError.of([(f"{root}.{dotted(at)}", text) for at, text in found]) from exc
