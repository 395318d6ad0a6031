"""The embedded stack: in process, no service, no network."""

from agent.stacks.embedded.stack import EmbeddedStack

__all__ = ["EmbeddedStack"]
