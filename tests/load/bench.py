"""Ours against a bare server: ``make bench``.

In each round every server is started anew and takes every mode in turn, so that what disturbs the
machine disturbs all of them. A ratio compares servers of one round; the table shows the median
over the rounds and [least-most]. On a busy machine trust the processor time each operation takes
(each event, for streams): another process can take the core away, which lowers a rate, but adds
little to the time spent. A generator near 100 % of its core was the bottleneck: the server is then
faster than shown.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvloop

from tests.fakes.postgres import run_postgres
from tests.load import agent_turns
from tests.load.connection import Connection
from tests.load.load import Load
from tests.load.model import NAME
from tests.load.servers import BARE, NAMES, STACKS, Running, Servers

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECTIONS = 32
WARM_UP_SECONDS = 0.5
LEAST_SECONDS = 0.5  # the processor time is told in hundredths of a second
STARTS = 5
AGENT_TURNS = 800
MODES = {
    "send-0.3": ("send", "0.3"),
    "send-1.0": ("send", "1.0"),
    "get-1.0": ("get", "1.0"),
    "stream-0.3": ("stream", "0.3"),
    "stream-1.0": ("stream", "1.0"),
}
ONCE = ("start", "statements", "agents")
# What ours must reach of the bare server's rate.
TARGETS = {
    ("send", "memory"): 0.20,
    ("send", "sqlite"): 0.15,
    ("stream", "memory"): 0.20,
    ("stream", "sqlite"): 0.15,
}


@dataclass(frozen=True)
class Sample:
    """One mode of one server in one round; operations, or the events of streams."""

    per_second: float
    cpu_us: float
    generator: float


type Samples = dict[tuple[str, str], list[Sample]]


def main() -> None:
    """Measure and print; exits with 1 at the first run that brought a wrong answer."""
    options = _options()
    names, modes = options.names, options.modes
    measured = [mode for mode in modes if mode in MODES]
    with run_postgres(durable=True) as postgres:  # started before pinning: it may use every core
        servers = Servers(postgres)
        if measured:
            samples = _rounds(servers, names, measured, options.rounds, options.seconds)
            _print_table(samples, names, measured)
        if "start" in modes:
            _print_starts(servers, names)
        if "statements" in modes:
            _print_statements(servers, names)
        if "agents" in modes:
            _print_agent_turns(servers, names, options.rounds)


def _options() -> argparse.Namespace:
    known = (*NAMES, *MODES, *ONCE)
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each mode and server")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME,NAME",
        help=f"some of {', '.join(known)}; send means both versions; bare is always measured",
    )
    options = parser.parse_args()
    for word in options.only:
        if not _chosen([word], known):
            parser.error(f"there is no {word!r} to measure")
    if options.rounds < 1 or options.seconds < LEAST_SECONDS:
        parser.error(f"at least 1 round and {LEAST_SECONDS} seconds")
    names = _chosen(options.only, NAMES) or NAMES
    options.names = [name for name in NAMES if name in names or name == BARE]
    options.modes = _chosen(options.only, (*MODES, *ONCE)) or [*MODES, *ONCE]
    return options


def _chosen(words: list[str], names: Iterable[str]) -> list[str]:
    """Return the names that begin with one of the words."""
    return [name for name in names if name.startswith(tuple(words))]


def _rounds(
    servers: Servers, names: list[str], modes: list[str], rounds: int, seconds: float
) -> Samples:
    samples: Samples = defaultdict(list)
    for number in range(1, rounds + 1):
        for name in names:
            print(f"round {number} of {rounds}: {name}", file=sys.stderr)
            with servers.run(name) as running:
                for mode in modes:
                    sample = uvloop.run(_measure(running, mode, seconds))
                    samples[mode, name].append(sample)
    return samples


async def _measure(running: Running, mode: str, seconds: float) -> Sample:
    operation, version = MODES[mode]
    load = Load(running.port, version)
    await load.measure(operation, seconds=WARM_UP_SECONDS, connections=CONNECTIONS)
    cpu, own = running.cpu_seconds(), time.process_time()
    measured = await load.measure(operation, seconds=seconds, connections=CONNECTIONS)
    cpu, own = running.cpu_seconds() - cpu, time.process_time() - own
    done = measured.events or measured.operations
    if measured.errors:
        sys.exit(f"wrong answer to {mode}: {measured.errors[0]}")
    return Sample(done / measured.seconds, cpu / done * 1e6, own / measured.seconds)


def _print_table(samples: Samples, names: list[str], modes: list[str]) -> None:
    row = "{:<11} {:<9} {:>26} {:>21} {:>9}  {:<17} {:<17} {}"
    ratios = ("rate of bare", "its CPU to ours", "target")
    print(row.format("mode", "server", "per second", "CPU us each", "generator", *ratios))
    for mode in modes:
        bare = samples[mode, BARE]
        for name in names:
            series = samples[mode, name]
            pairs = list(zip(series, bare, strict=True))
            rates = [ours.per_second / its.per_second for ours, its in pairs]
            target = TARGETS.get((MODES[mode][0], name))
            cells = (
                mode,
                name,
                _spread([s.per_second for s in series], ",.0f"),
                _spread([s.cpu_us for s in series], ".1f"),
                f"{statistics.median(s.generator for s in series):.0%}",
                _spread(rates, ".2f"),
                _spread([its.cpu_us / ours.cpu_us for ours, its in pairs], ".2f"),
                f">= {target:.2f} {_verdict(rates, target)}" if target else "",
            )
            print(row.format(*cells).rstrip())


def _verdict(ratios: list[float], target: float) -> str:
    return "reached" if statistics.median(ratios) >= target else "MISSED"


def _spread(values: list[float], form: str) -> str:
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:{form}} [{least:{form}}-{most:{form}}]"


def _print_starts(servers: Servers, names: list[str]) -> None:
    for name in names:
        seconds = []
        for _ in range(STARTS):
            with servers.run(name) as running:
                seconds.append(running.start_seconds)
        print(f"start to first answer, {name}: {_spread(seconds, '.2f')} s")


def _print_statements(servers: Servers, names: list[str]) -> None:
    for name in names:
        if name != BARE:
            with servers.run(name, stack=f"{STACKS}CountingStack") as running:
                count = asyncio.run(_statements(running.port))
            print(f"SQL statements of an answer of 1,000 deltas in 2 s, {name}: {count}")


def _print_agent_turns(servers: Servers, names: list[str], rounds: int) -> None:
    """With a model in the process of the server, and with one that is called over HTTP."""
    with servers.model() as url:
        openai = {"openai": {"base_url": url, "api_key": "none needed", "model": NAME}}
        models: dict[str, dict[str, Any]] = {
            "a stub model": {"stack": "tests.load.stub_model:StubbedStack"},
            "a model over HTTP": {"stack": "", "more": openai},
        }
        for name in names:
            for model, how in models.items() if name != BARE else ():
                costs = []
                for _ in range(rounds):
                    with servers.run(name, **how) as running:
                        cost = agent_turns.measure(running, turns=AGENT_TURNS, connections=8)
                        costs.append(uvloop.run(cost))
                _print_costs(f"{model}, {name}", costs)


def _print_costs(name: str, costs: list[agent_turns.Cost]) -> None:
    spent = [cost.cpu_ms for cost in costs]
    ratio = agent_turns.LLAMA_STACK_MS / statistics.median(spent)
    print(
        f"agent turn over /v1alpha/agents, embedded with {name}: {_spread(spent, '.2f')} ms of CPU, "
        f"{_spread([cost.per_second for cost in costs], ',.0f')} a second; "
        f"{ratio:.0f} times cheaper than Llama Stack 0.3.5's {agent_turns.LLAMA_STACK_MS:.0f} ms "
        f"(>= 20: {'reached' if ratio >= 20 else 'MISSED'})"
    )


async def _statements(port: int) -> int:
    """Return what one answer costs; asking costs something too, which is taken off."""
    load, connection = Load(port, chunks=1000), Connection(port)
    counts = [int(await load.ask(connection, "statements")) for _ in range(2)]
    await load.stream(connection, pause_ms=2)
    counts.append(int(await load.ask(connection, "statements")))
    connection.close()
    return counts[2] - counts[1] - (counts[1] - counts[0])


if __name__ == "__main__":
    main()
