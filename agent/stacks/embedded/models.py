"""Which models there are, and which one is meant: ``provider/model``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.errors import ModelNotFound
from agent.stacks.embedded import extractive, inference
from agent.stacks.embedded.extractive import ExtractiveModel
from agent.stacks.embedded.inference import OpenAIModel
from agent.stacks.embedded.model import LanguageModel  # noqa: TC001 - msgspec resolves annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.settings import Settings
    from agent.stacks.embedded.knowledge import Knowledge


class Chosen(msgspec.Struct, frozen=True):
    """The model of a turn, and how its server calls it."""

    model: LanguageModel
    name: str

    @property
    def identifier(self) -> str:
        """What the catalogue and the caller are told."""
        return f"{self.model.provider}/{self.name}"


class Models:
    """The extractive model, and a language model if one is configured."""

    def __init__(self, settings: Settings, knowledge: Knowledge) -> None:
        """Connect to nothing."""
        self._extractive = ExtractiveModel(knowledge)
        self._openai: OpenAIModel | None = None
        self._providers = {inference.PROVIDER, settings.inference.default_provider}
        if settings.openai.is_set:
            model = settings.openai.model or settings.inference.default_model
            embedding = self._bare(settings.experimental.embedding_model)
            seconds = settings.llama_stack.timeout
            self._openai = OpenAIModel(settings.openai, model, seconds, embedding)

    @property
    def default(self) -> LanguageModel:
        """The model that answers when none is named."""
        return self._openai or self._extractive

    @property
    def language_model(self) -> LanguageModel | None:
        """The model server, which has the shields too; None when none is configured."""
        return self._openai

    async def choose(self, name: str | None) -> Chosen:
        """Return the model of a name, with or without its provider; the default one without a name.

        What a model server has, it knows itself. Raises ``ModelNotFound`` and other ``StackError``s.
        """
        first, _, rest = (name or "").partition("/")
        if name == extractive.IDENTIFIER or (first, rest) == _EXTRACTIVE:
            return Chosen(self._extractive, extractive.IDENTIFIER)
        if self._openai is None:
            if name:
                raise ModelNotFound(f"There is no model {name}: no language model is configured.")
            return Chosen(self._extractive, extractive.IDENTIFIER)
        if first == extractive.PROVIDER and rest:
            raise ModelNotFound(f"There is no model {name}.")
        return Chosen(self._openai, await self._openai.resolve(self._bare(name) or ""))

    async def embed(self, texts: Sequence[str], name: str | None) -> Sequence[Sequence[float]]:
        """Return the embedding of each text, by the model of the settings without a name.

        Raises ``ModelNotFound``, other ``StackError``s, and ``PayloadTooLarge``.
        """
        if self._openai is None:
            raise ModelNotFound("There is no embedding model: no model server is configured.")
        return await self._openai.embed(texts, self._bare(name))

    def _bare(self, name: str | None) -> str | None:
        """Return the name that a model has for its server."""
        first, _, rest = (name or "").partition("/")
        return rest if rest and first in self._providers else name


_EXTRACTIVE = (extractive.PROVIDER, extractive.IDENTIFIER)
