"""The contracts of the sandbox: trading rules, and the rows the REST lists show for them.

Knows prices only to start from; what the market does with them is told elsewhere.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from .numbers import Grid, plain_decimal
from .table import ROWS, Row

#: The status of a contract that is not traded any more; Bybit's own word.
CLOSED = "Closed"
_QUOTE = "USDT"
_NAME = re.compile(r"[A-Z0-9]{1,30}USDT")


@dataclass(frozen=True)
class Instrument:
    """The rules of one USDT perpetual.

    Args:
        symbol: Its name, such as ``BTCUSDT``.
        base_coin: The coin that sizes count.
        tick_size: The step of every price; its written decimals are those of the stream.
        qty_step: The step of every size.
        min_qty: The smallest order.
        max_qty: The largest order.
        min_price: The lowest price of an order.
        max_price: The highest price of an order.
        max_leverage: The highest leverage.
        start_price: Where the simulated market starts.
        quote_coin: The coin that prices count; also settles.
        maker_fee: The fee rate of a resting order.
        taker_fee: The fee rate of an order that takes.
        copy_trading: ``both``, ``none``, ``utaOnly`` or ``normalOnly``.
        status: The contract's status on the v5 list.
        symbol_id: Its number on the v5 list.
        launch_ms: When trading began.
        funding_minutes: The time between two fundings.
        funding_cap: The highest funding rate either way.
        pace: Book events a second at activity 1.
    """

    symbol: str
    base_coin: str
    tick_size: Decimal
    qty_step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_price: Decimal
    max_price: Decimal
    max_leverage: Decimal
    start_price: Decimal
    quote_coin: str = _QUOTE
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.00055")
    copy_trading: str = "both"
    status: str = "Trading"
    symbol_id: int = 1
    launch_ms: int = 1_585_526_400_000
    funding_minutes: int = 480
    funding_cap: Decimal = Decimal("0.00375")
    pace: float = 4.0

    def v3_row(self) -> dict[str, Any]:
        """Return the row of the v3 copy-trading symbol list."""
        tick = Decimal(plain_decimal(self.tick_size))
        exponent = tick.as_tuple().exponent
        return {
            "symbol": self.symbol,
            "baseCurrency": self.base_coin,
            "quoteCurrency": self.quote_coin,
            "priceScale": str(-int(exponent)),
            "takerFee": plain_decimal(self.taker_fee),
            "makerFee": plain_decimal(self.maker_fee),
            "fundingInterval": str(self.funding_minutes),
            "leverageFilter": {
                "maxLeverage": plain_decimal(self.max_leverage),
                "minLeverage": "1",
            },
            "priceFilter": {
                "minPrice": plain_decimal(self.min_price),
                "maxPrice": str(self.max_price.quantize(tick)),
                "tickSize": f"{tick:f}",
            },
            "lotSizeFilter": {
                "qtyStep": str(self.qty_step),
                "maxOrderQty": str(self.max_qty.quantize(self.qty_step)),
                "minOrderQty": str(self.min_qty.quantize(self.qty_step)),
            },
        }

    def v5_row(self) -> dict[str, Any]:
        """Return the row of the v5 instruments-info list."""
        return {
            "symbol": self.symbol,
            "symbolId": self.symbol_id,
            "contractType": "LinearPerpetual",
            "status": self.status,
            "baseCoin": self.base_coin,
            "quoteCoin": self.quote_coin,
            "launchTime": str(self.launch_ms),
            "deliveryTime": "0",
            "deliveryFeeRate": "",
            "priceScale": str(Grid(self.tick_size).decimals),
            "leverageFilter": {
                "minLeverage": "1",
                "maxLeverage": f"{self.max_leverage:.2f}",
                "leverageStep": "0.01",
            },
            "priceFilter": {
                "minPrice": f"{self.min_price:f}",
                "maxPrice": f"{self.max_price:f}",
                "tickSize": f"{self.tick_size:f}",
            },
            "lotSizeFilter": self._v5_lots(),
            "unifiedMarginTrade": True,
            "fundingInterval": self.funding_minutes,
            "settleCoin": self.quote_coin,
            "copyTrading": self.copy_trading,
            "upperFundingRate": plain_decimal(self.funding_cap),
            "lowerFundingRate": plain_decimal(-self.funding_cap),
            "isPreListing": False,
            "preListingInfo": None,
            "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
            "symbolType": "",
        }

    def _v5_lots(self) -> dict[str, str]:
        largest = f"{self.max_qty.quantize(self.qty_step):f}"
        half = Grid(self.qty_step)
        return {
            "maxOrderQty": largest,
            "minOrderQty": f"{self.min_qty.quantize(self.qty_step):f}",
            "qtyStep": f"{self.qty_step:f}",
            "postOnlyMaxOrderQty": largest,
            "maxMktOrderQty": half.text(half.floor(self.max_qty / 2)),
            "minNotionalValue": "5",
        }


def _make(row: Row, number: int) -> Instrument:
    base, start, tick, step, largest, leverage, pace = row
    tick_size, qty_step = Decimal(tick), Decimal(step)
    return Instrument(
        symbol=base + _QUOTE,
        base_coin=base,
        tick_size=tick_size,
        qty_step=qty_step,
        min_qty=qty_step,
        max_qty=Decimal(largest),
        min_price=tick_size,
        # As on the exchange: two ticks below twenty million of them.
        max_price=tick_size * 19_999_998,
        max_leverage=Decimal(leverage),
        start_price=Decimal(start),
        symbol_id=number,
        pace=pace,
    )


#: The contracts that the sandbox knows by default, by symbol.
DEFAULT_INSTRUMENTS: Mapping[str, Instrument] = MappingProxyType(
    {row[0] + _QUOTE: _make(row, number) for number, row in enumerate(ROWS, 5)}
)


def instrument(symbol: str) -> Instrument:
    """Return the default contract of that name, or invent one; the same name gives the same rules.

    Args:
        symbol: Capital letters and digits that end in ``USDT``.

    Raises:
        ValueError: The name is not of that form.
    """
    known = DEFAULT_INSTRUMENTS.get(symbol)
    if known is not None:
        return known
    if not _NAME.fullmatch(symbol):
        raise ValueError(f"{symbol!r} is not the name of a USDT perpetual, such as 'BTCUSDT'")
    number = zlib.crc32(symbol.encode())
    rng = random.Random(number)  # noqa: S311 (a simulation, not a secret)
    magnitude = rng.randrange(-2, 4)
    price = Decimal(rng.randrange(1000, 9999)).scaleb(magnitude - 3)
    # Ten thousand ticks to the price or more, and a lot worth between 0.1 and 10 dollars.
    tick = Decimal(1).scaleb(magnitude - rng.choice((4, 4, 5)))
    step = Decimal(1).scaleb(-magnitude - rng.choice((0, 1)))
    row = (
        symbol[: -len(_QUOTE)],
        f"{price:f}",
        f"{tick:f}",
        f"{step:f}",
        f"{step * 50_000:f}",
        rng.choice(("12.5", "25", "50", "75")),
        rng.choice((1.0, 2.0, 4.0)),
    )
    return _make(row, 1000 + number % 9000)
