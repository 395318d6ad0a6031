"""The settings, and how they are loaded."""

from agent.settings.load import load
from agent.settings.settings import Settings

__all__ = ["Settings", "load"]
