"""How long what has ended is kept."""

from typing import Annotated

from pydantic import Field

from agent.settings.section import Number, Section

type _Time = Annotated[Number, Field(gt=0, le=100_000)]


class Retention(Section):
    """What is older is deleted; None keeps it for ever."""

    tasks_days: _Time | None = 30.0
    contexts_days: _Time | None = 90.0
    jobs_days: _Time | None = 30.0
    idempotency_hours: _Time = 24.0
