"""Which connections follow which market feed; a feed lives as long as someone follows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bybit_copyws.sandbox.market import Feed, Market


class Audience:
    """The followers of every feed of a market.

    Args:
        market: makes the feeds.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self._followed: dict[tuple[str, str], tuple[Feed, dict[str, None]]] = {}

    def exists(self, profile: str, topic: str) -> bool:
        """Return whether the market has such a topic."""
        return self._market.has_topic(profile, tuple(topic.split(".")))

    def join(self, profile: str, topic: str, conn_id: str) -> Feed:
        """Let a connection follow a topic that exists."""
        key = (profile, topic)
        if key not in self._followed:
            self._followed[key] = (self._market.open_feed(profile, tuple(topic.split("."))), {})
        feed, followers = self._followed[key]
        followers[conn_id] = None
        return feed

    def leave(self, profile: str, topics: Iterable[str], conn_id: str) -> None:
        """Let a connection follow topics no longer; those it does not follow are passed over."""
        for topic in topics:
            key = (profile, topic)
            if key not in self._followed:
                continue
            feed, followers = self._followed[key]
            followers.pop(conn_id, None)
            if not followers:
                del self._followed[key]
                self._market.close_feed(feed)

    def dismiss(self, symbol: str) -> None:
        """Push nothing about a symbol any more, whoever follows it."""
        for key in [key for key in self._followed if key[1].rpartition(".")[2] == symbol]:
            feed, _ = self._followed.pop(key)
            self._market.close_feed(feed)

    def __iter__(self) -> Iterator[tuple[Feed, tuple[str, ...]]]:
        """Each feed with the ids of its followers, in the order they came."""
        return iter([(feed, tuple(followers)) for feed, followers in self._followed.values()])
