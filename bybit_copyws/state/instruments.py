"""The contracts and their rules, as immutable models, and the list of them. Pure.

What the exchange lists becomes an :class:`Instrument` each; an :class:`Instruments` is one whole
list as it was at one time. Must not know how and when the list is asked for.

Sources: Bybit's v3 copy-trading page "Copy Trading Symbol List" and its v5 page "Get Instruments
Info".
"""

# Without "from __future__ import annotations": the field table is built from the evaluated
# annotations.

import difflib
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from bybit_copyws.errors import ConfigurationError, ProtocolError
from bybit_copyws.fields import Model, field_table, json_object, parse_record
from bybit_copyws.state.rounding import Number, Rounding, check_rounding, exact, round_to_step

NOT_COPIED = "none"
TRADING = "Trading"
_FILTERS = ("leverageFilter", "priceFilter", "lotSizeFilter")
_SHOWN = 5  # symbols that an error text or a repr names


class Instrument(Model, frozen=True):
    """A contract and its rules; ``copy_trading`` is v5's only, where v3 lists no others.

    ``funding_interval`` is in minutes, times are in milliseconds.
    """

    symbol: str | None = None
    base_coin: str | None = None
    quote_coin: str | None = None
    settle_coin: str | None = None
    status: str | None = None
    contract_type: str | None = None
    copy_trading: str | None = None
    launch_time: int | None = None
    price_scale: int | None = None
    tick_size: Decimal | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    qty_step: Decimal | None = None
    min_order_qty: Decimal | None = None
    max_order_qty: Decimal | None = None
    max_mkt_order_qty: Decimal | None = None
    min_notional_value: Decimal | None = None
    min_leverage: Decimal | None = None
    max_leverage: Decimal | None = None
    leverage_step: Decimal | None = None
    taker_fee: Decimal | None = None
    maker_fee: Decimal | None = None
    funding_interval: int | None = None

    @property
    def may_be_copied(self) -> bool:
        """Whether leaders can trade it now; a list that says nothing has only such contracts."""
        return self.copy_trading != NOT_COPIED and self.status in (None, TRADING)

    def round_price(self, price: Number, how: Rounding = "nearest") -> Decimal:
        """Return the price of an order, as a multiple of the tick size.

        Args:
            price: in the quote coin; a ``float`` is refused.
            how: ``"nearest"`` (the middle goes up), ``"down"`` or ``"up"``.

        Returns:
            With the decimals of the tick size, whatever the thread's ``decimal`` context is.

        Raises:
            ConfigurationError: the price is no finite number, or what it is rounded to is below
                the lowest or above the highest price of the contract.
            ProtocolError: the exchange's list has no tick size for the contract.
        """
        step = self._step("tick_size", self.tick_size)
        rounded = self._rounded("price", price, step, how)
        self._check("price", rounded, self.min_price or step, self.max_price)
        return rounded

    def round_qty(
        self,
        qty: Number,
        how: Rounding = "down",
        *,
        price: Number | None = None,
        market: bool = False,
    ) -> Decimal:
        """Return the size of an order, as a multiple of the step of sizes.

        Args:
            qty: in the base coin; a ``float`` is refused.
            how: ``"down"``, ``"nearest"`` (the middle goes up) or ``"up"``.
            price: if given, the order must be worth the exchange's minimum at that price. Orders
                that only reduce a position need not be.
            market: whether it is a market order, for which v5 has a lower maximum.

        Returns:
            With the decimals of the step, whatever the thread's ``decimal`` context is.

        Raises:
            ConfigurationError: the size is no finite number; what it is rounded to is below the
                smallest or above the largest order; or the order is worth too little.
            ProtocolError: the exchange's list has no step of sizes for the contract.
        """
        step = self._step("qty_step", self.qty_step)
        rounded = self._rounded("qty", qty, step, how)
        limits = [self.max_order_qty, self.max_mkt_order_qty if market else None]
        highest = min((limit for limit in limits if limit is not None), default=None)
        self._check("qty", rounded, self.min_order_qty or step, highest)
        if price is not None and self.min_notional_value is not None:
            self._check_worth(
                rounded, exact(f"{self.symbol}: price", price), self.min_notional_value
            )
        return rounded

    def _step(self, name: str, step: Decimal | None) -> Decimal:
        if step is None or not step > 0:
            raise ProtocolError(f"instruments: {self.symbol} is listed with {name} {step}")
        return step

    def _rounded(self, name: str, value: Number, step: Decimal, how: Rounding) -> Decimal:
        check_rounding(how)
        number = exact(f"{self.symbol}: {name}", value)
        if number < 0:
            raise ConfigurationError(f"{self.symbol}: {name} must be above 0, not {number}")
        return round_to_step(number, step, how)

    def _check(self, name: str, value: Decimal, lowest: Decimal, highest: Decimal | None) -> None:
        if value < lowest:
            raise ConfigurationError(
                f"{self.symbol}: {name} {value} (rounded) is below the minimum {lowest:f}"
            )
        if highest is not None and value > highest:
            raise ConfigurationError(
                f"{self.symbol}: {name} {value} (rounded) is above the maximum {highest:f}"
            )

    def _check_worth(self, qty: Decimal, price: Decimal, least: Decimal) -> None:
        # As fractions: a product of decimals would be rounded by the thread's context.
        if Fraction(qty) * Fraction(price) < Fraction(least):
            raise ConfigurationError(
                f"{self.symbol}: {qty} at {price} is worth less than the minimum {least:f} "
                f"({self.quote_coin})"
            )


