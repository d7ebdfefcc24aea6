"""``bybit-copyws sandbox``: run the local exchange until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from types import FrameType

_TEXT = """\
local exchange at {url} (v3 and v5), seed {seed}
throw-away key:    {key}
throw-away secret: {secret}

try it from another terminal:
  {trust}bybit-copyws tail publicTrade.{symbol} orderbook.1.{symbol} --url {url}

or from Python:
  {imports}from bybit_copyws import CopyTradingClient, Environment
  here = Environment("sandbox", "{url}", "{url}", "{rest}")
  client = CopyTradingClient("{key}", "{secret}", environment=here{context})
  client.subscribe("copyTradeExecution", lambda message: print(message.parse()))
  client.run_forever()

Ctrl-C ends it."""


@dataclass(frozen=True)
class SandboxOptions:
    """What the exchange is like."""

    host: str
    port: int
    seed: int
    symbols: str | None
    speed: float
    activity: float
    cadence: str
    scenario: str | None
    tls: bool


def run_sandbox(options: SandboxOptions) -> int:
    """Run the exchange until SIGINT or SIGTERM; return the exit status.

    Raises:
        ConfigurationError: a symbol or the scenario is wrong.
    """
    from bybit_copyws.sandbox import DEFAULT_SYMBOLS, Sandbox, Scenario  # noqa: PLC0415 (needs an extra; tail does not)

    stop = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    symbols = options.symbols
    names = [name.strip() for name in symbols.split(",")] if symbols else DEFAULT_SYMBOLS
    scenario = Scenario.load(options.scenario) if options.scenario is not None else None
    exchange = Sandbox(
        options.seed,
        host=options.host,
        port=options.port,
        symbols=names,
        speed=options.speed,
        activity=options.activity,
        cadence=options.cadence,
        tls=options.tls,
    )
    with exchange:
        if scenario is not None:
            exchange.play(scenario)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        ca_file = exchange.ca_file
        print(
            _TEXT.format(
                symbol=names[0],
                trust=f"SSL_CERT_FILE={ca_file} " if ca_file else "",
                imports="import ssl\n  " if ca_file else "",
                context=f', ssl_context=ssl.create_default_context(cafile="{ca_file}")'
                if ca_file
                else "",
                url=exchange.url,
                rest=exchange.environment.rest,
                seed=options.seed,
                key=exchange.api_key,
                secret=exchange.api_secret,
            ),
            flush=True,
        )
        while not stop.wait(0.5):
            _ = exchange.time_ms  # raises what has gone wrong inside
    return 0
