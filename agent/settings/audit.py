"""Whether it is written down who did what."""

from agent.settings.section import FilePath, Section


class Audit(Section):
    """The audit log; without a path it goes to standard error."""

    enabled: bool = False
    path: FilePath | None = None
