"""What the client's constructor and its calls accept: checks with texts that name the cure.

No connection is known here, and nothing is kept.
"""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import fields

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.budget import ConnectionBudget
from bybit_copyws.policy.session import SessionSettings
from bybit_copyws.policy.staleness import DEFAULT_LIMITS
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import TopicTable

_VARIABLES = {
    "api_key": "BYBIT_API_KEY",
    "api_secret": "BYBIT_API_SECRET",
    "environment": "BYBIT_ENVIRONMENT",
    "profile": "BYBIT_PROFILE",
}
_MAY_BE_NONE = ("data_timeout",)
_MOST_SECONDS = 86_400.0
_MOST_BYTES = 2**31


def names_of(topic_or_topics: str | Iterable[str]) -> list[str]:
    """Return topics as a list, one or several given.

    Raises:
        ConfigurationError: there is none, or one is no text.
    """
    if isinstance(topic_or_topics, str):
        return [topic_or_topics]
    try:
        names = list(topic_or_topics)
        if isinstance(topic_or_topics, (bytes, bytearray)):
            raise TypeError
    except TypeError:
        raise ConfigurationError(
            f"topics must be a string or several, not {type(topic_or_topics).__name__}"
        ) from None
    if not names:
        raise ConfigurationError("no topic was given")
    for name in names:
        if callable(name):
            raise ConfigurationError(
                'a topic must be a string, not a function: write @client.on("tickers.BTCUSDT")'
            )
        if not isinstance(name, str):
            raise ConfigurationError(
                f"a topic must be a string, not {type(name).__name__}; several are given to "
                "subscribe() as a list, to on() one by one: on(*topics)"
            )
    return names


def credentials_or_error(
    api_key: str | None, api_secret: str | None
) -> Credentials | ConfigurationError | None:
    """Return the key pair, or what is wrong with it: raised from here, it would show the secret."""
    if api_key is None and api_secret is None:
        return None
    if api_key is None or api_secret is None:
        missing = "api_key" if api_key is None else "api_secret"
        return ConfigurationError(f"{missing} is missing: a key is of use only with its secret")
    try:
        return Credentials(api_key, api_secret)
    except ConfigurationError as error:
        return error.with_traceback(None)


def from_environment() -> dict[str, str]:
    """Return what the environment variables say; an empty one counts as not there."""
    found = {name: os.environ.get(variable) for name, variable in _VARIABLES.items()}
    return {name: value for name, value in found.items() if value}


def check_seconds(name: str, value: float) -> None:
    """Refuse what can be no time.

    Raises:
        ConfigurationError: it is not above 0 or longer than a day; the text names it.
    """
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not 0 < value <= _MOST_SECONDS
    ):
        raise ConfigurationError(
            f"{name} must be a number of seconds above 0, at most {_MOST_SECONDS:,.0f}, not "
            f"{value!r}"
        )


def check_timeout(value: float) -> None:
    """Refuse what can be no time to wait; 0 is one.

    Raises:
        ConfigurationError: it is below 0, longer than a day, or no number.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
        if value < 0:
            raise ConfigurationError(f"timeout must be 0 or more seconds, not {value!r}")
        return
    check_seconds("timeout", value)


def check_times(settings: SessionSettings) -> None:
    """Refuse times of a connection that can be none.

    Raises:
        ConfigurationError: as :func:`check_seconds` does.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name not in ("backoff", "stale_after") and (
            value is not None or field.name not in _MAY_BE_NONE
        ):
            check_seconds(field.name, value)


def silence_or_error(
    limits: Mapping[str, float | None] | None, topics: TopicTable
) -> Mapping[str, float | None]:
    """Return how long topics may be silent: the user's patterns, then the default ones.

    Raises:
        ConfigurationError: this is no mapping of patterns to seconds, or a pattern fits no topic.
    """
    if limits is None:
        return DEFAULT_LIMITS
    if not isinstance(limits, Mapping) or not all(isinstance(each, str) for each in limits):
        raise ConfigurationError(
            'stale_after must map patterns of topics to seconds, such as {"tickers.*": 30.0}, not '
            f"{limits!r}"
        )
    for pattern, seconds in limits.items():
        if seconds is not None:
            check_seconds(f"stale_after[{pattern!r}]", seconds)
        if not topics.may_fit(pattern):
            raise ConfigurationError(
                f"stale_after[{pattern!r}] fits no topic; patterns are such as 'tickers.*' or "
                "'orderbook.50.BTCUSDT'"
            )
    return {
        **limits,
        **{each: DEFAULT_LIMITS[each] for each in DEFAULT_LIMITS if each not in limits},
    }


def check_kinds(backoff: object, connection_budget: object, ssl_context: object) -> None:
    """Refuse options of the wrong kind, which would fail in the middle of the night.

    Raises:
        ConfigurationError: one is; the text names it and the cure.
    """
    for name, value, kind, cure in (
        ("backoff", backoff, Backoff, "Backoff(cap=60.0)"),
        ("connection_budget", connection_budget, ConnectionBudget, "ConnectionBudget(100, 300.0)"),
        (
            "ssl_context",
            ssl_context,
            ssl.SSLContext,
            'ssl.create_default_context(cafile="ca.pem")',
        ),
    ):
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(
                f"{name} must be a {kind.__name__}, such as {cure}, not {value!r}"
            )


def check_callback(callback: object, what: str, argument: str) -> None:
    """Refuse what cannot be called, or would never run when it is.

    Raises:
        ConfigurationError: it is no plain function.
    """
    if not callable(callback):
        kind = type(callback).__name__
        raise ConfigurationError(f"the {what} must be callable with one {argument}, not {kind}")
    if inspect.iscoroutinefunction(callback):
        raise ConfigurationError(
            f"the {what} is an 'async def', which nothing would ever run: give a plain function"
        )
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # some built-in ones have none
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigurationError(
            f"the {what} must be callable with one {argument}: {error}"
        ) from None


def check_redundancy(value: int) -> None:
    """Refuse what can be no number of connections for the same topics.

    Raises:
        ConfigurationError: it is neither 1 nor 2.
    """
    if value not in (1, 2) or not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(
            f"redundancy must be 1, or 2 for two connections that carry the same topics, not "
            f"{value!r}"
        )


def check_flag(name: str, value: bool) -> None:
    """Refuse what is neither ``True`` nor ``False``: a text such as ``"no"`` would count as true.

    Raises:
        ConfigurationError: it is something else; the text names it.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, not {value!r}")


def check_size(name: str, value: int) -> None:
    """Refuse what can be no number of bytes.

    Raises:
        ConfigurationError: it is none; the text names it.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST_BYTES:
        raise ConfigurationError(
            f"{name} must be a whole number of bytes above 0, at most {_MOST_BYTES:,}, not "
            f"{value!r}"
        )
