"""What the way from the wire to the callback costs, beside other clients, in one run.

    pip install -e '.[bench]'
    python benchmarks/compare.py

Server and client are processes of their own, each on a core of its own. Runs are interleaved:
every client in every setting, then again; what is shown are medians, and ratios to this library
within the same round (median, and the smallest and the largest). Times on a shared machine are
noisy; ratios are less so. ``--json FILE`` keeps every single measurement.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import trustme
from clients import CLIENTS, PUMPS

HERE = Path(__file__).parent
OURS = "bybit_copyws"
PATIENCE = 120
# How many messages make a run of about half a second, for the slowest and for the fastest.
COUNTS = {"small": 60_000, "large": 3_000, "delta": 20_000}
KEEPERS = (OURS, "pybit")  # clients that keep a book: only they are asked for the setting "delta"
SLOW = {"pybit": 6, "WebSocketApp, defaults, json": 5, "WebSocketApp, tuned, orjson": 3}
RATE, LATENCY_COUNT = 1_000, 5_000
IMPORTS = {
    OURS: "bybit_copyws",
    "pybit": "pybit.unified_trading",
    "websocket-client": "websocket",
    "websockets sync": "websockets.sync.client",
    "aiohttp": "aiohttp",
    "picows": "picows",
    "requests": "requests",
    "(nothing)": "sys",
}
IMPORT = """
import time; begun = time.perf_counter()
import {}
took = time.perf_counter() - begun
import json, resource
print(json.dumps([took * 1000, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""

Setting = tuple[str, str, str]  # transport, framing, size


class Cores:
    """Two cores, one for each side; the same one twice where there is no other."""

    def __init__(self) -> None:
        known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._server, self._client = (known[-1:], known[:1]) if known else ([], [])

    def server(self, process: psutil.Popen) -> psutil.Popen:
        return self._pin(process, self._server)

    def client(self, process: psutil.Popen) -> psutil.Popen:
        return self._pin(process, self._client)

    @staticmethod
    def _pin(process: psutil.Popen, cores: list[int]) -> psutil.Popen:
        if cores:
            process.cpu_affinity(cores)
        return process


class Bench:
    """Runs one client against one server at a time."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        self._ca, self._cert, self._key = (folder / name for name in ("ca", "cert", "key"))
        authority.cert_pem.write_to_path(self._ca)
        certificate.cert_chain_pems[0].write_to_path(self._cert)
        certificate.private_key_pem.write_to_path(self._key)
        self._cores = Cores()

    def run(self, client: str, setting: Setting, count: int, rate: float = 0) -> dict[str, float]:
        transport, framing, size = setting
        tls = transport == "TLS"
        command = [sys.executable, HERE / "flood.py", "--size", size, "--framing", framing]
        # More than is counted: how a client behaves at the end is not measured.
        command += ["--count", str(count + 1000), "--rate", str(rate)]
        if tls:
            command += ["--cert", self._cert, "--key", self._key]
        server = self._cores.server(psutil.Popen(command, stdout=subprocess.PIPE, text=True))
        try:
            port = int(server.stdout.readline())
            url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
            command = [sys.executable, HERE / "clients.py", client, url, "--size", size]
            command += ["--count", str(count), *(["--latency"] if rate else [])]
            if tls:
                command += ["--ca", self._ca]
            process = self._cores.client(psutil.Popen(command, stdout=subprocess.PIPE, text=True))
            out, _ = process.communicate(timeout=PATIENCE)
            result: dict[str, float] = json.loads(out.splitlines()[-1])
            return result
        finally:
            server.kill()
            server.communicate()


def ratios(rounds: Sequence[dict[str, float]], ours: Sequence[dict[str, float]], key: str) -> str:
    """Show peer / ours within each round: the median, the smallest and the largest."""
    found = [peer[key] / own[key] for peer, own in zip(rounds, ours, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def measure_cost(bench: Bench, clients: list[str], settings: list[Setting], rounds: int) -> Any:
    results: dict[Setting, dict[str, list[dict[str, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for number in range(rounds):
        for setting in settings:
            able = [each for each in clients if setting[2] != "delta" or each in KEEPERS]
            order = random.sample(able, len(able))
            for client in order:
                count = COUNTS[setting[2]] // SLOW.get(client, 1)
                results[setting][client].append(bench.run(client, setting, count))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return results


def show_cost(results: Any, clients: list[str]) -> None:
    for setting, measured in results.items():
        transport, framing, size = setting
        print(f"\n{transport}, {framing} frame{'s'[: framing == 'many']} a write, {size} messages")
        ours = measured[OURS]
        print(
            table(
                ("client", "CPU us", "wall us", "CPU ratio", "wall ratio"),
                [
                    (
                        client,
                        f"{statistics.median(run['cpu_us'] for run in measured[client]):.2f}",
                        f"{statistics.median(run['wall_us'] for run in measured[client]):.2f}",
                        ratios(measured[client], ours, "cpu_us"),
                        ratios(measured[client], ours, "wall_us"),
                    )
                    for client in clients
                    if client in measured
                ],
            )
        )


def measure_latency(bench: Bench, clients: list[str], transports: list[str], rounds: int) -> Any:
    results: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(rounds):
        for transport in transports:
            for client in random.sample(clients, len(clients)):
                setting = (transport, "one", "small")
                results[transport][client].append(bench.run(client, setting, LATENCY_COUNT, RATE))
    return results


def show_latency(results: Any, clients: list[str]) -> None:
    for transport, measured in results.items():
        print(f"\n{transport}: microseconds from send to callback at {RATE:,} messages a second")
        ours = measured[OURS]
        print(
            table(
                ("client", "p50", "p99", "p99.9", "p50 ratio", "p99 ratio"),
                [
                    (
                        client,
                        *(
                            f"{statistics.median(run[key] for run in measured[client]):.0f}"
                            for key in ("p50", "p99", "p99.9")
                        ),
                        ratios(measured[client], ours, "p50"),
                        ratios(measured[client], ours, "p99"),
                    )
                    for client in clients
                    if client in measured
                ],
            )
        )


def measure_imports(rounds: int) -> dict[str, tuple[float, float]]:
    found: dict[str, list[list[float]]] = defaultdict(list)
    for _, (name, module) in itertools.product(range(rounds), IMPORTS.items()):
        command = [sys.executable, "-c", IMPORT.format(module)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name].append(json.loads(done.stdout))
    return {
        name: (
            statistics.median(each[0] for each in runs),
            statistics.median(each[1] for each in runs),
        )
        for name, runs in found.items()
    }


def show_imports(found: dict[str, tuple[float, float]]) -> None:
    print("\nimport")
    rows = [(name, f"{took:.0f}", f"{memory:.0f}") for name, (took, memory) in found.items()]
    print(table(("module", "ms", "MB"), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", nargs="+", choices=(*CLIENTS, *PUMPS), default=list(CLIENTS))
    parser.add_argument("--settings", nargs="+", default=["TCP", "TLS", "one", "many"],
                        help="some of TCP TLS one many small large, or delta (kept)")  # fmt: skip
    parser.add_argument("--only", choices=("cost", "latency", "import"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clients = [OURS, *(client for client in options.clients if client != OURS)]
    chosen = set(options.settings)
    sizes = ("delta",) if "delta" in chosen else ("small", "large")
    kinds = (("TCP", "TLS"), ("many", "one"), sizes)
    settings = [
        setting
        for setting in itertools.product(*kinds)
        if all(
            part in chosen or not chosen & set(kind)
            for part, kind in zip(setting, kinds, strict=True)
        )
    ]
    transports = list(dict.fromkeys(setting[0] for setting in settings))
    names = ("pybit", "websocket-client", "websockets", "aiohttp", "picows", "uvloop", "orjson")
    versions = {name: version(name) for name in (*names, "msgspec", "bybit_copyws")}
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    report: dict[str, Any] = {"python": platform.python_version(), "versions": versions}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if options.only in (None, "cost"):
            cost = measure_cost(bench, clients, settings, options.rounds)
            show_cost(cost, clients)
            report["cost"] = {", ".join(setting): runs for setting, runs in cost.items()}
        if options.only in (None, "latency"):
            latency = measure_latency(bench, clients, transports, options.rounds)
            show_latency(latency, clients)
            report["latency"] = latency
    if options.only in (None, "import"):
        report["import"] = measure_imports(options.rounds)
        show_imports(report["import"])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
