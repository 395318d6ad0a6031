"""The ``run.yaml`` of library mode, with the vector stores of ``byok_rag`` put into it as LCS does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from agent.errors import SettingsError
from agent.settings.document import read_document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.settings.lcs import ByokRag

KEY = "llama_stack.library_client_config_path"
_SENTENCES = "sentence-transformers"


def write_config(config: Path, stores: Sequence[ByokRag], folder: Path) -> Path:
    """Write the file with these stores into a folder; returns its path. Raises ``SettingsError``.

    What the file has already stays as it is, references to variables too.
    """
    document = read_document(config)
    try:
        for store in stores:
            _add(document, store)
    except (AttributeError, TypeError) as exc:  # a list where there should be a mapping, or such
        raise SettingsError(KEY, f"{config} is not laid out as byok_rag needs it") from exc
    written = folder / "run.yaml"
    written.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return written


def _add(document: dict[str, Any], store: ByokRag) -> None:
    """Add a store, its provider and its file; one that the file has by its id is left alone."""
    resources = _mapping(document, "registered_resources")
    registered = _list(resources, "vector_stores")
    if any(each.get("vector_store_id") == store.vector_db_id for each in registered):
        return
    provider, backend = f"byok_{store.rag_id}", f"byok_{store.rag_id}_storage"
    registered.append(
        {
            "vector_store_id": store.vector_db_id,
            "provider_id": provider,
            "embedding_model": store.embedding_model,
            "embedding_dimension": store.embedding_dimension,
        }
    )
    providers = _mapping(document, "providers")
    persistence = {"namespace": "vector_io::faiss", "backend": backend}
    _list(providers, "vector_io").append(
        {
            "provider_id": provider,
            "provider_type": store.rag_type,
            "config": {"persistence": persistence},
        }
    )
    file = {"type": "kv_sqlite", "db_path": str(store.db_path.absolute())}
    _mapping(_mapping(document, "storage"), "backends")[backend] = file
    _add_model(_list(resources, "models"), _list(providers, "inference"), store)
    if "apis" in document and "vector_io" not in document["apis"]:
        document["apis"].append("vector_io")


def _add_model(models: list[Any], inference: list[Any], store: ByokRag) -> None:
    """Add the embedding model where the provider that LCS takes for it is there, and the model is not."""
    provider, _, name = store.embedding_model.partition("/")
    has_provider = any(each.get("provider_id") == _SENTENCES for each in inference)
    known = any(each.get("model_id") in (store.embedding_model, name) for each in models)
    if provider == _SENTENCES and has_provider and not known:
        models.append(
            {
                "model_id": store.embedding_model,
                "provider_id": _SENTENCES,
                "provider_model_id": store.embedding_model,
                "model_type": "embedding",
                "metadata": {"embedding_dimension": store.embedding_dimension},
            }
        )


def _mapping(parent: dict[str, Any], key: str) -> dict[str, Any]:
    parent[key] = found = parent.get(key) or {}
    return found


def _list(parent: dict[str, Any], key: str) -> list[Any]:
    parent[key] = found = parent.get(key) or []
    return found
