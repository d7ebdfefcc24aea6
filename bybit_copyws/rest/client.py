"""The REST client: options, life, and all calls."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.options import (
    check_kinds,
    check_seconds,
    check_size,
    credentials_or_error,
)
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.rest.caller import Caller, CallSettings
from bybit_copyws.rest.connection import Dialler
from bybit_copyws.rest.dialects import find_dialect
from bybit_copyws.rest.market import MarketCalls
from bybit_copyws.rest.route import check_route, endpoint_of
from bybit_copyws.rest.trading import TradingCalls
from bybit_copyws.rest.transport import Transport
from bybit_copyws.stream.proxy import Proxy, ProxyChoice, proxy_or_error
from bybit_copyws.wire.profiles import Environment, Profile, find_environment, find_profile
from bybit_copyws.wire.signing import Credentials

_MIB = 2**20
_MOST_RETRIES = 20


@dataclass(frozen=True)
class _Route:
    """How the exchange is reached; see :class:`RestClient` for the meaning."""

    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    max_response_size: int = 16 * _MIB
    proxy: ProxyChoice = field(default=None, repr=False)
    ssl_context: ssl.SSLContext | None = None


class RestClient(TradingCalls, MarketCalls):
    """Bybit's REST API for copy trading: the account, its orders and positions, the market.

    Every call blocks until it is answered or has failed, at most ``total_timeout``; waits for the
    limits of the exchange and all tries are part of that. All methods are safe from any thread, and
    several may call at once. Nothing is opened before the first call. Use it as a context manager,
    or :meth:`close` it.

    What reads is tried again after trouble. An order is, if it has an ``order_link_id``, by which
    it is found if it was made already. Nothing else is, except what the exchange has refused to
    look at: too many calls, or a timestamp outside the window.

    Args:
        api_key: API key; not for public calls.
        api_secret: its secret (or the PEM text of an RSA private key, with the ``rsa`` extra).
        environment: as of :class:`~bybit_copyws.CopyTradingClient`.
        profile: ``"v3"`` or ``"v5"``, or a :class:`~bybit_copyws.Profile` with one of these names.
        connect_timeout: seconds for name look-up, TCP, proxy and TLS together.
        read_timeout: seconds that the exchange may be silent in a reply, or before it.
        total_timeout: seconds that a call may take in all.
        recv_window: seconds for which a signed request is valid.
        max_response_size: bytes; a longer reply is refused.
        retries: how often a call may be tried again.
        backoff: waits between tries.
        proxy: as of :class:`~bybit_copyws.CopyTradingClient`.
        ssl_context: TLS settings; ``None`` for Python's defaults. Certificates must be checked if a
            key is given, unless the host is this machine.

    Raises:
        ConfigurationError: an argument can never work; the text names it and the cure.
    """

    def __init__(
        self,
        api_key: str | None = None,
        api_secret: str | None = None,
        *,
        environment: str | Environment = "mainnet",
        profile: str | Profile = "v3",
        connect_timeout: float = 5.0,
        read_timeout: float = 10.0,
        total_timeout: float = 30.0,
        recv_window: float = 5.0,
        max_response_size: int = 16 * _MIB,
        retries: int = 3,
        backoff: Backoff | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        credentials = credentials_or_error(api_key, api_secret)
        # A traceback may be shown with the local variables of its frames.
        proxy_choice = proxy_or_error(proxy)
        del api_key, api_secret, proxy
        if isinstance(credentials, ConfigurationError):
            raise credentials
        if isinstance(proxy_choice, ConfigurationError):
            raise proxy_choice
        times = {
            "connect_timeout": connect_timeout,
            "read_timeout": read_timeout,
            "total_timeout": total_timeout,
            "recv_window": recv_window,
        }
        for name, seconds in times.items():
            check_seconds(name, seconds)
        check_size("max_response_size", max_response_size)
        check_kinds(backoff, None, ssl_context)
        if (
            isinstance(retries, bool)
            or not isinstance(retries, int)
            or not (0 <= retries <= _MOST_RETRIES)
        ):
            raise ConfigurationError(
                f"retries must be a whole number from 0 to {_MOST_RETRIES}, not {retries!r}"
            )
        settings = CallSettings(
            total_timeout, recv_window, retries, backoff or CallSettings().backoff
        )
        route = _Route(connect_timeout, read_timeout, max_response_size, proxy_choice, ssl_context)
        found = find_profile(profile)
        self._set_up(credentials, found, find_environment(found, environment), route, settings)

    @classmethod
    def beside_streams(
        cls,
        credentials: Credentials | None,
        profile: Profile,
        environment: Environment,
        proxy: ProxyChoice,
        ssl_context: ssl.SSLContext | None,
    ) -> RestClient:
        """Make the one of a streaming client, whose options are checked already.

        Raises:
            ConfigurationError: the environment has no usable URL for REST.
        """
        client = cls.__new__(cls)
        route = _Route(proxy=proxy, ssl_context=ssl_context)
        client._set_up(  # noqa: SLF001 (its own)
            credentials, profile, environment, route, CallSettings()
        )
        return client

    def _set_up(
        self,
        credentials: Credentials | None,
        profile: Profile,
        environment: Environment,
        route: _Route,
        settings: CallSettings,
    ) -> None:
        self._profile = profile
        self._environment = environment
        self._dialect = find_dialect(profile.name)
        endpoint = endpoint_of(environment.rest)
        if credentials is not None:
            known = route.proxy if isinstance(route.proxy, Proxy) else None
            check_route(endpoint, route.ssl_context, known)
        self._stopped = threading.Event()
        dialler = Dialler(
            endpoint,
            route.ssl_context,
            route.proxy,
            route.connect_timeout,
            route.read_timeout,
            guarded=credentials is not None,
        )
        self._transport = Transport(
            endpoint, environment.rest, dialler, route.max_response_size, self._stopped
        )
        self._caller = Caller(self._dialect, credentials, settings, self._transport, self._stopped)

    def clock_offset(self) -> float:
        """Measure by how many seconds the exchange's clock is ahead of this machine's.

        All signed calls use the exchange's clock; it is measured before the first of them, and
        again when the exchange refuses a timestamp.

        Raises:
            RestError: it could not be measured.
        """
        return self.exchange_ms() / 1000.0 - time.time()

    def exchange_ms(self, timeout: float | None = None) -> int:
        """Measure the exchange's clock, and return what it says now, in milliseconds since 1970.

        Args:
            timeout: seconds; ``None`` for ``total_timeout``.

        Raises:
            RestError: it could not be measured.
        """
        self._caller.measure_clock(timeout)
        return self._caller.server_ms() or 0

    def close(self) -> None:
        """End everything, from any thread: calls that are under way raise. Twice does nothing."""
        self._stopped.set()
        self._transport.close()

    def __enter__(self) -> RestClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_caller"):  # shown in a traceback of the constructor
            return "RestClient(<refused>)"
        return f"RestClient(environment={self._environment.name!r}, profile={self._profile.name!r})"
