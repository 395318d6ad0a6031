"""All settings: the sections of LCS's configuration file, and ours."""

from typing import Annotated

from pydantic import AfterValidator, field_validator

from agent.settings.access import Authentication, Authorization
from agent.settings.audit import Audit
from agent.settings.databases import A2AState, ConversationCache, Database
from agent.settings.experimental import Experimental
from agent.settings.lcs import (
    AzureEntraId,
    ByokRag,
    Customization,
    Inference,
    LlamaStack,
    McpServer,
    Service,
    Solr,
    Splunk,
    UserDataCollection,
)
from agent.settings.own import A2A, Agent, Limits, OpenAI
from agent.settings.push import Push
from agent.settings.quotas import QuotaHandlers
from agent.settings.retention import Retention
from agent.settings.section import FilePath, Section, Text


def _names_a_class(value: str) -> str:
    module, _, name = value.partition(":")
    if not name.isidentifier() or not all(step.isidentifier() for step in module.split(".")):
        raise ValueError("must look like package.module:Class")
    return value


type ClassPath = Annotated[str, AfterValidator(_names_a_class)]


class Settings(Section):
    """All settings. None is required: ``Settings()`` runs the embedded stack and a SQLite file."""

    name: Text = "llamastack-a2a"
    service: Service = Service()
    llama_stack: LlamaStack = LlamaStack()
    user_data_collection: UserDataCollection = UserDataCollection()
    database: Database = Database()
    mcp_servers: tuple[McpServer, ...] = ()
    authentication: Authentication = Authentication()
    authorization: Authorization | None = None
    customization: Customization = Customization()
    inference: Inference = Inference()
    conversation_cache: ConversationCache = ConversationCache()
    byok_rag: tuple[ByokRag, ...] = ()
    a2a_state: A2AState = A2AState()
    quota_handlers: QuotaHandlers = QuotaHandlers()
    azure_entra_id: AzureEntraId | None = None
    splunk: Splunk | None = None
    deployment_environment: Text = "development"
    solr: Solr | None = None

    stack: ClassPath | None = None
    knowledge: FilePath | None = None
    agent: Agent = Agent()
    openai: OpenAI = OpenAI()
    limits: Limits = Limits()
    a2a: A2A = A2A()
    push: Push = Push()
    retention: Retention = Retention()
    audit: Audit = Audit()
    experimental: Experimental = Experimental()

    @field_validator("mcp_servers")
    @classmethod
    def _names_differ(cls, value: tuple[McpServer, ...]) -> tuple[McpServer, ...]:
        names = [server.name for server in value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the name {min(twice)} is used twice")
        return value

    @property
    def is_embedded(self) -> bool:
        """Whether the embedded stack runs the turns."""
        runs = self.stack, self.llama_stack.url, self.llama_stack.library
        return all(each is None for each in runs)

    @property
    def state(self) -> A2AState:
        """Where tasks and conversations are kept: ``a2a_state``, else where ``database`` says."""
        if self.a2a_state.is_set:
            return self.a2a_state
        return A2AState(sqlite=self.database.sqlite, postgres=self.database.postgres)

    @property
    def instructions(self) -> str:
        """What the model is told first: the profile's default, LCS's system prompt, or the agent's own.

        ``load`` has read the files of the first two.
        """
        custom = self.customization
        profile = custom.custom_profile.prompts.get("default") if custom.custom_profile else None
        return profile or custom.system_prompt or self.agent.instructions

    def vector_store_id(self, rag_id: str) -> str:
        """Return the vector store that a user calls ``rag_id``; it may be called by its own id, too."""
        known = {each.rag_id: each.vector_db_id for each in reversed(self.byok_rag)}
        return known.get(rag_id, rag_id)

    def rag_id(self, vector_store_id: str) -> str:
        """Return what users call a vector store: the name that ``byok_rag`` gives it, or its id."""
        known = {each.vector_db_id: each.rag_id for each in reversed(self.byok_rag)}
        return known.get(vector_store_id, vector_store_id)
