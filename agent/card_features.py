"""What this server can do, as the agent card tells it: computed from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.card_dialects import Features
from agent.card_security import knows_callers, security_schemes

if TYPE_CHECKING:
    from agent.settings import Settings

# What every stack of ours takes and makes; a stack may refuse a message all the same.
INPUT_MODES = ("text/plain", "text/markdown", "application/json", "application/yaml")
OUTPUT_MODES = ("text/plain", "application/json")


def features_of(settings: Settings) -> Features:
    """Return what is configured."""
    return Features(
        input_modes=_input_modes(settings),
        output_modes=OUTPUT_MODES,
        http_json=True,
        grpc_url=_grpc_url(settings),
        push_notifications=settings.push.enabled,
        # What a stack of one's own takes is for its card to say.
        takes_any=settings.stack is not None,
        extended_card=settings.a2a.extended_card_path is not None
        and knows_callers(settings.authentication),
        security_schemes=security_schemes(settings.authentication),
        extensions=[extension.on_card for extension in settings.a2a.extensions],
    )


def _grpc_url(settings: Settings) -> str | None:
    """Name the gRPC interface as gRPC's clients want it: ``HOST:PORT``."""
    if settings.a2a.grpc_port is None:
        return None
    host = urlsplit(settings.service.public_url).hostname or settings.service.host
    host = f"[{host}]" if ":" in host else host
    return settings.a2a.grpc_url or f"{host}:{settings.a2a.grpc_port}"


def _input_modes(settings: Settings) -> tuple[str, ...]:
    """Add images, unless it is the embedded stack that answers without a language model."""
    sees_nothing = settings.is_embedded and not settings.openai.is_set
    return INPUT_MODES if sees_nothing else (*INPUT_MODES, "image/*")
