"""``serve``: run the server."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from agent.cli import exits
from agent.cli.configured import CONFIG, config_option, environment, settings_from
from agent.cli.descriptors import raise_descriptors, within_descriptors
from agent.cli.starting import Starting

if TYPE_CHECKING:
    from pathlib import Path

    from uvicorn import Config

    from agent.settings import Settings

SHUTDOWN_SECONDS = 10
KEEP_ALIVE_SECONDS = 65
_log = logging.getLogger(__name__)

_TALKATIVE = ("httpx", "httpx2", "mcp.client", "alembic")

STARTED = "LLAMASTACK_A2A_STARTED"
"""Tells the worker processes when the server was started, so that they serve the same card."""


@click.command()
@config_option
@click.option("--host", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any that is free."
)
@click.option(
    "--knowledge", type=click.Path(exists=True, file_okay=False), help="Documents folder."
)
@click.option("--stack", metavar="PACKAGE.MODULE:CLASS", help="A stack of your own.")
@click.option("--workers", type=click.IntRange(1), help="Server processes.")
def serve(
    config: Path | None,
    host: str | None,
    port: int | None,
    knowledge: str | None,
    stack: str | None,
    workers: int | None,
) -> None:
    """Run the server."""
    options: dict[str, object] = {
        "SERVICE__HOST": host,
        "SERVICE__PORT": port,
        "SERVICE__WORKERS": workers,
        "KNOWLEDGE": knowledge,
        "STACK": stack,
    }
    settings = settings_from(config, options)
    if settings.service.port == 0:
        # The card names the port, so it is chosen before anything is made.
        options["SERVICE__PORT"] = _free_port(settings.service.host)
        settings = settings_from(config, options)
    # Worker processes inherit them.
    raise_descriptors(settings)
    if settings.service.workers > 1:
        _serve_many(settings, config, environment(options))
    else:
        _serve_one(settings)


def app_of_environment() -> Starting:
    """Return the application of a worker process, which has its settings from the environment."""
    from pathlib import Path

    config = os.environ.get(CONFIG)
    _tune_interpreter()
    started = datetime.fromisoformat(os.environ[STARTED]) if STARTED in os.environ else None
    return _application(settings_from(Path(config) if config else None, {}), started)


def _application(settings: Settings, started: datetime | None = None) -> Starting:
    """Return the application as it is served here; raises ``SettingsError``."""
    from agent.app import create_app
    from agent.cli.stopping import Stopping
    from agent.transport.hosts import with_known_hosts

    settings = within_descriptors(settings)
    app = with_known_hosts(create_app(settings, started), settings)
    return Starting(Stopping(app, settings.a2a.drain_seconds))


def _serve_one(settings: Settings) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Says where it listens once it does."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            _tune_interpreter()
            if self.started:
                _announce(settings)

    app = _application(settings)
    server = Server(_uvicorn(settings, app))
    try:
        server.run()
    except SystemExit:
        # uvicorn's own codes mean something else here.
        sys.exit(app.exit_code)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port: int = listener.getsockname()[1]
        return port


def _tune_interpreter() -> None:
    """Set up the garbage collector and the switching of threads for a server.

    What was made at start stays, and what requests make is nearly always freed without the
    collector, which takes a fifth of the time of a small request otherwise. The thread that writes
    to SQLite waits for the interpreter often and shortly: the event loop gives way sooner.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.0005)


def _serve_many(settings: Settings, config: Path | None, variables: dict[str, str]) -> None:
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    from agent.app import create_app

    if settings.state.memory:
        raise click.UsageError("Several workers need a database that they share: set a2a_state")
    # What cannot be served is told once, here: a worker that fails is started again and again.
    create_app(settings)
    os.environ.update(variables)
    os.environ[STARTED] = datetime.now(UTC).isoformat()
    if config is not None:
        os.environ[CONFIG] = str(config)
    uvicorn_config = _uvicorn(settings, "agent.cli.serve:app_of_environment")
    sockets = [uvicorn_config.bind_socket()]
    _announce(settings)
    workers = Multiprocess(uvicorn_config, sockets)
    workers.run()
    if any(process.exitcode == STARTUP_FAILURE for process in workers.processes):
        sys.exit(exits.FAILED)


