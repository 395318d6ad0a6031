"""What the REST resources work with: made and opened by the composition root."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agent.aside import Aside
    from agent.histories import Histories
    from agent.inferences import Inferences
    from agent.quotas.quotas import Quotas
    from agent.runner import Runner
    from agent.service import Service
    from agent.settings import Settings
    from agent.stacks import Stack
    from rest_compat.lightspeed.health import Providers


class Backend(NamedTuple):
    """The same service, conversations and stack that A2A has; ``quotas`` is None where none are kept."""

    settings: Settings
    service: Service
    stack: Stack
    providers: Providers
    runner: Runner
    histories: Histories
    inferences: Inferences
    aside: Aside
    quotas: Quotas | None = None
