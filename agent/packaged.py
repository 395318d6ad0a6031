"""Files that come with this server: the agent card and the documentation."""

from __future__ import annotations

from pathlib import Path


def packaged(name: str) -> Path:
    """Find ``agent_card.yaml`` or ``docs``: in the installed package, else in the source tree."""
    here = Path(__file__).parent
    installed = here / "package_data" / name
    return installed if installed.exists() else here.parent / name