def _uvicorn(settings: Settings, app: Any) -> Config:
    """Return uvicorn's settings; ``root_path`` is the application's, which takes it in both forms."""
    from agent.cli.bounded_http import BoundedHttp
    from agent.cli.handshakes import HandshakeConfig
    from agent.transport.tls import check_tls, read_password

    service, tls = settings.service, settings.service.tls_config
    check_tls(tls)
    # uvicorn's own default believes everybody on this machine, which a tunnel into it is, too.
    proxies = service.trusted_proxies or os.environ.get("FORWARDED_ALLOW_IPS", "").split(",")
    return HandshakeConfig(
        app,
        handshake_seconds=settings.limits.head_seconds,
        factory=isinstance(app, str),
        # uvicorn takes what is not a coroutine function for ASGI 2.
        interface="asgi3",
        host=service.host,
        port=service.port,
        workers=service.workers,
        access_log=service.access_log,
        http=BoundedHttp,
        log_level="info",
        log_config=_logging(colored=service.color_log and sys.stderr.isatty()),
        ws="none",
        server_header=False,
        forwarded_allow_ips=[stripped for each in proxies if (stripped := each.strip())],
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        # Python speaks TLS 1.2 and 1.3 with these.
        ssl_certfile=tls.tls_certificate_path,
        ssl_keyfile=tls.tls_key_path,
        ssl_keyfile_password=read_password(tls),
    )


def _logging(*, colored: bool) -> dict[str, Any]:
    line = {
        "()": "agent.cli.log_lines.LogLines",
        "fmt": "%(asctime)s %(levelprefix)s %(name)s: %(message)s",
        "use_colors": colored,
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "filters": {"seldom": {"()": "agent.cli.seldom.Seldom"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        # One line for every request to Llama Stack and to MCP servers is too many, and names their URLs.
        "loggers": {name: {"level": "WARNING"} for name in _TALKATIVE}
        | {"uvicorn.error": {"filters": ["seldom"]}},
    }


def _announce(settings: Settings) -> None:
    wanted, most = settings.limits.connections, within_descriptors(settings).limits.connections
    if most < wanted:
        text = "limits.connections is %d, but the limit of open files allows %d: raise that (ulimit -n)"
        _log.warning(text, wanted, most)
    url = settings.service.public_url
    state = settings.state.url.render_as_string(hide_password=True)
    example = (
        f"curl -s {url}/a2a{_credentials(settings)} -H 'Content-Type: application/json' -d "
        '\'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"1",'
        '"role":"ROLE_USER","parts":[{"text":"What is this agent?"}]}}}\''
    )
    click.echo(
        f"\n  A2A agent   {url}/a2a\n"
        f"  card        {url}/.well-known/agent-card.json\n"
        f"  stack       {_stack(settings)}\n"
        f"  database    {state}\n\n"
        f"  Try it:\n  {example}\n",
        err=True,
    )


def _credentials(settings: Settings) -> str:
    """Return the option of curl that shows who calls; the shell's variable is for the reader to set."""
    match settings.authentication.module:
        case "noop":
            return ""
        case "rh-identity":
            return ' -H "x-rh-identity: $IDENTITY"'
        case _:
            return ' -H "Authorization: Bearer $TOKEN"'


def _stack(settings: Settings) -> str:
    if settings.stack is not None:
        return settings.stack
    if settings.llama_stack.url is not None:
        where = urlsplit(settings.llama_stack.url)
        return f"Llama Stack at {where.scheme}://{where.netloc.rpartition('@')[2]}{where.path}"
    if settings.llama_stack.library is not None:
        return f"Llama Stack as a library, {settings.llama_stack.library}"
    if settings.openai.is_set:
        return f"embedded, model {settings.openai.model or 'of the server'}"
    return "embedded, answers from documents (no language model is configured)"
