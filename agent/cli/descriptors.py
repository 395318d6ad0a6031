"""File descriptors of this process: each connection is one, and so is each file and each call of others."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.settings import Settings

RESERVED = 256
"""Kept for the database, files and webhooks, beside one for each turn that may run."""


def raise_descriptors(settings: Settings) -> None:
    """Let this process, and those that it starts, have as many descriptors as the system allows it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems let nobody have what they say to be the most.
    for most in (hard, _needed(settings)):
        if _is_less(soft, most):
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
                break


def within_descriptors(settings: Settings) -> Settings:
    """Lower ``limits.connections`` to what the descriptors allow.

    When they are scarce that is what is left of them, or half of them if that is more; HTTP and gRPC
    have equal parts of it.
    """
    if sys.platform == "win32":
        return settings
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _is_less(soft, _needed(settings)):
        return settings
    most = max(soft // 2, soft - _kept(settings)) // _servers(settings)
    limits = settings.limits
    lowered = limits.model_copy(update={"connections": min(limits.connections, most)})
    return settings.model_copy(update={"limits": lowered})


def _needed(settings: Settings) -> int:
    return settings.limits.connections * _servers(settings) + _kept(settings)


def _kept(settings: Settings) -> int:
    return RESERVED + settings.limits.running_tasks


def _servers(settings: Settings) -> int:
    return 1 if settings.a2a.grpc_port is None else 2


def _is_less(soft: int, most: int) -> bool:
    """Tell which limit is lower; there may be none."""
    import resource

    return soft != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or soft < most)
