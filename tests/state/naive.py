"""The order book as its rules read, with no care for speed: what the real one must equal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


class NaiveBook:
    """Bids and asks as dictionaries of numbers; ``None`` while there is no content."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.update_id = 0
        self.sides: dict[str, dict[Decimal, Decimal]] | None = None

    def apply(self, message_type: str, data: dict[str, Any]) -> None:
        if message_type == "delta":
            if self.sides is None or data["u"] == self.update_id:
                return
            if data["u"] != self.update_id + 1:
                self.sides = None
                return
        else:
            self.sides = {"b": {}, "a": {}}
        self.update_id = data["u"]
        for side in "ba":
            for price, size in data[side]:
                self.sides[side].pop(Decimal(price), None)
                if Decimal(size):
                    self.sides[side][Decimal(price)] = Decimal(size)
            worst_first = sorted(self.sides[side], reverse=side == "a")
            for price in worst_first[: -self.depth]:
                del self.sides[side][price]
        bids, asks = self.levels()
        if bids and asks and bids[0][0] >= asks[0][0]:
            self.sides = None

    def levels(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        if self.sides is None:
            return [], []
        return sorted(self.sides["b"].items(), reverse=True), sorted(self.sides["a"].items())
