"""The command line: one file per command. Commands import what they need, so that ``--help`` is quick."""

from agent.cli.main import main

__all__ = ["main"]
