"""The whole sequence of each public topic, as a callback must get it over whatever connections."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from bybit_copyws import Message
from bybit_copyws.sandbox import Sandbox


class Truth:
    """Takes messages and looks whether they are the whole sequence of each topic, once."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.counts: dict[str, int] = defaultdict(int)
        self.trades: dict[str, list[str]] = defaultdict(list)
        self.candles: dict[str, list[int]] = defaultdict(list)
        self._last: dict[str, int] = {}

    def take(self, message: Message) -> None:
        topic, last = message.topic, self._last.get(message.topic)
        self.counts[topic] += 1
        if message.gap is not None:
            self.faults.append(f"{topic}: {message.gap}")
        if topic.startswith("orderbook"):
            number = message.data["u"]
            if last is not None and number != last + 1:
                self.faults.append(f"{topic}: {last} was followed by {number}")
        elif topic.startswith("publicTrade"):
            self.trades[topic] += [row["i"] for row in message.data]
            return
        elif topic.startswith("tickers"):
            number = message["cs"]
            if last is not None and number <= last:
                self.faults.append(f"{topic}: {last} was followed by {number}")
        else:
            number = message.data[0]["timestamp"]
            if last is not None and number < last:
                self.faults.append(f"{topic}: {last} was followed by {number}")
            self.candles[topic].append(number)
        self._last[topic] = number

    def check(self, exchange: Sandbox) -> None:
        """Compare with what the exchange has sent, on whatever connection."""
        sent: dict[str, dict[str, None]] = defaultdict(dict)
        candles: Counter[tuple[str, str, int]] = Counter()
        for message in exchange.sent:
            if not message.payload.endswith(b"}"):
                continue  # a fault of the test
            if message.topic.startswith("publicTrade"):
                rows = json.loads(message.payload)["data"]
                sent[message.topic].update(dict.fromkeys(row["i"] for row in rows))
            elif message.topic.startswith("kline"):
                (row,) = json.loads(message.payload)["data"]
                candles[message.conn_id, message.topic, row["timestamp"]] += 1
        # One connection may well bring the same candle twice: at its subscription, and in turn.
        most: dict[tuple[str, int], int] = defaultdict(int)
        for (_, topic, number), count in candles.items():
            most[topic, number] = max(most[topic, number], count)
        for topic, numbers in self.candles.items():
            for number, count in Counter(numbers).items():
                if count > most[topic, number]:
                    self.faults.append(f"{topic}: {number} came {count} times")
        for topic, ids in self.trades.items():
            if ids != list(sent[topic])[: len(ids)]:
                self.faults.append(f"{topic}: trades are missing, doubled or out of order")
