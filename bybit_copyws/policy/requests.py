"""Which operation a reply belongs to.

A reply is tied by ``req_id`` where it comes back, else by the topics that it quotes, else (a
refusal) by the topic that it names, else to the oldest operation of its kind: the exchange answers
in order. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from bybit_copyws.wire.replies import Ack, named_topic


@dataclass(frozen=True)
class Request:
    """An operation that waits for its reply.

    Attributes:
        op: ``auth``, ``subscribe`` or ``unsubscribe``.
        topics: as on the wire; none for ``auth``.
        req_id: the id it was sent with, or ``None``.
        sent: monotonic seconds.
    """

    op: str
    topics: tuple[str, ...]
    req_id: str | None
    sent: float


class PendingRequests:
    """The operations without a reply, oldest first."""

    def __init__(self) -> None:
        self._requests: list[Request] = []

    def add(self, request: Request) -> None:
        """Remember an operation; to be called before it leaves."""
        self._requests.append(request)

    def clear(self) -> None:
        """Forget all: the connection has ended."""
        self._requests.clear()

    def oldest(self) -> Request | None:
        """Return the operation that has waited longest."""
        return self._requests[0] if self._requests else None

    def match(self, ack: Ack) -> Request | None:
        """Take out the operation that a reply belongs to; ``None`` if there is none."""
        request = self._find(ack)
        if request is not None:
            self._requests.remove(request)
        return request

    def _find(self, ack: Ack) -> Request | None:
        if ack.req_id:
            return next((each for each in self._requests if each.req_id == ack.req_id), None)
        same_op = [each for each in self._requests if ack.op in ("", each.op)]
        if ack.args is not None:
            wanted = sorted(ack.args)
            return next((each for each in same_op if sorted(each.topics) == wanted), None)
        named = None if ack.success else named_topic(ack.ret_msg)
        naming = [each for each in same_op if named in each.topics]
        return next(iter(naming or same_op), None)
