"""The faults of one direction, as a user sets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bybit_copyws.sandbox.proxy.checks import (
    check_how,
    check_integer,
    check_number,
    check_times,
)
from bybit_copyws.sandbox.proxy.faults import Cut, Faults, Flip
from bybit_copyws.sandbox.proxy.lane import Lane


class Way(Protocol):
    """Runs a function with the faults and the open lanes of one direction, in their thread."""

    def __call__(self, function: Callable[[Faults, Sequence[Lane]], None], /) -> None:
        """Run it, and return when it has taken effect."""


class Direction:
    """One direction of a :class:`FaultProxy`: ``proxy.up`` or ``proxy.down``.

    Every method is safe from any thread, and has taken effect when it returns: after
    :meth:`hold` not one more byte leaves. :meth:`hold`, :meth:`rate`, :meth:`delay` and
    :meth:`chunk` are for all connections, open ones and new ones, until they are called again or
    healed. :meth:`cut_at` and :meth:`flip_at` are armed for the next connections: each of these
    gets everything that is armed when the proxy accepts it.

    All raise ConfigurationError for an argument that makes no sense, or when the proxy does not
    run.
    """

    def __init__(self, way: Way) -> None:
        self._way = way

    def cut_at(self, offset: int, how: str = "rst", *, times: int | None = 1) -> None:
        """Cut the next connection after an exact number of bytes in this direction.

        Args:
            offset: bytes that still pass, counted from the start of the connection; 0 cuts as
                soon as the target has been reached.
            how: ``"rst"`` resets both sides; ``"fin"`` ends both with a FIN, and throws away
                what they still send; ``"hold"`` lets the rest wait in the proxy, in this
                direction, until :meth:`release`.
            times: for how many connections; ``None`` for all until healed.

        Raises:
            ConfigurationError: as said above.
        """
        check_integer("offset", offset, 0)
        check_how(how)
        self._arm_cut(Cut(offset, how, check_times(times)))

    def flip_at(self, offset: int, bit: int = 0, *, times: int | None = 1) -> None:
        """Flip one bit of the next connection in this direction.

        Args:
            offset: place of the byte, 0 for the first one of the connection.
            bit: which one, 0 (worth 1) to 7 (worth 128).
            times: for how many connections; ``None`` for all until healed.

        Raises:
            ConfigurationError: as said above.
        """
        check_integer("offset", offset, 0)
        check_integer("bit", bit, 0, 7)
        flip = Flip(offset, 1 << bit, check_times(times))
        self._way(lambda faults, _: faults.flips.append(flip))

    def hold(self) -> None:
        """Let nothing leave: bytes wait in the proxy, and the FIN or RST behind them."""
        self._set(held=True)

    def release(self) -> None:
        """Let flow what :meth:`hold`, ``cut_at(how="hold")`` or ``cut("hold")`` holds."""

        def release(faults: Faults, lanes: Sequence[Lane]) -> None:
            faults.held = False
            for lane in lanes:
                lane.held = False

        self._way(release)

    def rate(self, bytes_per_second: float | None) -> None:
        """Limit the speed of each connection.

        ``n`` bytes take at least ``n / bytes_per_second`` seconds; after a pause, up to 0.05
        seconds' worth may go at once. They leave in pieces of 0.01 seconds' worth, or of what
        :meth:`chunk` says.

        Args:
            bytes_per_second: the limit, ``None`` for none.

        Raises:
            ConfigurationError: as said above.
        """
        if bytes_per_second is not None:
            check_number("bytes_per_second", bytes_per_second, above=0.0)
        self._set(rate=bytes_per_second)

    def delay(self, seconds: float, jitter: float = 0.0, *, seed: int = 0) -> None:
        """Let what comes in from now on leave later. The order stays.

        Args:
            seconds: from coming in to leaving.
            jitter: seconds; up to so much is added, for each piece that comes in, by chance.
            seed: of the chance: the same one gives each connection the same additions.

        Raises:
            ConfigurationError: as said above.
        """
        check_number("seconds", seconds)
        check_number("jitter", jitter)
        check_integer("seed", seed)
        self._set(delay=float(seconds), jitter=float(jitter), seed=seed)

    def chunk(self, size: int | None) -> None:
        """Send segments of at most so many bytes each.

        Args:
            size: bytes; 1 sends each byte alone; ``None`` lifts the limit.

        Raises:
            ConfigurationError: as said above.
        """
        if size is not None:
            check_integer("size", size, 1)
        self._set(chunk=size)

    def heal(self) -> None:
        """Put an end to all faults of this direction, armed ones too; what waited flows."""

        def heal(faults: Faults, lanes: Sequence[Lane]) -> None:
            faults.heal()
            for lane in lanes:
                lane.heal()

        self._way(heal)

    def _arm_cut(self, cut: Cut) -> None:
        self._way(lambda faults, _: faults.cuts.append(cut))

    def _set(self, **values: Any) -> None:
        self._way(lambda faults, _: vars(faults).update(values))
