"""Which engine answers which operation: what a Llama Stack behind us has decides, and the settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from agent.engines.operations import OPERATIONS, PATHS, RERANK, Operation
from agent.errors import StackError
from agent.stacks.offered import Remembered
from agent.stacks.remote import RemoteStack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from agent.engines.operations import Group
    from agent.engines.told import Engine
    from agent.settings import Settings
    from agent.settings.experimental import Forwardable
    from agent.stacks.base import Model, Stack

SECONDS = 300.0
"""How long what a Llama Stack has is believed: it may be upgraded meanwhile."""
KEY = "experimental.forwarded"
NOTHING = "nothing is behind this server"
KEPT = "always kept here: Llama Stacks lose the rows that are appended"
UNKNOWN = "unknown until the Llama Stack answers"
_OF_SETTINGS = "; the agent of the settings is always this server's own"


class Choice(NamedTuple):
    """An engine, and why; ``engine`` is None while the Llama Stack has not said what it has."""

    engine: Engine | None
    reason: str


class _Found(NamedTuple):
    """What the Llama Stack has."""

    paths: frozenset[str]
    models: Collection[Model]


class Engines:
    """The table. A Llama Stack is asked now and then, by one for all who want to know.

    One that is down has what it had before; where that is unknown, it is asked again the next time.
    """

    def __init__(
        self,
        settings: Settings,
        stack: Stack,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked yet; what is found is believed for ``seconds``."""
        self._settings = settings
        self._is_embedded = settings.is_embedded
        self._remote = stack if isinstance(stack, RemoteStack) else None
        self._finding = Remembered(self._ask, seconds, clock)
        self._found: _Found | None = None

    async def table(self) -> Mapping[Operation, Choice]:
        """Return what answers each operation, as far as it can be known now."""
        try:
            found = await self._find()
        except StackError:
            found = None
        return {each: self._choice(each, found) for each in OPERATIONS}

    async def forwards(self, group: Forwardable) -> bool:
        """Whether the Llama Stack answers a group of operations; raises ``StackError``."""
        if self._remote is None or group not in self._settings.experimental.forwarded:
            return False
        found = await self._find()
        return found is not None and _has(found, group)

    def presumed(self, operation: Operation) -> Engine:
        """Return what answers an operation as far as is known without asking."""
        engine = self._choice(operation, self._found).engine
        return engine or ("embedded" if operation.group == "post_training" else "emulated")

    def forget(self) -> None:
        """Ask again at once: the Llama Stack does not have something any more."""
        self._finding.forget()

    async def _find(self) -> _Found | None:
        if self._remote is None:
            return None
        try:
            return await self._finding.get()
        except StackError:
            if self._found is None:
                raise
            return self._found

    async def _ask(self) -> _Found:
        assert self._remote is not None  # noqa: S101 - nobody else is asked
        paths = await self._remote.served()
        self._found = _Found(paths, tuple(await self._remote.models()))
        return self._found

    def _choice(self, operation: Operation, found: _Found | None) -> Choice:
        group = operation.group
        if self._is_embedded and self._remote is None:
            return Choice("embedded", NOTHING)
        if group == "datasets" or (group == "eval" and not operation.runs_models):
            return Choice("embedded", KEPT if group == "datasets" else "kept here")
        if group == "eval":
            return Choice("emulated", f"run here; its models and agents answer {self._where}")
        if self._remote is None:
            return self._without_server(group)
        return Choice(None, UNKNOWN) if found is None else self._with_server(group, found)

    def _without_server(self, group: Group) -> Choice:
        if group == "post_training":
            return Choice("embedded", "done here")
        return Choice("emulated", f"over {self._settings.stack}")

    def _with_server(self, group: Group, found: _Found) -> Choice:
        assert group in ("agents", "inference", "post_training")  # noqa: S101 - the others are decided
        wanted = group in self._settings.experimental.forwarded
        has = _has(found, group)
        if has and wanted:
            said = "the Llama Stack has this API"
            return Choice("forwarded", said + (_OF_SETTINGS if group == "agents" else ""))
        why = f"{KEY} leaves it out" if has else "the Llama Stack does not have this API"
        if group == "agents":
            return Choice("emulated", f"{why}: over its other APIs")
        if group == "post_training":
            return Choice("embedded", f"{why}: done here")
        why = why if has or RERANK not in found.paths else "the Llama Stack has no rerank model"
        if _lists(found, "embedding"):
            return Choice("emulated", f"{why}: by its embeddings")
        return Choice("embedded", f"{why}, and no embeddings: by words (BM25)")

    @property
    def _where(self) -> str:
        return "over the Llama Stack" if self._remote else f"over {self._settings.stack}"


def _has(found: _Found, group: Forwardable) -> bool:
    """Whether a Llama Stack has a whole group; paths of later versions are others, and do not count."""
    if not PATHS[group] <= found.paths:
        return False
    return group != "inference" or _lists(found, "rerank")


def _lists(found: _Found, model_type: str) -> bool:
    return any(model.model_type == model_type for model in found.models)