_TABLE = field_table(
    Instrument, base_coin=("baseCoin", "baseCurrency"), quote_coin=("quoteCoin", "quoteCurrency")
)


def parse_instrument(record: Any) -> Instrument:
    """Make a model of a row of either profile; its filters are laid flat.

    Raises:
        ProtocolError: the row is not what is documented.
    """
    flat = dict(json_object("instruments", "Instrument", record))
    for name in _FILTERS:
        if flat.get(name) is not None:
            flat |= json_object("instruments", f"Instrument.{name}", flat.pop(name))
    return parse_record("instruments", Instrument, _TABLE, flat)


class Instruments(Collection[Instrument]):
    """All contracts that the exchange lists, as of one time. Immutable, safe from any thread.

    ``instruments["BTCUSDT"]`` finds one, ``"BTCUSDT" in instruments`` asks for it, and iterating
    gives every :class:`Instrument`, by name.

    Args:
        rows: the contracts; of two with the same symbol the last one counts.

    Raises:
        ProtocolError: one has no symbol.
    """

    def __init__(self, rows: Iterable[Instrument] = ()) -> None:
        found: dict[str, Instrument] = {}
        for row in rows:
            if row.symbol is None:
                raise ProtocolError("instruments: a contract is listed without a symbol")
            found[row.symbol] = row
        self._rows = MappingProxyType(dict(sorted(found.items())))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of all of them, sorted."""
        return tuple(self._rows)

    def copy_trading(self) -> tuple[str, ...]:
        """Return the symbols that leaders can trade now, sorted."""
        return tuple(symbol for symbol, row in self._rows.items() if row.may_be_copied)

    def get(self, symbol: str) -> Instrument | None:
        """Return the contract of a symbol, or ``None`` if it is not listed."""
        return self._rows.get(symbol)

    def __getitem__(self, symbol: str) -> Instrument:
        """Return the contract of a symbol.

        Raises:
            ConfigurationError: it is not listed; the text names the nearest one that is.
        """
        found = self._rows.get(symbol) if isinstance(symbol, str) else None
        if found is None:
            raise ConfigurationError(self._unknown(symbol))
        return found

    def _unknown(self, symbol: object) -> str:
        text = f"there is no contract {repr(symbol)[:60]}; "
        if not self._rows:
            return f"{text}the list is empty"
        wanted = symbol.upper()[:60] if isinstance(symbol, str) else ""
        close = difflib.get_close_matches(wanted, self._rows, n=1)
        if close:
            return f"{text}did you mean {close[0]!r}?"
        return f"{text}{len(self)} are listed: {self._some()}"

    def _some(self) -> str:
        named = ", ".join(self.symbols[:_SHOWN])
        return named if len(self) <= _SHOWN else f"{named}, ..."

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._rows

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Instruments({len(self)}: {self._some()})"
