"""What goes on beside the turns: counting them, and telling others of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.metrics import Metrics
from agent.splunk import make_splunk
from agent.transcripts import make_transcripts

if TYPE_CHECKING:
    from a2a_state.database import Database
    from agent.listener import TurnListener
    from agent.settings import Settings
    from agent.splunk import Splunk
    from agent.transcripts import Transcripts


class Aside(NamedTuple):
    """None stands for what the settings do not ask for."""

    metrics: Metrics
    splunk: Splunk | None
    transcripts: Transcripts | None

    @property
    def listeners(self) -> tuple[TurnListener, ...]:
        """Those who hear of turns that are over."""
        return (self.metrics,) if self.transcripts is None else (self.metrics, self.transcripts)

    @property
    def parts(self) -> tuple[Splunk | Transcripts | None, ...]:
        """What is opened and closed."""
        return (self.splunk, self.transcripts)


def make_aside(settings: Settings, database: Database) -> Aside:
    """Return what the settings ask for; nothing is opened."""
    return Aside(Metrics(), make_splunk(settings), make_transcripts(settings, database))
