"""Run the real transport against Autobahn|Testsuite and print what it says.

See ``README.rst`` beside this file for how to get ``wstest``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme

from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.transport import Transport
from bybit_copyws.wire.frames import Binary, Item

AGENT = "bybit_copyws"
GROUPS = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
STRICT = ("OK", "INFORMATIONAL")
FLUSH_EVERY = 0.002  # seconds; in the library the heartbeat does it
PATIENCE = 20.0


class Suite:
    """Autobahn's fuzzing server, in a directory of its own."""

    def __init__(self, wstest: str, cases: list[str], folder: Path, *, tls: bool) -> None:
        self.reports = folder / "reports"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.context: ssl.SSLContext | None = None
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
        settings = {
            "url": self.url,
            "outdir": str(self.reports),
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
            **(self._make_certificate(folder) if tls else {}),
        }
        spec = folder / "spec.json"
        spec.write_text(json.dumps(settings))
        command = [wstest, "-m", "fuzzingserver", "-s", str(spec), "-u", "0"]
        self._log = (folder / "wstest.log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=folder)
        self._wait_until_it_listens(port)

    def _make_certificate(self, folder: Path) -> dict[str, str]:
        authority = trustme.CA()
        # The suite's OpenSSL of 2020 knows RSA keys for sure.
        certificate = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        key, chain = folder / "key.pem", folder / "chain.pem"
        certificate.private_key_pem.write_to_path(key)
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        return {"key": str(key), "cert": str(chain)}

    def _wait_until_it_listens(self, port: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                if self._process.poll() is not None:
                    break
                threading.Event().wait(0.05)
            else:
                return
        log = Path(self._log.name).read_text(errors="replace")
        raise SystemExit(f"wstest does not listen:\n{log}")

    def connect(self, path: str, take: Callable[[Transport, Item], None]) -> None:
        """Open one link and give it every item until it ends."""
        endpoint = Endpoint.parse(self.url + path)
        transport = Transport(
            endpoint, open_timeout=PATIENCE, max_message_size=16 * 2**20, context=self.context
        )
        over = threading.Event()

        def flush() -> None:
            while not over.wait(FLUSH_EVERY):
                transport.flush()

        def take_all(items: list[Item]) -> None:
            for item in items:
                take(transport, item)

        threading.Thread(target=flush, daemon=True).start()
        try:
            transport.run(lambda: None, take_all)
        finally:
            over.set()

    def ask(self, path: str) -> bytes:
        """Return the message that the suite sends on a path."""
        got: list[bytes] = []

        def take(transport: Transport, item: Item) -> None:
            if isinstance(item, bytes):
                got.append(item)
            else:
                transport.control(item)

        self.connect(path, take)
        return got[0] if got else b""

    def run_case(self, number: int) -> None:
        """Echo what a case sends."""
        self.connect(f"/runCase?case={number}&agent={AGENT}", echo)

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the suite's verdict of every case."""
        self.ask(f"/updateReports?agent={AGENT}")
        index = json.loads((self.reports / "index.json").read_text())
        cases: dict[str, dict[str, Any]] = index[AGENT]
        return cases

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()


def echo(transport: Transport, item: Item) -> None:
    """Send a message back in kind; let the transport answer control frames."""
    if isinstance(item, bytes):
        transport.send(item.decode())
    elif isinstance(item, Binary):
        transport.send(item.payload)
    else:
        transport.control(item)


def in_order(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


def show(results: dict[str, dict[str, Any]]) -> bool:
    """Print the table; return whether nothing is amiss."""
    groups: dict[str, Counter[str]] = {}
    for case, result in results.items():
        groups.setdefault(case.split(".")[0], Counter())[result["behavior"]] += 1
    print(f"{'group':>5} {'cases':>6} {'OK':>5} {'info':>5} {'other':>6}")
    for group, counts in sorted(groups.items(), key=lambda row: int(row[0])):
        cases = counts.total()
        ok, info = counts["OK"], counts["INFORMATIONAL"]
        print(f"{group:>5} {cases:>6} {ok:>5} {info:>5} {cases - ok - info:>6}")
    behaviour = Counter(result["behavior"] for result in results.values())
    closing = Counter(result["behaviorClose"] for result in results.values())
    print("behaviour:", dict(behaviour.most_common()))
    print("closing:  ", dict(closing.most_common()))
    amiss = [
        case
        for case, result in results.items()
        if result["behavior"] not in STRICT or result["behaviorClose"] not in STRICT
    ]
    for case in sorted(amiss, key=in_order):
        result = results[case]
        print(f"  {case}: {result['behavior']}, closing {result['behaviorClose']}")
    return not amiss


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wstest", default=shutil.which("wstest"), help="path of wstest")
    parser.add_argument("--tls", action="store_true", help="run over TLS")
    parser.add_argument("--cases", nargs="+", default=list(GROUPS), help="such as 6.* 9.1.*")
    parser.add_argument("--json", type=Path, help="write the verdicts into a file")
    arguments = parser.parse_args()
    if not arguments.wstest:
        parser.error("no wstest on the PATH: see tests/conformance/README.rst")
    with tempfile.TemporaryDirectory() as folder:
        wstest = str(Path(arguments.wstest).absolute())
        suite = Suite(wstest, arguments.cases, Path(folder), tls=arguments.tls)
        try:
            count = int(suite.ask("/getCaseCount"))
            for number in range(1, count + 1):
                suite.run_case(number)
                if sys.stderr.isatty():
                    print(f"\r{number} of {count}", end="", file=sys.stderr)
            results = suite.results()
        finally:
            suite.stop()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1, sort_keys=True))
    return 0 if show(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
