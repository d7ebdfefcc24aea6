"""What is done about a call that failed. Pure.

Nothing is sent twice that could be carried out twice: only what reads, an order that its
``orderLinkId`` makes recognisable, and what the exchange has refused to look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bybit_copyws.errors import ApiError, HttpStatusError, RestError


class Kind(Enum):
    """What happened, as far as it matters for trying again."""

    UNSENT = "unsent"  # no connection: the exchange has not heard of the call
    LOST = "lost"  # it may have been carried out: no reply, or none that can be read
    SERVER = "server"  # trouble at the exchange; it may have been carried out
    LIMITED = "limited"  # refused for the number of calls
    CLOCK = "clock"  # refused for its timestamp
    BANNED = "banned"  # the address is refused
    REFUSED = "refused"  # the exchange's answer is no


class Step(Enum):
    """What comes next."""

    GIVE_UP = "give up"
    BACK_OFF = "back off"
    AWAIT_BUDGET = "await budget"
    MEASURE_CLOCK = "measure clock"


_MAY_BE_DONE = (Kind.LOST, Kind.SERVER)


@dataclass(frozen=True)
class Failure:
    """A call that did not succeed, once.

    Attributes:
        kind: what it means for trying again.
        reason: what was observed; free of secrets.
        explanation: what that most likely means and what to do.
        status: HTTP status, if the failure is one of HTTP.
        ret_code: code of the exchange's refusal, if it is one.
        ret_msg: its text; free of secrets.
        retry_after: seconds that were asked for.
        reset_ms: when the exchange said that the next call may pass, by its clock.
        lasting: whether another attempt will hardly fare better.
    """

    kind: Kind
    reason: str = ""
    explanation: str = ""
    status: int | None = None
    ret_code: int | None = None
    ret_msg: str = ""
    retry_after: float | None = None
    reset_ms: int | None = None
    lasting: bool = False

    @property
    def may_be_done(self) -> bool:
        """Whether the exchange may have carried out the call."""
        return self.kind in _MAY_BE_DONE

    def error(self, call: str, *, uncertain: bool, retry_after: float | None = None) -> RestError:
        """Make the error that is raised for it."""
        wait = self.retry_after if retry_after is None else retry_after
        if self.ret_code is not None:
            return ApiError(
                call,
                self.ret_code,
                self.ret_msg,
                explanation=self.explanation,
                uncertain=uncertain,
                retry_after=wait,
            )
        if self.status is not None:
            return HttpStatusError(
                call,
                self.reason,
                status=self.status,
                explanation=self.explanation,
                uncertain=uncertain,
                retry_after=wait,
            )
        return RestError(
            call, self.reason, explanation=self.explanation, uncertain=uncertain, retry_after=wait
        )


def next_step(
    failure: Failure, *, repeatable: bool, attempts: int, retries: int, measured: bool
) -> Step:
    """Decide what follows a failure.

    Args:
        failure: the latest one.
        repeatable: whether the call does no harm if it is carried out twice.
        attempts: how often it was tried, at least once.
        retries: how often it may be tried again.
        measured: whether the clock was measured anew for this call.
    """
    if failure.lasting or attempts > retries:
        return Step.GIVE_UP
    if failure.kind is Kind.CLOCK:
        return Step.GIVE_UP if measured else Step.MEASURE_CLOCK
    if failure.kind is Kind.LIMITED:
        return Step.AWAIT_BUDGET
    trouble = failure.may_be_done or failure.kind is Kind.UNSENT
    return Step.BACK_OFF if trouble and repeatable else Step.GIVE_UP
