"""The card never lies: what a document claims gives way to what the server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.card_security import (
    requirements_0_3,
    requirements_1_0,
    schemes_1_0,
    schemes_of_both,
)
from agent.parts import accepted

if TYPE_CHECKING:
    from agent.card_dialects import Features
    from agent.card_document import CardDocument, Skill

_VERSIONS = frozenset({None, "0.3", "0.3.0", "1.0", "1.0.0"})


def truthful(
    document: CardDocument, features: Features, url: str
) -> tuple[CardDocument, list[str]]:
    """Return the document without the modes that the server lacks, and the keys that were wrong.

    ``url`` is where JSON-RPC is spoken.
    """
    offered = ("*/*",) if features.takes_any else features.input_modes
    true = document.model_copy(
        update={
            "skills": tuple(
                _skill(skill, offered, features.output_modes) for skill in document.skills
            ),
            "default_input_modes": _only(document.default_input_modes, offered)
            or features.input_modes,
            "default_output_modes": _only(document.default_output_modes, features.output_modes)
            or features.output_modes,
        }
    )
    kept = _modes(true)
    lost = [key for key, modes in _modes(document).items() if not set(modes) <= set(kept[key])]
    return true, [*_false_claims(document, features, url), *lost]


def input_modes(document: CardDocument) -> tuple[str, ...]:
    """Return what the agent takes, as a whole or with one of its skills."""
    modes = [*document.default_input_modes]
    for skill in document.skills:
        modes += skill.input_modes
    return tuple(dict.fromkeys(modes))


def _skill(skill: Skill, inward: tuple[str, ...], outward: tuple[str, ...]) -> Skill:
    return skill.model_copy(
        update={
            "input_modes": _only(skill.input_modes, inward),
            "output_modes": _only(skill.output_modes, outward),
        }
    )


def _only(modes: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(mode for mode in modes if accepted(mode, offered))


def _modes(document: CardDocument) -> dict[str, tuple[str, ...]]:
    of_skills = {
        f"skills[{index}].{key}": modes
        for index, skill in enumerate(document.skills)
        for key, modes in (("inputModes", skill.input_modes), ("outputModes", skill.output_modes))
    }
    return of_skills | {
        "defaultInputModes": document.default_input_modes,
        "defaultOutputModes": document.default_output_modes,
    }


def _false_claims(document: CardDocument, features: Features, url: str) -> list[str]:
    """Name the keys whose value is there and is not what the server does."""
    said = document.capabilities
    extensions = None if said.extensions is None else list(said.extensions)
    schemes = features.security_schemes
    claims = {
        "capabilities.streaming": (said.streaming, True),
        "capabilities.pushNotifications": (said.push_notifications, features.push_notifications),
        "capabilities.stateTransitionHistory": (said.state_transition_history, False),
        "capabilities.extendedAgentCard": (said.extended_agent_card, features.extended_card),
        "capabilities.extensions": (extensions, features.extensions),
        "supportsAuthenticatedExtendedCard": (
            document.supports_authenticated_extended_card,
            features.extended_card,
        ),
        "url": (document.url, url),
        "preferredTransport": (document.preferred_transport, "JSONRPC"),
        "additionalInterfaces": (document.additional_interfaces, ...),
        "supportedInterfaces": (document.supported_interfaces, ...),
        "security": (document.security, requirements_0_3(schemes)),
        "securitySchemes": (document.security_schemes, _written(document, schemes)),
        "securityRequirements": (document.security_requirements, requirements_1_0(schemes)),
    }
    wrong = [key for key, (claim, fact) in claims.items() if claim is not None and claim != fact]
    return wrong if document.protocol_version in _VERSIONS else [*wrong, "protocolVersion"]


def _written(document: CardDocument, schemes: dict[str, Any]) -> dict[str, Any]:
    """Return the schemes in the shape that the document has them in, if it is one of theirs."""
    shapes = (schemes, schemes_1_0(schemes), schemes_of_both(schemes))
    return schemes if document.security_schemes not in shapes else document.security_schemes
