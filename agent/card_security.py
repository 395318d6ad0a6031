"""What callers must show, by the module that looks at it, as OpenAPI and so A2A 0.3 write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.settings.access import Authentication

type Json = Any

_BEARER = {"type": "http", "scheme": "bearer"}
_SCHEMES: dict[str, dict[str, Json]] = {
    "noop": {},
    "noop-with-token": {
        "bearer": _BEARER | {"description": "Any token: it is passed on, and not looked at."}
    },
    "api-key-token": {"bearer": _BEARER | {"description": "The API key of this server."}},
    "jwk-token": {"bearer": _BEARER | {"bearerFormat": "JWT"}},
    "k8s": {"bearer": _BEARER | {"description": "A token of the Kubernetes cluster."}},
    "rh-identity": {
        "identity": {
            "type": "apiKey",
            "in": "header",
            "name": "x-rh-identity",
            "description": "The identity header, which the gateway in front of this server sets.",
        }
    },
}
_KNOW_NOBODY = frozenset({"noop", "noop-with-token"})
_NAMES_1_0 = {"apiKey": "apiKeySecurityScheme", "http": "httpAuthSecurityScheme"}


def security_schemes(authentication: Authentication) -> dict[str, Json]:
    """Return the schemes, any one of which is enough; none when nothing is asked for."""
    return _SCHEMES[authentication.module]


def knows_callers(authentication: Authentication) -> bool:
    """Whether who calls has been authenticated; the noop modules believe everybody."""
    return authentication.module not in _KNOW_NOBODY


def requirements_0_3(schemes: dict[str, Json]) -> list[Json]:
    """Write that one of the schemes must be met."""
    return [{name: []} for name in schemes]


def schemes_1_0(schemes: dict[str, Json]) -> dict[str, Json]:
    """Write schemes as ProtoJSON; the Protocol Buffers files of 1.0 and 0.3 agree about them."""
    return {name: _scheme_1_0(scheme) for name, scheme in schemes.items()}


def requirements_1_0(schemes: dict[str, Json]) -> list[Json]:
    """Write as ProtoJSON that one of the schemes must be met."""
    return [{"schemes": {name: {"list": []}}} for name in schemes]


def schemes_of_both(schemes: dict[str, Json]) -> dict[str, Json]:
    """Write schemes for clients of both versions, which disagree about this key of the card.

    Each is written in both shapes at once: clients ignore fields that they do not know, and a2a-sdk
    1.x, which rewrites whatever has a ``type``, comes to the same scheme. The shape of 0.3 alone would
    be no scheme to other clients of 1.0, and that of 1.0 alone means mutual TLS to a2a-sdk 0.3.
    """
    return {name: scheme | _scheme_1_0(scheme) for name, scheme in schemes.items()}


def _scheme_1_0(scheme: Json) -> Json:
    fields = {"location" if key == "in" else key: value for key, value in scheme.items()}
    return {_NAMES_1_0[fields.pop("type")]: fields}
