"""The ``tickers`` topic: a snapshot of all figures, then those that changed."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from .engine import Engine
from .feeds import Feed, Message
from .numbers import micro, next_sequence, plain_decimal


def ticker_row(engine: Engine, profile: str) -> Message:
    """Return all figures of a ticker, in the order of the profile."""
    book, tape, prices, day = engine.book, engine.tape, engine.price, engine.day
    price, size = book.price.text, book.size.text
    interest, mark = engine.open_interest, engine.to_price(prices.mark)
    before = day.day_ago
    return {
        "symbol": engine.instrument.symbol,
        "tickDirection": tape.direction,
        "price24hPcnt": micro(round((tape.last - before) * 1_000_000 / before)),
        "lastPrice": price(tape.last),
        "prevPrice24h": price(before),
        "highPrice24h": price(day.high),
        "lowPrice24h": price(day.low),
        "prevPrice1h": price(day.hour_ago),
        "markPrice": f"{mark:f}",
        "indexPrice": f"{engine.to_price(prices.index):f}",
        "openInterest": size(interest),
        "openInterestValue": f"{book.size.decimal(interest) * mark:.2f}",
        "turnover24h": engine.turnover.text(day.turnover),
        "volume24h": size(day.volume),
        **(_v5_funding(engine) if profile == "v5" else {}),
        "nextFundingTime": str(prices.next_funding_ms),
        "fundingRate": plain_decimal(Decimal(prices.funding_rate).scaleb(-6)),
        **_best(engine),
        **(_PRE_MARKET if profile == "v5" else {}),
    }


_PRE_MARKET: Final = {"preOpenPrice": "", "preQty": "", "curPreListingPhase": ""}


def _v5_funding(engine: Engine) -> Message:
    instrument = engine.instrument
    return {
        "fundingIntervalHour": str(instrument.funding_minutes // 60),
        "fundingCap": plain_decimal(instrument.funding_cap),
    }


def _best(engine: Engine) -> Message:
    book = engine.book
    price, size = book.price.text, book.size.text
    bid, ask = book.best_bid, book.best_ask
    return {
        "bid1Price": "" if bid is None else price(bid),
        "bid1Size": "" if bid is None else size(book.sizes[-bid]),
        "ask1Price": "" if ask is None else price(ask),
        "ask1Size": "" if ask is None else size(book.sizes[ask]),
    }


class TickerFeed(Feed):
    """``tickers`` of one symbol."""

    cadence_ms = 100

    def __init__(self, engine: Engine, topic: str, profile: str) -> None:
        super().__init__(engine, topic, profile)
        self._seen = engine.version
        self._shown = ticker_row(engine, profile)
        self._sequence = next_sequence(engine.book.sequence // 2)
        # The figures before each message not yet handed over.
        self._before: list[tuple[Message, int]] = []

    def snapshot(self, now_ms: int) -> Message:
        """Return all figures as of the last message handed over."""
        shown, sequence = self._before[0] if self._before else (self._shown, self._sequence)
        return self._message("snapshot", dict(shown), sequence, now_ms)

    def poll(self, now_ms: int) -> list[Message]:
        """Bring the symbol to ``now_ms`` and return the messages pushed since the last poll."""
        out = super().poll(now_ms)
        self._before.clear()
        return out

    def _news(self) -> bool:
        return self._engine.version != self._seen

    def _push(self, now_ms: int) -> None:
        self._seen = self._engine.version
        old, new = self._shown, ticker_row(self._engine, self.profile)
        changed = {key: value for key, value in new.items() if value != old[key]}
        if not changed:
            return
        self._before.append((old, self._sequence))
        self._shown = new
        self._sequence = next_sequence(self._sequence)
        data = {"symbol": self._symbol, **changed}
        self._out.append(self._message("delta", data, self._sequence, now_ms))

    def _message(self, kind: str, data: Message, sequence: int, now_ms: int) -> Message:
        return {
            "topic": self.topic,
            "type": kind,
            "data": data,
            "cs": sequence,
            "ts": now_ms,
        }
