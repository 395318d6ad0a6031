"""What the embedded stack has to offer, described as Llama Stack describes it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, override

from agent.errors import StackError
from agent.packaged import packaged
from agent.stacks.base import BaseStack, Health, Model
from agent.stacks.embedded.agent_config import KNOWLEDGE_GROUP, MCP_PREFIX
from agent.stacks.embedded.extractive import ExtractiveModel
from agent.stacks.embedded.inference import PROVIDER, OpenAIModel
from agent.stacks.embedded.knowledge import Knowledge
from agent.stacks.embedded.mcp_servers import McpServers
from agent.stacks.embedded.tools import KNOWLEDGE_SEARCH
from agent.stacks.turn import NO_CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from a2a_state.database import Database
    from agent.settings import Settings
    from agent.stacks.embedded.model import LanguageModel
    from agent.stacks.turn import Json


class EmbeddedCatalogue(BaseStack):
    """Holds the models, the documents and the MCP servers."""

    def __init__(self, settings: Settings, database: Database, folder: Path | None) -> None:
        """Open nothing; without a ``folder`` the documents are those of the settings, or ours."""
        super().__init__(settings)
        self._knowledge = Knowledge(database, folder or settings.knowledge or packaged("docs"))
        self._servers = McpServers(settings.mcp_servers)
        self._extractive = ExtractiveModel(self._knowledge)
        self._openai: OpenAIModel | None = None
        if settings.openai.is_set:
            model = settings.openai.model or settings.inference.default_model
            self._openai = OpenAIModel(settings.openai, model, settings.llama_stack.timeout)

    @property
    def _default(self) -> LanguageModel:
        return self._openai or self._extractive

    @override
    async def models(self) -> Sequence[Model]:
        """Return the model that answers."""
        return await self._default.catalogue()

    @override
    async def shields(self) -> Sequence[Json]:
        """Return the shields of the settings: models of the model server."""
        agent = self.settings.agent
        return [
            {
                "identifier": shield,
                "provider_id": PROVIDER,
                "provider_resource_id": shield,
                "type": "shield",
                "params": {},
            }
            for shield in dict.fromkeys((*agent.input_shields, *agent.output_shields))
        ]

    @override
    async def tools(self) -> Sequence[Json]:
        """Return the search in the documents, and the tools of the MCP servers that let anybody see them."""
        search = KNOWLEDGE_SEARCH
        found = [
            _tool(KNOWLEDGE_GROUP, search.name, search.description, search.input_schema),
        ]
        servers = self._servers.shown(NO_CREDENTIALS)
        for name in servers:
            try:
                tools = await servers.tools(name)
            except StackError:
                continue
            group = MCP_PREFIX + name
            found += (_tool(group, t.name, t.description, t.input_schema) for t in tools)
        return found

    @override
    async def providers(self) -> Sequence[Json]:
        """Return what stands behind each API."""
        model = (PROVIDER, "remote::openai") if self._openai else ("embedded", "inline::extractive")
        return [
            _provider("inference", *model),
            _provider("agents", "embedded", "inline::embedded"),
            _provider("vector_io", "embedded", "inline::full-text-search"),
            _provider("tool_runtime", "embedded", "inline::embedded"),
            *(
                _provider("tool_runtime", server.name, "remote::model-context-protocol")
                for server in self.settings.mcp_servers
            ),
        ]

    @override
    async def vector_stores(self) -> Sequence[Json]:
        """Return the folder of documents."""
        return [await self._knowledge.vector_store()]

    @override
    async def version(self) -> str:
        """Return the version of this package."""
        try:
            return version("llamastack-a2a")
        except PackageNotFoundError:
            return "0"

    @override
    async def health(self) -> Health:
        """Tell whether the model can be asked."""
        return await self._default.health()


def _tool(group: str, name: str, description: str, input_schema: Json) -> Json:
    return {
        "toolgroup_id": group,
        "name": name,
        "description": description,
        "input_schema": input_schema,
        "output_schema": None,
        "metadata": {},
    }


def _provider(api: str, provider_id: str, provider_type: str) -> Json:
    return {
        "api": api,
        "provider_id": provider_id,
        "provider_type": provider_type,
        "config": {},
        "health": {"status": "OK"},
    }
