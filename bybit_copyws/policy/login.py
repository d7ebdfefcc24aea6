"""The login of a private connection: when its signature expires, and when to try once more. Pure.

A signature is valid until a moment of the exchange's clock, so it is made by that clock once it is
known. The exchange says "expired" where this machine's clock is wrong, and where a reply took long.
"""

from __future__ import annotations

from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.server_clock import ServerClock
from bybit_copyws.wire.operations import auth_request
from bybit_copyws.wire.replies import may_be_expired
from bybit_copyws.wire.signing import Credentials

WORTH_TELLING = 1.0
"""Seconds by which the clocks must differ, or a difference must have changed, to be told."""


class Login:
    """Logs one connection in.

    Args:
        credentials: the key pair.
        valid_for: seconds for which a signature is valid.

    Attributes:
        clock: the exchange's, as far as it is known.
        wants_clock: whether the next try waits for a look at the exchange's clock.
    """

    def __init__(self, credentials: Credentials, valid_for: float) -> None:
        self.clock = ServerClock()
        self.wants_clock = False
        self._credentials = credentials
        self._valid_for = valid_for
        self._expires_ms = 0
        self._tried_again = False
        self._told = 0.0

    def request(self, now: Instant) -> str:
        """Return the operation to send."""
        server_ms = self.clock.now_ms(now.mono) if self.clock.known else int(now.wall * 1000)
        expires_ms = server_ms + int(self._valid_for * 1000)
        if expires_ms == self._expires_ms:  # a signature is never used twice
            expires_ms += 1
        self._expires_ms = expires_ms
        return auth_request(self._credentials, expires_ms)

    def accepted(self) -> None:
        """Note that the exchange accepted the key."""
        self._tried_again = False

    def refused(self, ret_msg: str) -> bool:
        """Note a refusal; return whether a fresh signature may help, once the clock is known."""
        if self._tried_again or not may_be_expired(ret_msg):
            return False
        self._tried_again = True
        self.clock.known = False  # what was known of it has led to this
        self.wants_clock = True
        return True

    def interrupted(self) -> None:
        """Note that the link was lost before an answer."""
        self._tried_again = False

    def measured(self, server_ms: int | None, now: Instant) -> None:
        """Take what the exchange's clock says now; ``None`` if nobody could tell."""
        self.wants_clock = False
        if server_ms is not None:
            self.clock.measure(now.mono, now.mono, server_ms)

    def skew(self, now: Instant) -> float:
        """Return by how many seconds the exchange's clock is ahead for certain; 0.0 if unknown."""
        seconds = self.known_skew(now)
        if seconds is None:
            return 0.0
        return seconds if abs(seconds) > self.clock.error_ms / 1000.0 else 0.0

    def known_skew(self, now: Instant) -> float | None:
        """Return by how many seconds the exchange's clock is ahead, give or take its error."""
        return self.clock.now_ms(now.mono) / 1000.0 - now.wall if self.clock.known else None

    def untold_skew(self, now: Instant) -> float | None:
        """Return the skew if it is worth telling and was not told yet."""
        seconds = self.skew(now)
        if abs(seconds) < WORTH_TELLING:
            self._told = 0.0
            return None
        if abs(seconds - self._told) < WORTH_TELLING:
            return None
        self._told = seconds
        return seconds

    def explain_skew(self, now: Instant) -> str:
        """Return what a refusal may owe to the clock; ``""`` if nothing."""
        seconds = self.skew(now)
        if abs(seconds) < WORTH_TELLING:
            return ""
        side = "behind" if seconds > 0 else "ahead of"
        return f"This machine's clock is {abs(seconds):.1f} s {side} the exchange's"
