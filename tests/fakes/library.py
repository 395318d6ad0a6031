"""A package ``llama_stack`` for library mode: its server is one of the fake Llama Stacks.

It writes down in the folder of ``PYTHONPATH`` who it is. The word ``api`` of the ``run.yaml`` says which
one it is, or ``none``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]

_SERVER = """
import json
import os
import sys
from pathlib import Path

import yaml


def create_app():
    path = Path(os.environ["LLAMA_STACK_CONFIG"])
    azure = os.environ.get("AZURE_API_KEY")
    note = {"pid": os.getpid(), "socket": sys.argv[1], "azure": azure}
    Path(__file__).parents[3].joinpath("note").write_text(json.dumps(note))
    api = yaml.safe_load(path.read_text())["api"]
    if api == "none":
        raise RuntimeError("this Llama Stack does not start")
    if api == "agents":
        from tests.fakes.llama_stack import FakeLlamaStack as Fake, Script, answer
    else:
        from tests.fakes.responses import FakeResponses as Fake, Script, answer
    fake = Fake()
    fake.scripts = [Script(answer("from the library")) for _ in range(20)]
    return fake.app
"""


class Note(msgspec.Struct):
    """What a server writes down."""

    pid: int
    socket: Path
    azure: str | None


class Library:
    """The package, in a folder for the variable ``PYTHONPATH``, and a ``run.yaml``."""

    def __init__(self, folder: Path, api: str = "responses") -> None:
        package = folder / "packages" / "llama_stack" / "core" / "server"
        package.mkdir(parents=True)
        for each in (package, package.parent, package.parents[1]):
            (each / "__init__.py").touch()
        (package / "server.py").write_text(_SERVER)
        self.config = folder / "run.yaml"
        self.config.write_text(f"api: {api}\n")
        self.path = f"{folder / 'packages'}:{ROOT}"

    @property
    def settings(self) -> dict[str, Any]:
        """LCS's part of the section ``llama_stack``."""
        return {
            "use_as_library_client": True,
            "library_client_config_path": str(self.config),
        }

    @property
    def note(self) -> Note:
        """What the last server has written down."""
        said = (self.config.parent / "packages" / "note").read_bytes()
        return msgspec.json.decode(said, type=Note, dec_hook=lambda kind, value: kind(value))
