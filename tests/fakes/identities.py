"""Users as a gateway in front of the server tells of them, for tests that need two on every binding."""

from __future__ import annotations

import base64
import json
from typing import Any

TOLD: dict[str, Any] = {"module": "rh-identity", "rh_identity_config": {}}
"""The settings' section ``authentication``."""


def user(name: str) -> dict[str, str]:
    """Return the header, or the metadata, of a user."""
    identity = {
        "type": "User",
        "org_id": "1",
        "account_number": "1",
        "user": {"user_id": name, "username": name.capitalize()},
    }
    told = json.dumps({"identity": identity}).encode()
    return {"x-rh-identity": base64.b64encode(told).decode()}
