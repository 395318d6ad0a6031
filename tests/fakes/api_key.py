"""An API key, for tests that need callers who are authenticated."""

from __future__ import annotations

from typing import Any

KEY = "k3y-of-the-tests"
KEYED: dict[str, Any] = {"module": "api-key-token", "api_key_config": {"api_key": KEY}}
"""The settings' section ``authentication``."""

SHOWN = {"authorization": f"Bearer {KEY}"}
"""The header, or the metadata, of who knows it."""
