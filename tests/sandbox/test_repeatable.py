"""One seed and a clock that is stepped by hand: the same bytes, on every socket."""

from __future__ import annotations

import pytest
from raw_client import RawClient

from bybit_copyws.sandbox import Sandbox

PUBLIC = [
    *(f"orderbook.{depth}.BTCUSDT" for depth in (1, 50, 200)),
    "publicTrade.BTCUSDT",
    "tickers.ETHUSDT",
    "kline.1.BTCUSDT",
]
PRIVATE = {
    "v3": ["copyTradePosition", "copyTradeOrder", "copyTradeExecution", "copyTradeWallet"],
    "v5": ["position", "order", "execution", "wallet"],
}


def live(seed: int, profile: str) -> tuple[bytes, bytes]:
    """Return all that two clients hear in twenty seconds of a small exchange."""
    with (
        Sandbox(seed=seed, speed=0) as exchange,
        RawClient(exchange, profile) as public,
        RawClient(exchange, profile, "private") as private,
    ):
        assert public.ask("subscribe", *PUBLIC)["success"]
        assert private.log_in()["success"]
        login = len(private.raw)  # v3 quotes the login, whose signature is new each time
        assert private.ask("subscribe", *PRIVATE[profile])["success"]
        for _ in range(20):
            exchange.step(1.0)
        for client in (public, private):
            client.send({"op": "unsubscribe", "args": ["the.end"]})
            while b'"the.end"' not in client.raw and b'"unsubscribe"' not in client.raw:
                client.item()
        return public.raw, private.raw[login:]


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_two_runs_with_one_seed_send_the_same_bytes(profile: str) -> None:
    one, two, other = live(3, profile), live(3, profile), live(4, profile)
    assert len(one[0]) > 50_000
    assert len(one[1]) > 1_000
    assert one == two
    assert one[0] != other[0]
    assert one[1] != other[1]
