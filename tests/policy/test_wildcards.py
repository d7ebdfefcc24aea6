"""What a pattern stands for, and what a changed list of symbols leads to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from exchange import ignore
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError, SubscriptionError
from bybit_copyws.events import SubscriptionState
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.registry import Registry
from bybit_copyws.policy.wildcards import Change, Expansion, Pattern, Step, is_pattern
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5
from bybit_copyws.wire.topics import Scope, Topic, TopicSpec, TopicTable

V3_TABLE, V5_TABLE = COPY_TRADING_V3.topics, V5.topics
TRADES = Pattern.parse("publicTrade.*", V3_TABLE)
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT")
lists = st.frozensets(st.sampled_from(SYMBOLS))


class Venue:
    """A registry that an expansion is kept up to date in, as a connection would be."""

    def __init__(self) -> None:
        self.registry = Registry(21_000)
        self.full = False

    def follow(self, expansion: Expansion, symbols: Sequence[str] | frozenset[str]) -> Step:
        step = expansion.step(symbols)
        self.registry.remove(step.unsubscribe)
        if step.subscribe and self.full:
            expansion.brought(symbols, step, (), SubscriptionError(["publicTrade.*"], "full"))
        else:
            expansion.brought(symbols, step, self.registry.add(step.subscribe, expansion.callback))
        return step

    def held(self) -> list[str]:
        return sorted(handler.topic.wire for handler in self.registry.handlers)


def trades(symbols: Sequence[str] | frozenset[str]) -> list[str]:
    return sorted(f"publicTrade.{symbol}" for symbol in symbols)


def names(handlers: Sequence[Handler] | Sequence[Topic]) -> list[str]:
    return sorted(each.topic.wire if isinstance(each, Handler) else each.wire for each in handlers)


# Patterns


@pytest.mark.parametrize("table", [V3_TABLE, V5_TABLE], ids=["v3", "v5"])
@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("publicTrade.*", "publicTrade.XUSDT"),
        ("tickers.*", "tickers.XUSDT"),
        ("orderbook.1.*", "orderbook.1.XUSDT"),
        ("kline.60.*", "kline.60.XUSDT"),
    ],
)
def test_a_pattern_stands_for_the_topic_of_each_symbol(
    name: str, topic: str, table: TopicTable
) -> None:
    pattern = Pattern.parse(name, table)
    assert pattern.name == name
    assert [each.wire for each in pattern.topics(["XUSDT"])] == [topic]


def test_an_alias_stays_an_alias() -> None:
    (topic,) = Pattern.parse("liquidation.*", V5_TABLE).topics(["XUSDT"])
    assert (topic.name, topic.wire) == ("liquidation.XUSDT", "allLiquidation.XUSDT")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("*", "in the place of the symbol; patterns are orderbook.{depth}.*, publicTrade.*"),
        ("*.BTCUSDT", "in the place of the symbol"),
        ("orderbook.*.BTCUSDT", "in the place of the symbol"),
        ("orderbook.*.*", "in the place of the symbol"),
        ("publicTrade.BTC*", "in the place of the symbol"),
        ("publicTrade.**", "in the place of the symbol"),
        ("kline.*", "wrong parts; write kline.{interval}.{symbol}"),
        ("kline.7.*", "'7' is no interval"),
        ("orderbook.x.*", "depth 'x'"),
        ("trades.*", "there is no channel 'trades'"),
        ("copyTradePosition.*", "private topics have no symbols"),
        (".*", "malformed"),
        ("publicTrade.\n.*", "malformed"),
        ("x" * 100 + ".*", "longer than 64"),
    ],
)
def test_what_stands_for_nothing_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Pattern.parse(name, V3_TABLE)
    assert text in str(caught.value)
    assert "kline.{interval}.*" in str(caught.value)


@pytest.mark.parametrize("name", ["position.*", "execution.*", "order.linear.*", "wallet.*"])
def test_private_topics_have_no_pattern(name: str) -> None:
    with pytest.raises(ConfigurationError, match="patterns are"):
        Pattern.parse(name, V5_TABLE)


def test_a_private_topic_of_a_symbol_has_no_pattern_either() -> None:
    rows = (TopicSpec("mine", Scope.PRIVATE, ("symbol",)), V3_TABLE.specs[0])
    with pytest.raises(ConfigurationError, match=r"private .* patterns are orderbook") as caught:
        Pattern.parse("mine.*", TopicTable(rows))
    assert str(caught.value).count("mine") == 1


def test_only_a_star_makes_a_pattern() -> None:
    assert is_pattern("publicTrade.*")
    assert not is_pattern("publicTrade.BTCUSDT")
    assert not is_pattern(7)


def test_a_symbol_that_no_topic_can_have_is_left_out() -> None:
    assert names(TRADES.topics(["AUSDT", "äUSDT", "lower", "B" * 60, ""])) == trades(["AUSDT"])


# Changes


@given(old=lists, new=lists)
def test_a_change_leads_from_the_old_list_to_the_new(
    old: frozenset[str], new: frozenset[str]
) -> None:
    change = Change.between(old, new)
    assert (old - set(change.withdrawn)) | set(change.listed) == new
    assert set(change.listed).isdisjoint(old)
    assert set(change.withdrawn) <= old
    assert list(change.listed) == sorted(change.listed)


# Expansions


@given(st.lists(lists, min_size=1, max_size=6))
def test_whatever_is_listed_and_withdrawn_each_symbol_is_held_once(
    history: list[frozenset[str]],
) -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore)
    before: frozenset[str] = frozenset()
    for symbols in history:
        step = venue.follow(expansion, symbols)
        assert venue.held() == trades(symbols) == names(expansion.present)
        assert names(step.subscribe) == trades(symbols - before)
        assert names(step.unsubscribe) == trades(before - symbols)
        before = symbols


@given(st.lists(st.tuples(lists, st.booleans()), min_size=1, max_size=8))
def test_what_did_not_fit_is_made_up_for_when_it_does(
    history: list[tuple[frozenset[str], bool]],
) -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore)
    for symbols, venue.full in history:
        missing = set(trades(symbols)) - set(venue.held())
        venue.follow(expansion, symbols)
        assert set(venue.held()) <= set(trades(symbols))
        assert (expansion.error is not None) == (venue.full and bool(missing))
        if not venue.full:
            assert venue.held() == trades(symbols)
    assert not expansion.pending


def test_it_waits_for_its_first_list_only() -> None:
    expansion = Expansion(TRADES, ignore)
    assert expansion.pending
    Venue().follow(expansion, ())
    assert not expansion.pending
    assert expansion.present == ()


def test_the_same_list_again_changes_nothing() -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore)
    venue.follow(expansion, SYMBOLS)
    assert venue.follow(expansion, SYMBOLS) == Step((), ())


def test_a_topic_that_the_subscription_names_itself_is_left_out() -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore, {"publicTrade.AUSDT"})
    venue.follow(expansion, ["AUSDT", "BUSDT"])
    assert venue.held() == trades(["BUSDT"])
    assert venue.follow(expansion, ["BUSDT"]).unsubscribe == ()


def test_a_topic_that_was_taken_out_comes_back_when_it_is_listed_anew() -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore)
    venue.follow(expansion, ["AUSDT", "BUSDT"])
    venue.registry.remove(expansion.present[:1])
    venue.follow(expansion, ["AUSDT", "BUSDT", "CUSDT"])
    assert venue.held() == names(expansion.present) == trades(["BUSDT", "CUSDT"])
    venue.follow(expansion, ["BUSDT"])
    venue.follow(expansion, ["AUSDT", "BUSDT"])
    assert venue.held() == trades(["AUSDT", "BUSDT"])


def test_a_refused_topic_is_tried_anew_and_disturbs_no_other() -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore)
    venue.follow(expansion, ["AUSDT", "BUSDT"])
    venue.registry.rejected("publicTrade.AUSDT", "error:handler not found")
    assert [each.state for each in expansion.present] == [
        SubscriptionState.REJECTED,
        SubscriptionState.PENDING,
    ]
    kept = expansion.present[1]
    step = venue.follow(expansion, ["AUSDT", "BUSDT"])
    assert names(step.subscribe) == names(step.unsubscribe) == trades(["AUSDT"])
    assert kept in expansion.present
    assert {each.state for each in expansion.present} == {SubscriptionState.PENDING}
    assert venue.held() == trades(["AUSDT", "BUSDT"])


def test_what_ended_keeps_its_last_topics_and_nothing_follows() -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore)
    venue.follow(expansion, ["AUSDT", "BUSDT"])
    last = expansion.end()
    venue.registry.remove(last)
    assert names(last) == names(expansion.present) == trades(["AUSDT", "BUSDT"])
    assert not expansion.pending


def test_what_was_taken_out_before_the_end_is_none_of_the_last_topics() -> None:
    venue, expansion = Venue(), Expansion(TRADES, ignore)
    venue.follow(expansion, ["AUSDT", "BUSDT"])
    venue.registry.remove(expansion.present[:1])
    expansion.end()
    assert names(expansion.present) == trades(["BUSDT"])


def test_what_ended_early_waits_for_no_list() -> None:
    expansion = Expansion(TRADES, ignore)
    assert expansion.end() == ()
    assert not expansion.pending
