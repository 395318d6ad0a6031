"""The agent card on the wire: A2A 1.0, A2A 0.3, and both in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.card_document import CardDocument, Skill

type Json = Any

_SCHEME_NAMES = {
    "apiKey": "apiKeySecurityScheme",
    "http": "httpAuthSecurityScheme",
    "oauth2": "oauth2SecurityScheme",
    "openIdConnect": "openIdConnectSecurityScheme",
    "mutualTLS": "mtlsSecurityScheme",
}
"""OpenAPI's types of security schemes, and what 1.0 calls them."""


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What this server can do, as it is configured and running.

    Modes are media types, ``text/*`` allowed. Security schemes and requirements are OpenAPI's, as
    0.3 has them: ``{"bearer": {"type": "http", "scheme": "bearer"}}`` and ``[{"bearer": []}]``; an
    extension is ``{"uri": ..., "description": ..., "required": ..., "params": ...}``.
    """

    input_modes: tuple[str, ...]
    output_modes: tuple[str, ...]
    streaming: bool = True
    push_notifications: bool = False
    extended_card: bool = False
    state_transition_history: bool = False
    http_json: bool = False
    grpc_url: str | None = None
    security_schemes: dict[str, Json] = {}
    security: list[dict[str, list[str]]] = []
    extensions: list[Json] = []


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
            streaming=features.streaming,
            pushNotifications=features.push_notifications,
            extendedAgentCard=features.extended_card,
            extensions=features.extensions or None,
        ),
        securitySchemes={k: _scheme_1_0(v) for k, v in features.security_schemes.items()} or None,
        securityRequirements=[
            {"schemes": {name: {"list": scopes} for name, scopes in requirement.items()}}
            for requirement in features.security
        ]
        or None,
    )


def card_0_3(facts: Facts) -> Json:
    """Write the card as the 0.3 JSON schema has it."""
    features = facts.features
    interfaces = [{"url": facts.url, "transport": "JSONRPC"}]
    if features.http_json:
        interfaces.append({"url": facts.base_url, "transport": "HTTP+JSON"})
    return _identity(facts) | _present(
        url=facts.url,
        protocolVersion="0.3.0",
        preferredTransport="JSONRPC",
        additionalInterfaces=interfaces,
        capabilities=_present(
            streaming=features.streaming,
            pushNotifications=features.push_notifications,
            stateTransitionHistory=features.state_transition_history,
            extensions=features.extensions or None,
        ),
        supportsAuthenticatedExtendedCard=features.extended_card,
        securitySchemes=features.security_schemes or None,
        security=features.security or None,
    )


def card_hybrid(facts: Facts) -> Json:
    """Write a card that clients of both versions read.

    The versions disagree about one key only, ``securitySchemes``. There each scheme is written in
    both shapes at once, OpenAPI's fields beside 1.0's wrapper: clients of either version ignore
    fields that they do not know, and a2a-sdk 1.x, which rewrites whatever has a ``type``, comes to
    the same scheme. The shape of 0.3 alone would be no scheme to other 1.0 clients, and that of 1.0
    alone means mutual TLS to a2a-sdk 0.3.
    """
    new, old = card_1_0(facts), card_0_3(facts)
    merged = new | old | {"capabilities": new["capabilities"] | old["capabilities"]}
    if schemes := old.get("securitySchemes"):
        merged["securitySchemes"] = {
            name: scheme | new["securitySchemes"][name] for name, scheme in schemes.items()
        }
    return merged


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
    for binding, url in bindings:
        for version in ("1.0", "0.3"):
            yield {"url": url, "protocolBinding": binding, "protocolVersion": version}
    if facts.features.grpc_url is not None:
        bindings.append(("GRPC", facts.features.grpc_url))
        yield {
            "url": facts.features.grpc_url,
            "protocolBinding": "GRPC",
            "protocolVersion": "1.0",
        }
    for tenant in facts.tenants:
        for binding, url in bindings:
            yield {
                "url": url,
                "protocolBinding": binding,
                "tenant": tenant,
                "protocolVersion": "1.0",
            }


def _scheme_1_0(scheme: Json) -> Json:
    fields = {"location" if key == "in" else key: value for key, value in scheme.items()}
    return {_SCHEME_NAMES[fields.pop("type")]: fields}


def _present(**fields: Json) -> dict[str, Json]:
    """Leave out what is not there: a card holds no null."""
    return {name: value for name, value in fields.items() if value is not None}
