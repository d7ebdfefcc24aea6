"""``bybit-copyws sandbox``: run the local exchange until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_TEXT = """\
local exchange at {url} (v3 and v5), seed {seed}
throw-away key:    {key}
throw-away secret: {secret}

try it from another terminal:
  bybit-copyws tail publicTrade.BTCUSDT orderbook.1.BTCUSDT --url {url}

or from Python:
  from bybit_copyws import CopyTradingClient, Environment
  here = Environment("sandbox", "{url}", "{url}", "{rest}")
  client = CopyTradingClient("{key}", "{secret}", environment=here)
  client.subscribe("copyTradeExecution", lambda message: print(message.parse()))
  client.run_forever()

Ctrl-C ends it."""


def run_sandbox(host: str, port: int, seed: int, symbols: str | None) -> int:
    """Run the exchange until SIGINT or SIGTERM; return the exit status."""
    from bybit_copyws.sandbox import DEFAULT_SYMBOLS, Sandbox  # noqa: PLC0415 (needs an extra; tail does not)

    stop = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    names = [name.strip() for name in symbols.split(",")] if symbols else DEFAULT_SYMBOLS
    exchange = Sandbox(seed, host=host, port=port, symbols=names)
    with exchange:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        print(
            _TEXT.format(
                url=exchange.url,
                rest=exchange.environment.rest,
                seed=seed,
                key=exchange.api_key,
                secret=exchange.api_secret,
            ),
            flush=True,
        )
        while not stop.wait(0.5):
            pass
    return 0
