"""The command ``bybit-copyws``: demo, tail and sandbox.

Data goes to stdout, talk to stderr. Exit status: 0 fine, 1 trouble, 2 usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from getpass import getpass

from bybit_copyws.errors import BybitCopyWSError, ConfigurationError
from bybit_copyws.tools.demo import run_demo
from bybit_copyws.tools.sandbox import SandboxOptions, run_sandbox
from bybit_copyws.tools.tail import TailOptions, run_tail
from bybit_copyws.version import __version__
from bybit_copyws.wire.profiles import PROFILES

_EPILOG = """keys are read from BYBIT_API_KEY and BYBIT_API_SECRET (or asked for with --ask-keys),
never from arguments; BYBIT_ENVIRONMENT and BYBIT_PROFILE give defaults."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing can be said any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 0
    except ConfigurationError as error:
        print(f"bybit-copyws: {error}", file=sys.stderr)
        return 2
    except BybitCopyWSError as error:
        print(f"bybit-copyws: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bybit-copyws", description="Stream Bybit copy trading.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"bybit-copyws {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands.add_parser("demo", help="see it work: no network, no keys"))
    _add_tail(commands.add_parser("tail", help="print the messages of topics", epilog=_EPILOG))
    _add_sandbox(commands.add_parser("sandbox", help="run the local exchange until Ctrl-C"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = "Stream five topics from the local exchange, with a forced disconnect."
    parser.add_argument("--seconds", type=_positive, default=10.0, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the local exchange (default 1)")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="v3", help="default v3")
    parser.set_defaults(run=lambda a: run_demo(a.seconds, a.seed, a.profile))


def _add_tail(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print messages as they come, e.g.: tail publicTrade.BTCUSDT --count 10"
    parser.add_argument("topics", nargs="+", metavar="TOPIC", help="such as orderbook.1.BTCUSDT")
    parser.add_argument("--environment", default=os.environ.get("BYBIT_ENVIRONMENT") or "mainnet")
    parser.add_argument("--profile", default=os.environ.get("BYBIT_PROFILE") or "v3")
    parser.add_argument("--url", help="base URL instead, e.g. ws://127.0.0.1:8700 for a sandbox")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--count", type=_whole, help="end after so many messages")
    parser.add_argument("--seconds", type=_positive, help="end after so many seconds")
    parser.add_argument(
        "--proxy",
        help="http://host:port, or 'environment' for HTTPS_PROXY (where a password belongs)",
    )
    parser.add_argument("--ask-keys", action="store_true", help="ask for key and secret")
    parser.set_defaults(run=_tail)


def _tail(arguments: argparse.Namespace) -> int:
    api_key = os.environ.get("BYBIT_API_KEY") or None
    api_secret = os.environ.get("BYBIT_API_SECRET") or None
    if arguments.ask_keys:
        api_key, api_secret = getpass("API key: "), getpass("API secret: ")
    options = TailOptions(
        topics=tuple(arguments.topics),
        environment=arguments.environment,
        profile=arguments.profile,
        url=arguments.url,
        json=arguments.json,
        count=arguments.count,
        seconds=arguments.seconds,
        proxy=arguments.proxy,
    )
    return run_tail(options, api_key, api_secret)


def _add_sandbox(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run the local exchange, to build and try a bot against."
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--symbols", help="comma-separated, e.g. BTCUSDT,ETHUSDT")
    parser.add_argument("--speed", type=_positive, default=1.0, help="how fast time passes")
    parser.add_argument("--activity", type=_positive, default=1.0, help="how lively the market is")
    parser.add_argument(
        "--cadence",
        choices=("documented", "fast"),
        default="documented",
        help="push books as often as Bybit does, or at every change",
    )
    parser.add_argument("--scenario", metavar="FILE", help="what goes wrong, as JSON")
    parser.add_argument("--tls", action="store_true", help="with a throw-away authority")
    parser.set_defaults(run=_sandbox)


def _sandbox(arguments: argparse.Namespace) -> int:
    options = SandboxOptions(
        host=arguments.host,
        port=arguments.port,
        seed=arguments.seed,
        symbols=arguments.symbols,
        speed=arguments.speed,
        activity=arguments.activity,
        cadence=arguments.cadence,
        scenario=arguments.scenario,
        tls=arguments.tls,
    )
    return run_sandbox(options)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value


def _whole(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return value
