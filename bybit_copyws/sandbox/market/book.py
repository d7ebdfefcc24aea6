"""The full order book of one symbol, in whole ticks and lots.

A level's key is its price in ticks, below zero for bids: so both sides run upward from the best
level at index 0, and the sign tells the side. Knows no feed, profile or clock; who wants to know
what changed leaves a set, and every changed key is added to it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from .numbers import Grid, next_sequence

#: Above every key: "no limit", and the edge of a side with fewer levels than a window.
FAR = 1 << 62

BUY, SELL = "Buy", "Sell"


class Book:
    """Sorted bids and asks.

    Args:
        price: The grid of prices.
        size: The grid of sizes.
        sequence: The cross sequence to count on from.
    """

    __slots__ = (
        "asks",
        "bids",
        "changed_ms",
        "price",
        "sequence",
        "size",
        "sizes",
        "update_id",
        "watchers",
    )

    def __init__(self, price: Grid, size: Grid, sequence: int) -> None:
        self.price = price
        self.size = size
        self.bids: list[int] = []
        self.asks: list[int] = []
        self.sizes: dict[int, int] = {}
        self.watchers: list[set[int]] = []
        self.sequence = sequence
        self.update_id = 1
        self.changed_ms = 0

    def put(self, key: int, size: int) -> None:
        """Set the size of the level ``key``; zero deletes it."""
        sizes = self.sizes
        if key in sizes:
            if size:
                sizes[key] = size
            else:
                del sizes[key]
                keys = self.bids if key < 0 else self.asks
                del keys[bisect_left(keys, key)]
        elif size:
            sizes[key] = size
            insort(self.bids if key < 0 else self.asks, key)
        for watcher in self.watchers:
            watcher.add(key)

    def fill(self, sizes: dict[int, int]) -> None:
        """Replace the whole book by ``sizes``, by key; the book keeps the dictionary."""
        for watcher in self.watchers:
            watcher.update(self.sizes, sizes)
        self.sizes = sizes
        keys = sorted(sizes)
        first_ask = bisect_left(keys, 0)
        self.bids, self.asks = keys[:first_ask], keys[first_ask:]

    def stamp(self, now_ms: int) -> None:
        """Count one event of the matching engine, after its changes."""
        self.sequence = next_sequence(self.sequence)
        self.update_id += 1
        self.changed_ms = now_ms

    def take(self, side: str, size: int, limit: int) -> list[tuple[int, int]]:
        """Eat up to ``size`` lots of the levels that a taker of ``side`` meets, best first.

        Args:
            side: The taker's side.
            size: How many lots at most.
            limit: The last key that may be touched; ``FAR`` for no limit.

        Returns:
            Each touched key with the lots taken there.
        """
        keys = self.asks if side == BUY else self.bids
        pieces: list[tuple[int, int]] = []
        while size > 0 and keys and keys[0] <= limit:
            key = keys[0]
            there = self.sizes[key]
            piece = min(there, size)
            self.put(key, there - piece)
            pieces.append((key, piece))
            size -= piece
        return pieces

    def depth_to(self, side: str, limit: int) -> int:
        """Return the lots that a taker of ``side`` could take up to the key ``limit``."""
        total = 0
        for key in self.asks if side == BUY else self.bids:
            if key > limit:
                break
            total += self.sizes[key]
        return total

    @property
    def best_bid(self) -> int | None:
        """The highest bid in ticks."""
        return -self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> int | None:
        """The lowest ask in ticks."""
        return self.asks[0] if self.asks else None

    def rows(self, keys: Iterable[int]) -> list[list[str]]:
        """Return ``[price, size]`` strings of the levels ``keys``."""
        price, size, sizes = self.price.text, self.size.text, self.sizes
        return [[price(abs(key)), size(sizes[key])] for key in keys]

    def levels(self, side: str, depth: int = 1000) -> list[list[str]]:
        """Return up to ``depth`` ``[price, size]`` strings of ``Buy`` or ``Sell``, best first."""
        return self.rows((self.bids if side == BUY else self.asks)[:depth])
