"""Llama Stack's experimental API."""

from pathlib import Path
from typing import Literal

from agent.settings.section import Count, FilePath, Section, Text

type Forwardable = Literal["agents", "inference", "post_training"]


class Datasets(Section):
    """How much datasets hold, and from where rows are read.

    ``folder`` is the only one that ``file://`` URIs may name files in; ``allow`` names hosts and networks
    that may be read from although they are not public.
    """

    rows: Count = 1_000_000
    row_bytes: Count = 1024 * 1024
    bytes: Count = 256 * 1024 * 1024
    per_owner: Count = 1000
    folder: FilePath | None = None
    allow: tuple[Text, ...] = ()


class Jobs(Section):
    """How many jobs of a kind run at once in this process, and how many of a caller's may not have ended."""

    running: Count = 2
    waiting_per_owner: Count = 20


class Training(Section):
    """``folder`` takes checkpoints; ``models`` is where the models are that may be trained."""

    folder: FilePath | None = None
    models: FilePath | None = None

    @property
    def place(self) -> Path:
        """Where checkpoints are kept."""
        return self.folder or Path(".llamastack-a2a", "training")


class Experimental(Section):
    """``forwarded`` names the APIs that a Llama Stack which has them answers itself."""

    forwarded: tuple[Forwardable, ...] = ("agents", "inference", "post_training")
    embedding_model: Text | None = None
    agents_per_owner: Count = 1000
    datasets: Datasets = Datasets()
    jobs: Jobs = Jobs()
    training: Training = Training()
