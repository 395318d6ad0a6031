"""What the embedded stack has to offer, described as Llama Stack describes it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, override

from agent.errors import StackError
from agent.packaged import packaged
from agent.stacks.base import BaseStack, Health, Model
from agent.stacks.embedded import extractive, inference
from agent.stacks.embedded.agent_config import KNOWLEDGE_GROUP, MCP_PREFIX
from agent.stacks.embedded.knowledge import Knowledge
from agent.stacks.embedded.mcp_servers import McpServers
from agent.stacks.embedded.models import Models
from agent.stacks.embedded.tools import KNOWLEDGE_SEARCH
from agent.stacks.turn import NO_CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from a2a_state.database import Database
    from agent.settings import Settings
    from agent.stacks.embedded.mcp_listings import McpTool
    from agent.stacks.turn import ClientTool, Json

_PROVIDER = extractive.PROVIDER


class EmbeddedCatalogue(BaseStack):
    """Holds the models, the documents and the MCP servers."""

    def __init__(self, settings: Settings, database: Database, folder: Path | None) -> None:
        """Open nothing; without a ``folder`` the documents are those of the settings, or ours."""
        super().__init__(settings)
        self._knowledge = Knowledge(database, folder or settings.knowledge or packaged("docs"))
        self._servers = McpServers(settings.mcp_servers)
        self._models = Models(settings, self._knowledge)

    @override
    async def models(self) -> Sequence[Model]:
        """Return the model that answers, and what else its server has."""
        return await self._models.default.catalogue()

    @override
    async def embed(self, texts: Sequence[str], model: str | None) -> Sequence[Sequence[float]]:
        """Ask the model server."""
        return await self._models.embed(texts, model)

    @override
    async def shields(self) -> Sequence[Json]:
        """Return the shields of the settings: models of the model server."""
        return [
            {
                "identifier": shield,
                "provider_id": inference.PROVIDER,
                "provider_resource_id": shield,
                "type": "shield",
                "params": {},
            }
            for shield in self._shields
        ]

    @property
    def _shields(self) -> tuple[str, ...]:
        """The shields that there are."""
        agent = self.settings.agent
        return tuple(dict.fromkeys((*(agent.input_shields or ()), *agent.output_shields)))

    @override
    async def tools(self) -> Sequence[Json]:
        """Return the search in the documents, and the tools of the MCP servers that let anybody see them."""
        search = KNOWLEDGE_SEARCH
        found = [
            _tool(KNOWLEDGE_GROUP, _PROVIDER, search),
        ]
        servers = self._servers.shown(NO_CREDENTIALS)
        providers = {server.name: server.provider_id for server in self.settings.mcp_servers}
        for name in servers:
            try:
                tools = await servers.tools(name)
            except StackError:
                continue
            found += (_tool(MCP_PREFIX + name, providers[name], tool) for tool in tools)
        return found

    @override
    async def providers(self) -> Sequence[Json]:
        """Return what stands behind each API."""
        kind = "remote::openai" if self._models.language_model else "inline::extractive"
        mcp = dict.fromkeys(server.provider_id for server in self.settings.mcp_servers)
        return [
            _provider("inference", self._models.default.provider, kind),
            _provider("agents", _PROVIDER, "inline::embedded"),
            _provider("vector_io", _PROVIDER, "inline::full-text-search"),
            _provider("tool_runtime", _PROVIDER, "inline::embedded"),
            *(
                _provider("tool_runtime", name, "remote::model-context-protocol")
                for name in mcp
                if name != _PROVIDER
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
        return await self._models.default.health()


def _tool(group: str, provider_id: str, tool: ClientTool | McpTool) -> Json:
    return {
        "toolgroup_id": group,
        "provider_id": provider_id,
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
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
