"""An :class:`AccountDesk` with a user, a connection and REST around it: all by plain calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from account_rows import NOW_MS, WALLETS, execution, message, order, order5

from bybit_copyws.events import (
    Event,
    GapClosed,
    GapOpened,
    State,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
    UnsubscribeConfirmed,
)
from bybit_copyws.messages import Gap, Message
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.instant import Instant
from bybit_copyws.state import Kind, find_account_dialect
from bybit_copyws.state.desk import AccountDesk, Handout, Ready
from bybit_copyws.wire.profiles import find_profile

WALL = NOW_MS / 1000


class Rig:
    """Does what the stream does: has the line carry what is needed, and tells what it says.

    Args:
        profile: ``"v3"`` or ``"v5"``.
        reconcile: whether REST is asked.
        reconcile_timeout: seconds that messages wait for that.

    Attributes:
        desk: what is tested.
        linked: whether there is a link.
        carried: what the exchange has confirmed on it.
        asked: what it was asked for.
        leaving: what it was asked to send no more.
        refused: what it does not have.
        executions: the rows of all that was executed, oldest first.
        told: what was handed out, and the changes of copy trades, in order.
    """

    def __init__(
        self, profile: str = "v3", *, reconcile: bool = True, reconcile_timeout: float = 10.0
    ) -> None:
        dialect = find_account_dialect(profile)
        self.desk = AccountDesk(
            dialect, 21_000, reconcile=reconcile, reconcile_timeout=reconcile_timeout
        )
        self.profile = profile
        self.wires = dialect.topics
        self._topics = find_profile(profile).topics
        self.seconds = 0
        self.linked = False
        self.carried: set[str] = set()
        self.asked: set[str] = set()
        self.leaving: set[str] = set()
        self.refused: set[str] = set()
        self.executions: list[dict[str, Any]] = []
        self.told: list[Ready] = []
        self._events: list[Event] = []

    @property
    def now(self) -> Instant:
        return Instant(float(self.seconds), WALL + self.seconds)

    @property
    def exchange_ms(self) -> int:
        return NOW_MS + self.seconds * 1000

    # The user

    def subscribe(
        self, *names: str, callback: Callable[[Message], object] = lambda _: None
    ) -> list[Handler]:
        topics = [self._topics.parse(name) for name in names]
        handlers = self.desk.add(topics, callback, None)
        self.refused -= {topic.wire for topic in topics}
        self._carry()
        return handlers

    def unsubscribe(self, *handlers: Handler) -> None:
        self.desk.remove(handlers)
        self._carry()

    def keep(self) -> None:
        self.desk.kept = True
        self._carry()

    def _carry(self) -> None:
        """Have the line carry what is needed, and tell what it carries."""
        needed = self.desk.needed
        self.refused &= needed
        if self.linked:
            self.leaving |= self.carried - needed
            self.carried &= needed
            self.asked = set(needed - self.carried - self.refused)
        self.desk.settle(self.carried, self.now)
        self._listen()

    # The connection

    def connect(self, *, acknowledged: bool = True) -> None:
        """Make a link, and ask for what is needed."""
        self.linked = True
        self.asked = set(self.desk.needed - self.refused)
        if acknowledged:
            self.acknowledge()

    def acknowledge(self, *wires: str) -> None:
        """Answer what was asked: all of it, or some topics."""
        now = {"time": self.now.wall, "connection": "private"}
        left = set(wires or self.leaving) & self.leaving
        self.leaving -= left
        had = set(wires or self.asked) & self.asked - self.leaving
        self.asked -= had
        self.carried |= had
        if left:
            self.hear(UnsubscribeConfirmed(**now, topics=tuple(sorted(left))))
        if had:
            ends = [] if self.desk.state.whole else self._ends(had)
            self.hear(*ends, SubscriptionConfirmed(**now, topics=tuple(sorted(had))))

    def _ends(self, wires: set[str]) -> list[Event]:
        """Return how the connection ends its own gaps."""
        gap = Gap(topics=tuple(sorted(wires)), reason="of the line", since=0.0, until=1.0)
        return [GapClosed(time=self.now.wall, connection="private", gap=gap)]

    def refuse(self, wire: str) -> None:
        """Refuse a topic that was asked for."""
        self.asked.discard(wire)
        self.refused.add(wire)
        self.hear(
            SubscriptionRejected(
                time=self.now.wall,
                connection="private",
                topics=(wire,),
                ret_msg="no such topic",
                explanation="",
            )
        )

    def cut(self, reason: str = "cut", new: State = State.BACKOFF) -> None:
        """End the link."""
        self.linked = False
        events: list[Event] = []
        if self.carried and new is State.BACKOFF:
            events.append(self._opened(self.carried, reason))
        changed = StateChanged(
            time=self.now.wall,
            connection="private",
            old=State.ACTIVE,
            new=new,
            reason=f"{reason}; next attempt in 0.1 s",
        )
        for topics in (self.carried, self.asked, self.leaving):
            topics.clear()
        self.hear(*events, changed)

    def miss(self, *wires: str, reason: str = "not JSON") -> None:
        """Lose a message of some topics: a gap that is over at once."""
        self.hear(self._opened(set(wires), reason), *self._ends(set(wires)))

    def _opened(self, wires: set[str], reason: str) -> Event:
        return GapOpened(
            time=self.now.wall,
            connection="private",
            topics=tuple(sorted(wires)),
            since=self.now.wall,
            reason=reason,
        )

    def hear(self, *events: Event) -> None:
        self.desk.heard(events, self.now)
        self._listen()

    # What comes

    def execute(self, exec_id: str, *, comes: bool = True) -> None:
        """Let something be executed, and maybe tell of it."""
        row = execution(exec_id, self.seconds * 1000, seq=len(self.executions))
        self.executions.append(row)
        if comes and self.wires[Kind.EXECUTION] in self.carried:
            self.send(Kind.EXECUTION, row)

    def send(self, kind: Kind, *rows: Any) -> None:
        """Bring a message."""
        wire = self.wires[kind]
        self.desk.take(wire, message(kind, *rows, profile=self.profile), self.now)
        self._listen()

    def send_order(self, order_id: str, **more: Any) -> None:
        make = order if self.profile == "v3" else order5
        self.send(Kind.ORDER, make(order_id, "New", self.seconds * 1000, **more))

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.desk.tick(self.now)
        self._listen()

    # REST

    def reconcile(self) -> None:
        """Ask for all, and bring in what was answered."""
        assert self.desk.begin(self.exchange_ms, self.now)
        self.answer()
        self.wait(0)

    def answer(self) -> None:
        """Answer all that is asked."""
        state = self.desk.state
        while (question := state.question()) is not None:
            state.answer(question, self._result(*question))

    def _result(self, call: str, params: Mapping[str, Any]) -> Any:
        if call == "wallet":
            return WALLETS[self.profile]
        rows: list[Any] = []
        if call == "orders":  # v3 is asked for the executions of symbols whose orders changed
            make = order if self.profile == "v3" else order5
            rows.append(make("o", "New", self.seconds * 1000))
        elif call == "executions":
            rows += (
                {**row, "execTime": str(row["tradeTime"]), "execPrice": row["price"]}
                for row in reversed(self.executions)
                if row["tradeTime"] >= params["start_time"]
            )
        return {"list": rows}

    # What came of it

    def _listen(self) -> None:
        self._events += self.desk.take_events()
        self.told += self.desk.ready
        self.desk.ready.clear()

    def events(self, *kinds: type[Event]) -> list[Any]:
        """Return the events of some kinds since the last call, which forgets all."""
        events, self._events = self._events, []
        return [event for event in events if not kinds or isinstance(event, kinds)]

    def wires_of(self, names: Iterable[str]) -> set[str]:
        """Return what the exchange calls some topics."""
        return {self._topics.parse(name).wire for name in names}

    def take(self) -> list[Handout]:
        """Return what was handed out since the last call, which forgets all."""
        told, self.told = self.told, []
        return [each for each in told if isinstance(each, Handout)]

    def exec_ids(self) -> list[str]:
        wire = self.wires[Kind.EXECUTION]
        return [
            row["execId"]
            for each in self.told
            if isinstance(each, Handout) and each.channel.topic.wire == wire
            for row in each.message.data
        ]


def live_rig(profile: str = "v3", *names: str) -> Rig:
    """Return a rig that is whole, with topics subscribed (or all kept), and nothing to tell."""
    rig = Rig(profile)
    if names:
        rig.subscribe(*names)
    else:
        rig.keep()
    rig.connect()
    rig.reconcile()
    assert rig.desk.state.whole
    rig.take()
    rig.events()
    return rig
