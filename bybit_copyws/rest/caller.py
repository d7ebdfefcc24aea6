"""Makes a call: waits for its budget, signs, sends, judges, and tries again where that is safe.

Must not know what a call is for, nor how requests travel.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bybit_copyws.errors import ConfigurationError, RestError
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.server_clock import ServerClock
from bybit_copyws.rest import meanings
from bybit_copyws.rest.endpoints import Dialect, Endpoint
from bybit_copyws.rest.limits import Limits
from bybit_copyws.rest.params import body_of, query_of
from bybit_copyws.rest.records import server_time_ms
from bybit_copyws.rest.replies import Envelope, Reply, judge
from bybit_copyws.rest.retries import Failure, Kind, Step, next_step
from bybit_copyws.rest.signing import signed_headers
from bybit_copyws.rest.transport import MustRaise, Outgoing
from bybit_copyws.wire.signing import Credentials

_log = logging.getLogger("bybit_copyws.rest")


class Carrier(Protocol):
    """What sends a request: :class:`~bybit_copyws.rest.transport.Transport`, or that of a test."""

    def send(self, outgoing: Outgoing, deadline: float) -> Reply | Failure | MustRaise:
        """Send a request and wait for its reply."""


@dataclass(frozen=True)
class CallSettings:
    """How calls are made; see :class:`~bybit_copyws.rest.client.RestClient`."""

    total_timeout: float = 30.0
    recv_window: float = 5.0
    retries: int = 3
    backoff: Backoff = field(default_factory=lambda: Backoff(base=0.25, cap=5.0))


@dataclass
class _Trip:
    """One call on its way through all attempts."""

    endpoint: Endpoint
    params: Mapping[str, Any]
    deadline: float
    what_for: str = ""  # the call that cannot be made before this one, if there is any
    attempts: int = 0
    measured: bool = False
    may_be_done: bool = False
    failure: Failure | None = None
    # Of the latest attempt, in monotonic seconds.
    sent: float = 0.0
    received: float = 0.0

    @property
    def name(self) -> str:
        own = self.endpoint.name
        return f"{self.what_for} (before it {own}, for the clock)" if self.what_for else own

    @property
    def repeatable(self) -> bool:
        return self.endpoint.reads or (self.endpoint.makes_order and "orderLinkId" in self.params)


class Caller:
    """Calls the endpoints of one exchange with one key. Safe from any thread.

    Args:
        dialect: the API; its ``server_time`` tells the clock.
        credentials: who signs, or ``None`` for public endpoints only.
        settings: how calls are made.
        carrier: sends them.
        stopped: ends every wait when set.
        now: monotonic clock.
        pause: waits some seconds, or until ``stopped`` is set.
    """

    def __init__(
        self,
        dialect: Dialect,
        credentials: Credentials | None,
        settings: CallSettings,
        carrier: Carrier,
        stopped: threading.Event,
        *,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._time_endpoint = dialect.endpoint("server_time")
        self._credentials = credentials
        self._settings = settings
        self._carrier = carrier
        self._stopped = stopped
        self._now = now
        self._pause = pause or stopped.wait
        self._pid = os.getpid()
        self._rng = random.Random()  # noqa: S311 (jitter, not a secret)
        # Guards _clock and _limits; held only for pure calls, no other lock is taken inside.
        self._lock = threading.Lock()
        self._clock = ServerClock()
        self._limits = Limits()

    def call(self, endpoint: Endpoint, params: Mapping[str, Any]) -> Any:
        """Make a call and return its ``result``, as sent.

        Args:
            endpoint: which.
            params: what it sends, by the wire's names.

        Raises:
            ConfigurationError: it must be signed, and there is no key.
            HttpStatusError: the reply has a status that is no success.
            ApiError: the exchange refused it.
            RestError: anything else went wrong, or the client was closed.
        """
        self.check(endpoint)
        return self._run(_Trip(endpoint, params, self._deadline())).result

    def check(self, endpoint: Endpoint) -> None:
        """Refuse what must be signed if there is no key, and everything in a forked process.

        Raises:
            ConfigurationError: there is none.
            RestError: the process that made the client is another: both would use its connections.
        """
        if os.getpid() != self._pid:
            raise RestError(endpoint.name, "the client was made before a fork; make a new one")
        if endpoint.budget is not None and self._credentials is None:
            raise ConfigurationError(f"{endpoint.name} needs api_key and api_secret")

    def measure_clock(self, timeout: float | None = None) -> None:
        """Ask for the exchange's time, and keep by how much the clocks differ.

        Args:
            timeout: seconds; ``None`` for that of all calls.

        Raises:
            RestError: there was no answer.
        """
        self.check(self._time_endpoint)
        self._measure(self._deadline() if timeout is None else self._now() + timeout)

    def server_ms(self) -> int | None:
        """Return the exchange's time as far as it is known; ``None`` if it was never measured."""
        with self._lock:
            return self._clock.now_ms(self._now()) if self._clock.known else None

    # One call

    def _deadline(self) -> float:
        return self._now() + self._settings.total_timeout

    def _measure(self, deadline: float, what_for: str = "") -> None:
        trip = _Trip(self._time_endpoint, {}, deadline, what_for)
        server_ms = server_time_ms(self._run(trip).result)
        with self._lock:
            self._clock.measure(trip.sent, trip.received, server_ms)

    def _run(self, trip: _Trip) -> Envelope:
        """Try until there is an answer, or no hope of one."""
        while True:
            if trip.endpoint.budget is not None and self.server_ms() is None:
                self._measure(trip.deadline, trip.name)
            self._admit(trip)
            outcome = self._attempt(trip)
            if isinstance(outcome, MustRaise):
                raise outcome.error
            if isinstance(outcome, Envelope):
                return outcome
            trip.failure = outcome
            trip.may_be_done |= outcome.may_be_done and not trip.endpoint.reads
            self._prepare_next(trip, outcome)

    def _prepare_next(self, trip: _Trip, failure: Failure) -> None:
        """Wait for what the next attempt needs, or raise if there is none."""
        self._check_open(trip)
        step = next_step(
            failure,
            repeatable=trip.repeatable,
            attempts=trip.attempts,
            retries=self._settings.retries,
            measured=trip.measured,
        )
        if step is Step.GIVE_UP:
            raise self._error(trip, failure)
        _log.info("%s: %s; next: %s", trip.name, failure.reason, step.value)
        if step is Step.MEASURE_CLOCK:
            trip.measured = True  # what is known of the clock was forgotten with the refusal
        elif step is Step.BACK_OFF:
            delay = self._settings.backoff.delay(trip.attempts, 0.0, self._rng)
            self._wait(trip, max(delay, failure.retry_after or 0.0))

    def _attempt(self, trip: _Trip) -> Envelope | Failure | MustRaise:
        endpoint = trip.endpoint
        outgoing = self._compose(trip)
        trip.attempts += 1
        trip.sent = self._now()
        came = self._carrier.send(outgoing, trip.deadline)
        trip.received = now = self._now()
        reply = came if isinstance(came, Reply) else None
        outcome = judge(came, self._clean, time.time()) if isinstance(came, Reply) else came
        with self._lock:
            self._limits.settle(endpoint, reply, now)
            if isinstance(outcome, Failure):
                server_ms = self._clock.now_ms(now) if self._clock.known else None
                self._limits.heed(endpoint, outcome, now, server_ms)
                if outcome.kind is Kind.CLOCK:
                    self._clock.known = False
            elif isinstance(outcome, Envelope) and endpoint.budget and outcome.time is not None:
                self._clock.correct(trip.sent, now, outcome.time)
        what = outcome.reason if isinstance(outcome, Failure) else "answered"
        _log.debug("%s: %s after %.0f ms", trip.name, what, (now - trip.sent) * 1000.0)
        return outcome

    def _compose(self, trip: _Trip) -> Outgoing:
        """Write a request down; what is signed is what is sent."""
        endpoint, params = trip.endpoint, trip.params
        query = query_of(params) if endpoint.reads else ""
        body = b"" if endpoint.reads else body_of(params)
        headers = {} if endpoint.reads else {"Content-Type": "application/json"}
        if self._credentials is not None and endpoint.budget is not None:
            with self._lock:
                timestamp = self._clock.now_ms(self._now())
            window = round(self._settings.recv_window * 1000)
            headers |= signed_headers(self._credentials, timestamp, window, query or body.decode())
        target = f"{endpoint.path}?{query}" if query else endpoint.path
        return Outgoing(endpoint.method, target, headers, body)

    # Waiting

    def _admit(self, trip: _Trip) -> None:
        """Wait until a call may be made, and count it.

        Raises:
            RestError: it may not within its time.
        """
        while True:
            self._check_open(trip)
            with self._lock:
                now = self._now()
                banned = self._limits.banned(now)
                wait = self._limits.wait(trip.endpoint, now)
                if not banned and wait <= 0:
                    self._limits.take(trip.endpoint)
                    return
            if banned:
                reason = f"not sent: an earlier call got HTTP 403; wait {banned:.0f} s more"
                raise Failure(Kind.BANNED, reason, meanings.BANNED, status=403).error(
                    trip.name, uncertain=trip.may_be_done, retry_after=banned
                )
            self._wait(trip, wait)

    def _wait(self, trip: _Trip, seconds: float) -> None:
        """Wait before the next attempt.

        Raises:
            RestError: that would take longer than the call may, or the client was closed.
        """
        if self._now() + seconds > trip.deadline:
            if trip.failure is not None:
                raise self._error(trip, trip.failure)
            raise RestError(
                trip.name,
                f"not sent: the calls that the exchange allows are used up for {seconds:.1f} s "
                "more, which is longer than total_timeout",
                retry_after=seconds,
            )
        self._pause(seconds)
        self._check_open(trip)

    def _check_open(self, trip: _Trip) -> None:
        if self._stopped.is_set():
            raise RestError(
                trip.name,
                "the client was closed; make a new one",
                uncertain=trip.may_be_done,
            )

    # Errors

    def _error(self, trip: _Trip, failure: Failure) -> RestError:
        """Make the error for the last failure of a call."""
        retry_after = failure.retry_after
        with self._lock:
            now = self._now()
            if failure.kind is Kind.BANNED:
                retry_after = self._limits.banned(now)
            elif failure.kind is Kind.LIMITED:
                retry_after = self._limits.wait(trip.endpoint, now)
        return failure.error(trip.name, uncertain=trip.may_be_done, retry_after=retry_after)

    def _clean(self, text: str) -> str:
        return text if self._credentials is None else self._credentials.redact(text)
