"""The two API generations as frozen data: hosts, paths, topics, dialects, limits.

Everything that differs between v3 copy trading and v5 stands here; no other module compares
version names. Sources: Bybit's v3 copy-trading pages (withdrawn in 2024) and its v5 "Connect",
"WebSocket" pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.models import (
    parse_book,
    parse_executions,
    parse_klines,
    parse_liquidations,
    parse_orders,
    parse_positions,
    parse_ticker,
    parse_trades,
    parse_wallet,
)
from bybit_copyws.wire.dialects import (
    ACKS_NAME_OP,
    ACKS_QUOTE_REQUEST,
    PONG_HAS_ARGS,
    Dialect,
)
from bybit_copyws.wire.topics import Scope, TopicSpec, TopicTable


@dataclass(frozen=True)
class Environment:
    """Where the exchange is reached: base URLs, to which the profile adds its paths.

    A URL that already has a path is taken as it is.

    Args:
        name: what it is called in texts.
        public: ``wss://`` base of the public stream.
        private: ``wss://`` base of the private stream.
        rest: ``https://`` base of the REST API.

    Raises:
        ConfigurationError: a URL is malformed or has user info, a query or a fragment.
    """

    name: str
    public: str
    private: str
    rest: str

    def __post_init__(self) -> None:
        """Check the URLs, so that a mistake shows where it is made."""
        for url, schemes in (
            (self.public, ("wss", "ws")),
            (self.private, ("wss", "ws")),
            (self.rest, ("https", "http")),
        ):
            _check_url(url, schemes)


@dataclass(frozen=True)
class Profile:
    """One API generation.

    Attributes:
        name: ``"v3"`` or ``"v5"``.
        public_path: path of the public stream.
        private_path: path of the private stream.
        topics: its topics and aliases.
        public: how operations and replies look on the public socket.
        private: the same on the private socket.
        environments: where it can be reached, by name.
        max_args: topics in one request.
        max_args_chars: characters of ``args`` on one connection; Bybit states it for v5, the
            same is kept on v3, where nothing is stated.
    """

    name: str
    public_path: str
    private_path: str
    topics: TopicTable
    public: Dialect
    private: Dialect
    environments: Mapping[str, Environment]
    max_args: int = 10
    max_args_chars: int = 21_000

    def dialect(self, scope: Scope) -> Dialect:
        """Return the dialect of one of the two sockets."""
        return self.public if scope is Scope.PUBLIC else self.private

    def url(self, environment: Environment, scope: Scope) -> str:
        """Return the full URL of one of the two streams."""
        public = scope is Scope.PUBLIC
        base = environment.public if public else environment.private
        if urlsplit(base).path.strip("/"):
            return base
        return base.rstrip("/") + (self.public_path if public else self.private_path)


def _check_url(url: str, schemes: tuple[str, ...]) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(f"{_shown(url)} is no URL") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ConfigurationError(f"{_shown(url)} must look like {schemes[0]}://host[:port][/path]")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ConfigurationError(
            f"the URL of {parts.hostname!r} must have no user info, query or fragment: keys given "
            "there end up in logs"
        )
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ConfigurationError(
            f"the URL of {parts.hostname!r} has characters that no URL has; write an "
            "internationalised name in its xn-- form"
        )
    return parts


def _shown(url: object) -> str:
    return repr(str(url).split("?")[0].split("@")[-1][:80])


def _bybit(name: str, stream: str, api: str, private: str | None = None) -> Environment:
    return Environment(name, f"wss://{stream}", f"wss://{private or stream}", f"https://{api}")


_MAINNET = _bybit("mainnet", "stream.bybit.com", "api.bybit.com")
_TESTNET = _bybit("testnet", "stream-testnet.bybit.com", "api-testnet.bybit.com")
# The demo account has its own private stream; its market data is the mainnet's.
_DEMO = _bybit("demo", "stream.bybit.com", "api-demo.bybit.com", "stream-demo.bybit.com")
_REGIONS = (
    _bybit("tr", "stream.bybit.tr", "api.bybit.tr"),
    _bybit("kz", "stream.bybit.kz", "api.bybit.kz"),
    _bybit("id", "stream.bybit.id", "api.bybit.id"),
    _bybit("ge", "stream.bybitgeorgia.ge", "api.bybitgeorgia.ge"),
    _bybit("jp", "stream.manepa.jp", "api.manepa.jp"),
)


def _by_name(*environments: Environment) -> Mapping[str, Environment]:
    return MappingProxyType({environment.name: environment for environment in environments})


_PUBLIC, _PRIVATE = Scope.PUBLIC, Scope.PRIVATE

_MARKET = (
    TopicSpec("orderbook", _PUBLIC, ("depth", "symbol"), parse_book),
    TopicSpec("publicTrade", _PUBLIC, ("symbol",), parse_trades),
    TopicSpec("tickers", _PUBLIC, ("symbol",), parse_ticker),
    TopicSpec("kline", _PUBLIC, ("interval", "symbol"), parse_klines),
)

COPY_TRADING_V3 = Profile(
    name="v3",
    public_path="/contract/usdt/public/v3",
    private_path="/realtime_private",
    topics=TopicTable(
        (
            *_MARKET,
            TopicSpec("liquidation", _PUBLIC, ("symbol",), parse_liquidations),
            TopicSpec("copyTradePosition", _PRIVATE, (), parse_positions),
            TopicSpec("copyTradeOrder", _PRIVATE, (), parse_orders),
            TopicSpec("copyTradeExecution", _PRIVATE, (), parse_executions),
            TopicSpec("copyTradeWallet", _PRIVATE, (), parse_wallet),
        ),
        foreign={
            "allLiquidation": "liquidation",
            "position": "copyTradePosition",
            "order": "copyTradeOrder",
            "execution": "copyTradeExecution",
            "wallet": "copyTradeWallet",
        },
    ),
    public=ACKS_NAME_OP,
    private=ACKS_QUOTE_REQUEST,
    environments=_by_name(_MAINNET, _TESTNET),
)
"""Bybit's v3 copy-trading API."""

