"""What should worry whoever starts a server that others can reach."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.auth.access import EVERYBODY

if TYPE_CHECKING:
    from agent.settings import Settings

_DANGERS = {
    "noop": "ANYBODY CAN CALL THIS SERVER AND BE ANYBODY: authentication.module is noop",
    "noop-with-token": "ANYBODY CAN CALL THIS SERVER AND BE ANYBODY: authentication.module is "
    "noop-with-token, which takes any token",
    "rh-identity": "WHOEVER REACHES THIS SERVER PAST ITS PROXY CAN BE ANYBODY: authentication.module is "
    "rh-identity, which believes the header x-rh-identity; let only the proxy reach it",
}
_ALL_ADDRESSES = frozenset({"0.0.0.0", "::", "[::]"})
_NAME_THEMSELVES = frozenset({"noop", "noop-with-token", "api-key-token"})


def warnings_of(settings: Settings) -> list[str]:
    """Return what is to be told at the start, and by ``check``."""
    warnings = (
        warning_of,
        plain_warning_of,
        address_warning_of,
        source_warning_of,
        role_warning_of,
        quota_warning_of,
    )
    return [said for warning in warnings if (said := warning(settings))]


def warning_of(settings: Settings) -> str | None:
    """Return what is dangerous about the settings: others than this machine trust too much is given."""
    danger = _DANGERS.get(settings.authentication.module)
    host = settings.service.host
    if danger is None or is_loopback(host):
        return None
    return f"{danger}, and service.host is {host}, which is not loopback"


def plain_warning_of(settings: Settings) -> str | None:
    """Return what is wrong where credentials can be read on their way."""
    service, module = settings.service, settings.authentication.module
    if module in {"noop", "noop-with-token", "rh-identity"} or is_loopback(service.host):
        return None
    if service.public_url.startswith("https://") or service.tls_config.tls_certificate_path:
        return None
    return (
        f"Callers show their credentials ({module}) in plain HTTP, and service.host is {service.host}, "
        "which is not loopback: set service.tls_config, or an https service.base_url behind a proxy"
    )


def address_warning_of(settings: Settings) -> str | None:
    """Return what is wrong where the agent card names an address that callers do not reach."""
    service = settings.service
    if service.base_url and not urlsplit(service.base_url).path.endswith(service.root_path):
        return (
            f"The agent card tells callers to use {service.public_url}, without the path of "
            f"service.root_path ({service.root_path}): service.base_url has to end with it"
        )
    if service.base_url or service.host not in _ALL_ADDRESSES:
        return None
    return (
        f"The agent card tells callers to use {service.public_url}, which only this machine reaches: "
        f"service.host is {service.host}, so set service.base_url"
    )


def source_warning_of(settings: Settings) -> str | None:
    """Return what is wrong where somebody else can answer for what knows the callers, or listen."""
    authentication = settings.authentication
    if authentication.module == "jwk-token" and authentication.jwk_config is not None:
        danger = "ANYBODY ON THE WAY CAN MAKE TOKENS"
        url, key = authentication.jwk_config.url, "jwk_config.url"
    elif authentication.module == "k8s":
        danger = "ANYBODY ON THE WAY CAN READ TOKENS AND LET ANYBODY IN"
        url, key = authentication.k8s_cluster_api or "", "k8s_cluster_api"
    else:
        return None
    if authentication.skip_tls_verification:
        return f"{danger}: authentication.skip_tls_verification is on"
    where = urlsplit(url)
    if where.scheme == "http" and not is_loopback(where.hostname or ""):
        return f"{danger}: authentication.{key} is not HTTPS"
    return None


def role_warning_of(settings: Settings) -> str | None:
    """Return what is wrong with access rules that are for nobody."""
    authentication = settings.authentication
    given = {EVERYBODY}
    if authentication.module == "jwk-token" and authentication.jwk_config is not None:
        rules = authentication.jwk_config.jwt_configuration.role_rules
        given = given.union(*(rule.roles for rule in rules))
    asked = settings.authorization.access_rules if settings.authorization else ()
    if not (names := sorted({rule.role for rule in asked} - given)):
        return None
    return (
        f"No caller has the role {', '.join(names)} of authorization.access_rules: with "
        f"authentication.module {authentication.module} there are only {', '.join(sorted(given))}"
    )


def quota_warning_of(settings: Settings) -> str | None:
    """Return what is wrong with limits of users who say themselves who they are."""
    module = settings.authentication.module
    names = [one.name for one in settings.quota_handlers.limiters if one.type == "user_limiter"]
    if not names or module not in _NAME_THEMSELVES:
        return None
    return (
        f"A user_limiter ({', '.join(names)}) holds nobody back: authentication.module is {module}, "
        "with which callers choose their user_id; a cluster_limiter holds"
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches ``host``; no name but localhost is sure to mean that."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
