"""The agent card on the wire: A2A 1.0, A2A 0.3, and both in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.card_security import (
    requirements_0_3,
    requirements_1_0,
    schemes_1_0,
    schemes_of_both,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.card_document import CardDocument, Skill

type Json = Any


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What this server can do, as it is configured and running.

    Modes are media types, ``text/*`` allowed; an extension is as both versions write it. Security
    schemes are as 0.3 writes them; callers meet any one of them.
    """

    input_modes: tuple[str, ...]
    output_modes: tuple[str, ...]
    takes_any: bool = False
    push_notifications: bool = False
    extended_card: bool = False
    http_json: bool = False
    grpc_url: str | None = None
    extensions: list[Json] = []
    security_schemes: dict[str, Json] = {}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that is on the card; the document says nothing that the features do not allow."""

    document: CardDocument
    features: Features
    version: str
    base_url: str
    tenants: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where JSON-RPC is spoken."""
        return f"{self.base_url}/a2a"


def card_1_0(facts: Facts) -> Json:
    """Write the card as ProtoJSON of the 1.0 ``AgentCard``."""
    features = facts.features
    return _identity(facts) | _present(
        supportedInterfaces=list(_interfaces(facts)),
        capabilities=_present(
            streaming=True,
            pushNotifications=features.push_notifications,
            extendedAgentCard=features.extended_card,
            extensions=features.extensions or None,
        ),
        securitySchemes=schemes_1_0(features.security_schemes) or None,
        securityRequirements=requirements_1_0(features.security_schemes) or None,
    )


def card_0_3(facts: Facts) -> Json:
    """Write the card as the 0.3 JSON schema has it."""
    features = facts.features
    interfaces = [{"url": facts.url, "transport": "JSONRPC"}]
    if features.http_json:
        interfaces.append({"url": facts.base_url, "transport": "HTTP+JSON"})
    if features.grpc_url is not None:
        interfaces.append({"url": features.grpc_url, "transport": "GRPC"})
    return _identity(facts) | _present(
        url=facts.url,
        protocolVersion="0.3.0",
        preferredTransport="JSONRPC",
        additionalInterfaces=interfaces,
        capabilities=_present(
            streaming=True,
            pushNotifications=features.push_notifications,
            # A task holds its messages; its earlier states are in the log of events only.
            stateTransitionHistory=False,
            extensions=features.extensions or None,
        ),
        supportsAuthenticatedExtendedCard=features.extended_card,
        securitySchemes=features.security_schemes or None,
        security=requirements_0_3(features.security_schemes) or None,
    )


def card_hybrid(facts: Facts) -> Json:
    """Write a card that clients of both versions read: each ignores the other's fields."""
    new, old = card_1_0(facts), card_0_3(facts)
    schemes = schemes_of_both(facts.features.security_schemes) or None
    return (
        new
        | old
        | {"capabilities": new["capabilities"] | old["capabilities"]}
        | _present(securitySchemes=schemes)
    )


def _identity(facts: Facts) -> dict[str, Json]:
    """Write what both versions call the same."""
    document = facts.document
    return _present(
        name=document.name,
        description=document.description,
        version=facts.version,
        provider=document.provider.model_dump() if document.provider else None,
        documentationUrl=document.documentation_url,
        iconUrl=document.icon_url,
        defaultInputModes=list(document.default_input_modes),
        defaultOutputModes=list(document.default_output_modes),
        skills=[_skill(skill) for skill in document.skills],
    )


def _skill(skill: Skill) -> Json:
    return _present(
        id=skill.id,
        name=skill.name,
        description=skill.description,
        tags=list(skill.tags),
        examples=list(skill.examples) or None,
        inputModes=list(skill.input_modes) or None,
        outputModes=list(skill.output_modes) or None,
    )


def _interfaces(facts: Facts) -> Iterator[Json]:
    """Yield the 1.0 interfaces, the preferred one first; each tenant repeats those of 1.0."""
    bindings = [("JSONRPC", facts.url)]
    if facts.features.http_json:
        bindings.append(("HTTP+JSON", facts.base_url))
    if facts.features.grpc_url is not None:
        bindings.append(("GRPC", facts.features.grpc_url))
    for binding, url in bindings:
        for version in ("1.0", "0.3"):
            yield {"url": url, "protocolBinding": binding, "protocolVersion": version}
    for tenant in facts.tenants:
        for binding, url in bindings:
            yield {
                "url": url,
                "protocolBinding": binding,
                "tenant": tenant,
                "protocolVersion": "1.0",
            }


def _present(**fields: Json) -> dict[str, Json]:
    """Leave out what is not there: a card holds no null."""
    return {name: value for name, value in fields.items() if value is not None}