V5 = Profile(
    name="v5",
    public_path="/v5/public/linear",
    private_path="/v5/private",
    topics=TopicTable(
        (
            *_MARKET,
            TopicSpec("allLiquidation", _PUBLIC, ("symbol",), parse_liquidations),
            TopicSpec("position", _PRIVATE, (), parse_positions),
            TopicSpec("position", _PRIVATE, ("category",), parse_positions),
            TopicSpec("order", _PRIVATE, (), parse_orders),
            TopicSpec("order", _PRIVATE, ("category",), parse_orders),
            TopicSpec("execution", _PRIVATE, (), parse_executions),
            TopicSpec("execution", _PRIVATE, ("variant",), parse_executions),
            TopicSpec("execution", _PRIVATE, ("fast", "category"), parse_executions),
            TopicSpec("wallet", _PRIVATE, (), parse_wallet),
        ),
        aliases={
            "copyTradePosition": "position",
            "copyTradeOrder": "order",
            "copyTradeExecution": "execution",
            "copyTradeWallet": "wallet",
            "liquidation": "allLiquidation",
        },
    ),
    public=ACKS_NAME_OP,
    private=PONG_HAS_ARGS,
    environments=_by_name(_MAINNET, _TESTNET, _DEMO, *_REGIONS),
)
"""Bybit's v5 API: the living successor, with the copy-trading names as aliases."""

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (COPY_TRADING_V3, V5)}
)


def find_profile(profile: str | Profile) -> Profile:
    """Return a profile by its name, or the given one.

    Raises:
        ConfigurationError: there is no profile of that name.
    """
    if isinstance(profile, Profile):
        return profile
    try:
        return PROFILES[profile]
    except (KeyError, TypeError):
        raise ConfigurationError(
            f"unknown profile {profile!r}; known are {', '.join(PROFILES)}"
        ) from None


def find_environment(profile: Profile, environment: str | Environment) -> Environment:
    """Return an environment of a profile by its name, or the given one.

    Raises:
        ConfigurationError: the profile has no environment of that name; the text says which
            profile has it.
    """
    if isinstance(environment, Environment):
        return environment
    if not isinstance(environment, str):
        raise ConfigurationError(
            f"an environment is a name or an Environment(...), not {type(environment).__name__}"
        )
    if environment in profile.environments:
        return profile.environments[environment]
    others = [other.name for other in PROFILES.values() if environment in other.environments]
    hint = (
        f"it exists only with profile {others[0]!r}"
        if others
        else f"known are {', '.join(profile.environments)}, or give an Environment(...)"
    )
    raise ConfigurationError(
        f"unknown environment {environment!r} for profile {profile.name!r}: {hint}"
    )
