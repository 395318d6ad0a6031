"""The headers that tell browsers and caches to be careful: few, since every response carries them.

``nosniff``: an answer holds what callers and models wrote, and must never be run as a script or a page.
The content security policy: should one be opened as a page all the same, it loads and runs nothing,
and no page frames it. ``no-store``: answers are their caller's own; cards say themselves how long they
keep. There is no ``Referrer-Policy``, since nothing that is served has links to follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.auth.warning import is_loopback

if TYPE_CHECKING:
    from agent.settings.lcs import Service

type Header = tuple[bytes, bytes]

_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


def security_headers(service: Service) -> tuple[Header, ...]:
    """Return the headers that a response gets unless it has them already; names are lower-case."""
    base = urlsplit(service.base_url or "")
    is_on_https = service.tls_config.tls_certificate_path is not None or base.scheme == "https"
    # To be told of localhost, a browser would refuse http:// on every other port of the machine.
    if is_loopback(base.hostname or service.host) or not is_on_https:
        return _ALWAYS
    if service.hsts_seconds is None:
        return _ALWAYS
    return (*_ALWAYS, (b"strict-transport-security", b"max-age=%d" % service.hsts_seconds))
