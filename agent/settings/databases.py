"""Where data is kept: SQLite or PostgreSQL."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import SecretStr, model_validator

from agent.settings.section import Count, FilePath, Port, Section, Text, allow_one, require

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DEFAULT_STATE = Path(".llamastack-a2a/state.db")


class SQLite(Section):
    """A database in a file."""

    db_path: FilePath


class Postgres(Section):
    """A database on a server; ``host`` is a name, an address or the folder of a socket."""

    host: Text = "localhost"
    port: Port = 5432
    db: Text
    user: Text
    password: SecretStr
    namespace: Text | None = "public"
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = (
        "prefer"
    )
    gss_encmode: Literal["disable", "prefer", "require"] = "prefer"
    ca_cert_path: FilePath | None = None


class Database(Section):
    """LCS's database of conversation ids; ``a2a_state`` is there too unless it says something else."""

    sqlite: SQLite | None = None
    postgres: Postgres | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        allow_one(self, "sqlite", "postgres")
        return self


class A2AState(Section):
    """Where tasks and conversations are kept: SQLite in the working directory if nothing is set."""

    sqlite: SQLite | None = None
    postgres: Postgres | None = None
    memory: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        allow_one(self, "sqlite", "postgres", "memory")
        return self

    @property
    def is_set(self) -> bool:
        """Whether it says where."""
        return bool(self.sqlite or self.postgres or self.memory)

    @property
    def folder(self) -> Path:
        """The folder of the file, or that of the default one where there is none."""
        kept = self.sqlite.db_path if self.sqlite else DEFAULT_STATE
        return kept.parent

    @property
    def url(self) -> "URL":
        """The database as SQLAlchemy wants it; TLS and the namespace are not part of it."""
        from sqlalchemy.engine import URL

        if self.memory:
            return URL.create("sqlite")
        if self.postgres is None:
            path = self.sqlite.db_path if self.sqlite else DEFAULT_STATE
            return URL.create("sqlite", database=str(path))
        server = self.postgres
        socket = server.host.startswith("/")
        return URL.create(
            "postgresql+asyncpg",
            username=server.user,
            password=server.password.get_secret_value(),
            host=None if socket else server.host,
            port=None if socket else server.port,
            database=server.db,
            query={"host": server.host, "port": str(server.port)} if socket else {},
        )


class MemoryCache(Section):
    """A cache that is lost with the process."""

    max_entries: Count


class ConversationCache(Section):
    """Where questions and answers are kept for ``/v2/conversations``; ``state`` is ``a2a_state``."""

    type: Literal["noop", "memory", "sqlite", "postgres", "state"] | None = None
    memory: MemoryCache | None = None
    sqlite: SQLite | None = None
    postgres: Postgres | None = None

    @model_validator(mode="after")
    def _matches_type(self) -> Self:
        allow_one(self, "memory", "sqlite", "postgres")
        if self.type not in {None, "noop", "state"}:
            require(self, str(self.type), because=f"type {self.type}")
        return self
