"""Hosts, paths and dialects of both generations, and environments of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.wire.dialects import AckShape, PongShape
from bybit_copyws.wire.profiles import (
    COPY_TRADING_V3,
    V5,
    Environment,
    find_environment,
    find_profile,
)
from bybit_copyws.wire.topics import Scope

PUBLIC, PRIVATE = Scope.PUBLIC, Scope.PRIVATE


@pytest.mark.parametrize(
    ("profile", "name", "scope", "url"),
    [
        ("v3", "mainnet", PUBLIC, "wss://stream.bybit.com/contract/usdt/public/v3"),
        ("v3", "mainnet", PRIVATE, "wss://stream.bybit.com/realtime_private"),
        ("v3", "testnet", PUBLIC, "wss://stream-testnet.bybit.com/contract/usdt/public/v3"),
        ("v3", "testnet", PRIVATE, "wss://stream-testnet.bybit.com/realtime_private"),
        ("v5", "mainnet", PUBLIC, "wss://stream.bybit.com/v5/public/linear"),
        ("v5", "mainnet", PRIVATE, "wss://stream.bybit.com/v5/private"),
        ("v5", "testnet", PUBLIC, "wss://stream-testnet.bybit.com/v5/public/linear"),
        ("v5", "testnet", PRIVATE, "wss://stream-testnet.bybit.com/v5/private"),
        ("v5", "demo", PUBLIC, "wss://stream.bybit.com/v5/public/linear"),
        ("v5", "demo", PRIVATE, "wss://stream-demo.bybit.com/v5/private"),
        ("v5", "tr", PUBLIC, "wss://stream.bybit.tr/v5/public/linear"),
        ("v5", "kz", PRIVATE, "wss://stream.bybit.kz/v5/private"),
        ("v5", "id", PRIVATE, "wss://stream.bybit.id/v5/private"),
        ("v5", "ge", PRIVATE, "wss://stream.bybitgeorgia.ge/v5/private"),
        ("v5", "jp", PRIVATE, "wss://stream.manepa.jp/v5/private"),
    ],
)
def test_streams_are_where_bybit_says(profile: str, name: str, scope: Scope, url: str) -> None:
    found = find_profile(profile)
    assert found.url(find_environment(found, name), scope) == url


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("mainnet", "https://api.bybit.com"),
        ("testnet", "https://api-testnet.bybit.com"),
        ("demo", "https://api-demo.bybit.com"),
        ("tr", "https://api.bybit.tr"),
        ("jp", "https://api.manepa.jp"),
    ],
)
def test_rest_is_where_bybit_says(name: str, url: str) -> None:
    assert V5.environments[name].rest == url


def test_dialects() -> None:
    shapes = {
        (profile.name, scope.value): (
            profile.dialect(scope).ack,
            profile.dialect(scope).pong,
            profile.dialect(scope).req_id,
        )
        for profile in (COPY_TRADING_V3, V5)
        for scope in Scope
    }
    assert shapes == {
        ("v3", "public"): (AckShape.OP_AND_REQ_ID, PongShape.RET_MSG, True),
        ("v3", "private"): (AckShape.REQUEST, PongShape.RET_MSG_REQUEST, False),
        ("v5", "public"): (AckShape.OP_AND_REQ_ID, PongShape.RET_MSG, True),
        ("v5", "private"): (AckShape.OP, PongShape.OP, True),
    }


def test_given_objects_are_taken_as_they_are() -> None:
    own = Environment("own", "wss://a.example/", "wss://a.example/my/path", "https://a.example")
    assert find_profile(V5) is V5
    assert find_environment(V5, own) is own
    assert V5.url(own, PUBLIC) == "wss://a.example/v5/public/linear"
    assert V5.url(own, PRIVATE) == "wss://a.example/my/path"


@pytest.mark.parametrize("profile", ["v4", None, 3, []])
def test_an_unknown_profile_is_refused(profile: Any) -> None:
    with pytest.raises(ConfigurationError, match="known are v3, v5"):
        find_profile(profile)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ("demo", "only with profile 'v5'"),
        ("nowhere", "known are mainnet, testnet"),
        (7, "not int"),
    ],
)
def test_an_unknown_environment_is_refused(environment: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        find_environment(COPY_TRADING_V3, environment)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "wss://",
        "a.example",
        "wss://a.example:0",
        "wss://a.example:99999",
        "wss://[::1",
        "wss://user:secret@a.example",
        "wss://a.example?api_key=secret",
        "wss://a.example#secret",
        "wss://a.example/ x",
        "wss://a.example/\r\nX: y",
        "wss://exämple.com",
        "wss://a.example\\@evil.example",
        None,
        7,
    ],
)
def test_a_url_that_cannot_be_is_refused_and_shows_no_secret(url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Environment("own", url, "wss://a.example", "https://a.example")
    assert "secret" not in str(caught.value)


def test_rest_is_http() -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        Environment("own", "wss://a.example", "wss://a.example", "wss://a.example")
