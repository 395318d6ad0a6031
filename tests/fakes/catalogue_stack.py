"""A stack that has a little of everything, and secrets where a Llama Stack would hide them."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import StackUnavailable
from agent.stacks import BaseStack
from agent.stacks.base import Model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.settings import Settings

STACK = "tests.fakes.catalogue_stack:CatalogueStack"
SECRET = "canary-of-a-secret"
STORE = "vs_1"

PROVIDERS: list[dict[str, Any]] = [
    {
        "api": "inference",
        "provider_id": "vllm",
        "provider_type": "remote::vllm",
        "config": {
            "url": f"http://user:{SECRET}@models:8000/v1?key={SECRET}",
            "api_token": SECRET,
            "max_tokens": 4096,
            "tls_verify": True,
            "default_headers": {"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET},
            "tokenizer": "cl100k",
            "aws": [{"aws_secret_access_key": SECRET, "region": "eu"}],
            "password": None,
            "refresh_token": "",
        },
        "health": {"status": "OK"},
    },
    {
        "api": "vector_io",
        "provider_id": "pg",
        "provider_type": "remote::pgvector",
        "config": {"dsn": f"host=db password={SECRET}", "auth": {"client_secret": [SECRET]}},
        "health": {"status": "Error", "message": "away"},
    },
    {"api": "safety", "provider_id": "vllm", "provider_type": "inline::guard"},
]
TOOLS: list[dict[str, Any]] = [
    {
        "name": "search",
        "toolgroup_id": "builtin::rag",
        "description": "Search documents.",
        "input_schema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for."},
                "limit": {"anyOf": [{"type": "null"}, {"type": "integer"}], "default": 10},
                "modes": {"type": ["null", "array"]},
                "anything": {},
                "odd": True,
            },
            "required": ["query"],
        },
        "provider_id": "rag-runtime",
    },
    {"name": "add", "toolgroup_id": "mcp::sums", "description": None, "input_schema": None},
    {
        "name": "far",
        "toolgroup_id": "mcp::elsewhere",
        "metadata": {"endpoint": f"http://elsewhere:9000/{SECRET}/mcp?key={SECRET}"},
        "input_schema": {"properties": "nothing that is understood", "required": 7},
    },
]
STORES: list[dict[str, Any]] = [
    {
        "id": STORE,
        "object": "vector_store",
        "created_at": 1763391371,
        "last_active_at": 1763391372,
        "name": "docs",
        "usage_bytes": 5,
        "expires_at": None,
        "status": "completed",
        "file_counts": {"total": 1},
    },
    {"id": "vs_2", "object": "vector_store", "created_at": 1, "usage_bytes": 0, "status": "ready"},
]
SHIELD = {
    "identifier": "guard",
    "provider_id": "llama-guard",
    "provider_resource_id": "vllm/guard",
    "type": "shield",
    "params": {"threshold": 2, "api_key": SECRET},
}


class Kept(msgspec.Struct):
    """What a stack has, and what it was asked for; an error in a place is raised instead."""

    models: Any = (
        Model("vllm/small", "vllm", metadata={"a": 1}, provider_resource_id="small-1"),
        Model("vllm/embed", "vllm", "embedding"),
        Model("other", "second"),
    )
    shields: Any = (SHIELD,)
    tools: Any = tuple(TOOLS)
    providers: Any = tuple(PROVIDERS)
    vector_stores: Any = tuple(STORES)
    version: Any = "0.9.9"
    asked: list[str] = []


def away() -> Kept:
    """Return what a stack has that cannot be reached."""
    gone = StackUnavailable()
    return Kept(gone, gone, gone, gone, gone, gone)


_kept: dict[str, Kept] = {}
_numbers = count(1)


@contextmanager
def having(kept: Kept) -> Iterator[dict[str, Any]]:
    """Yield the settings of an application whose stack has this: a stack is made of settings alone."""
    name = f"catalogue-{next(_numbers)}"
    _kept[name] = kept
    try:
        yield {"name": name, "stack": STACK}
    finally:
        del _kept[name]


class CatalogueStack(BaseStack):
    """Has what the name in the settings stands for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._has = _kept[settings.name]

    def _tell(self, name: str) -> Any:
        self._has.asked.append(name)
        told = getattr(self._has, name)
        if isinstance(told, Exception):
            raise told
        return told

    async def models(self) -> Sequence[Model]:
        """See ``Stack``, as those below."""
        told: Sequence[Model] = self._tell("models")
        return told

    async def shields(self) -> Sequence[Any]:
        """Tell."""
        return list(self._tell("shields"))

    async def tools(self) -> Sequence[Any]:
        """Tell."""
        return list(self._tell("tools"))

    async def providers(self) -> Sequence[Any]:
        """Tell."""
        return list(self._tell("providers"))

    async def vector_stores(self) -> Sequence[Any]:
        """Tell."""
        return list(self._tell("vector_stores"))

    async def version(self) -> str:
        """Tell."""
        told: str = self._tell("version")
        return told
