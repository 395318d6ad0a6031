"""What ``pip install`` puts on a machine that has no checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING
from zipfile import ZipFile

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run([sys.executable, "-m", *build], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ``bin`` of an environment with the wheel and the libraries of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    install = ["pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([programs / "python", "-m", *install], check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # A folder named in a .pth file is searched last, and its own .pth files are not read: one of
    # them names the checkout.
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def test_the_wheel_holds_the_card_and_the_documentation(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    pages = {path.relative_to(ROOT) for path in ROOT.glob("docs/**/*.md")}
    assert pages
    assert {f"agent/package_data/{path}" for path in {*pages, Path("agent_card.yaml")}} <= names


def test_the_wheel_holds_nothing_but_the_packages(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "agent",
        "a2a_state",
        "rest_compat",
    }


def test_the_installed_server_answers_its_card(programs: Path, tmp_path: Path) -> None:
    """Nothing of the checkout is in reach, neither as working directory nor on the path."""
    with _serving(programs / "llamastack-a2a", tmp_path) as card:
        answer = httpx.get(card, timeout=30)
    assert answer.status_code == 200
    assert answer.json()["skills"]


@contextmanager
def _serving(program: Path, folder: Path) -> Iterator[str]:
    """Run the server, and yield the URL of the card that it announces when it is up."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with subprocess.Popen(
        [program, "serve", "--host", "127.0.0.1", "--port", "0"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        too_late = Timer(START_SECONDS, server.kill)  # then its output ends, and so does the wait
        too_late.start()
        try:
            yield _announced(server)
        finally:
            too_late.cancel()
            server.terminate()


def _announced(server: subprocess.Popen[str]) -> str:
    assert server.stderr
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"http://\S+/agent-card\.json", line):
            return found[0]
    pytest.fail(f"the server did not start:\n{''.join(said)}")
