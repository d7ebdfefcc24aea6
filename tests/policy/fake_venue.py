"""A pure exchange for one connection, and a rig that drives a session against it.

Both are plain objects: texts and time go in, replies come out; no thread, no socket, no sleep.
"""

import json
import random
from collections import Counter, deque

from bybit_copyws.errors import ConnectionLost
from bybit_copyws.events import State
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.liveness import LinkStatus
from bybit_copyws.policy.session import LEAP, Session, SessionSettings
from bybit_copyws.wire.dialects import AckShape, PongShape
from bybit_copyws.wire.operations import args_size
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5
from bybit_copyws.wire.replies import read_reply
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope

API_KEY, API_SECRET = "canary-key", "canary-secret"

SOCKETS = {
    "v3-public": (COPY_TRADING_V3, Scope.PUBLIC),
    "v3-private": (COPY_TRADING_V3, Scope.PRIVATE),
    "v5-public": (V5, Scope.PUBLIC),
    "v5-private": (V5, Scope.PRIVATE),
}

TOPICS = {
    "v3-public": tuple(f"publicTrade.{letter}USDT" for letter in "ABCDEFGH"),
    "v3-private": tuple(
        f"copyTrade{each}" for each in ("Position", "Order", "Execution", "Wallet")
    ),
    "v5-public": tuple(f"tickers.{letter}USDT" for letter in "ABCDEFGH"),
    "v5-private": ("position", "order", "execution", "wallet", "position.linear", "order.linear"),
}

GONE = ConnectionLost("the link is gone")


class Venue:
    """One socket of the exchange, as strict as the real one.

    Args:
        profile, scope: which socket; they decide the dialect.
        unknown: topics that it does not know.
        names_topic: whether a refusal names the first topic at fault.
        returns_req_id: whether ``req_id`` comes back.
        max_args: the most topics in one request.
        sticky: topics that cannot be unsubscribed.
    """

    def __init__(
        self,
        profile,
        scope,
        *,
        unknown=(),
        names_topic=True,
        returns_req_id=True,
        max_args=None,
        sticky=(),
    ):
        self.dialect = profile.dialect(scope)
        self.private = scope is Scope.PRIVATE
        self.unknown = set(unknown)
        self.names_topic = names_topic
        self.returns_req_id = returns_req_id
        self.max_args = max_args
        self.sticky = set(sticky)
        self.login_verdicts = deque()  # texts for the next logins; "" accepts, as when empty
        self.without_permission = set()
        self.logins = []  # (expires, signature) of every login ever
        self.texts = []  # everything ever received
        self.breaches = []  # what no client may do
        self.most_chars = 0
        self.reset()

    def reset(self):
        """Lose the link."""
        self.authenticated = not self.private
        self.held = []
        self.replies = deque()  # (topics of the operation, reply), not delivered yet
        self.in_flight = Counter()

    def receive(self, text):
        """Do what is asked, and queue the reply."""
        self.texts.append(text)
        request = json.loads(text)
        op, args, req_id = request["op"], request.get("args", []), request.get("req_id")
        if op == "ping":
            self.replies.append(((), self._pong()))
        elif op == "auth":
            self._log_in(args)
        else:
            self._change(op, args, req_id)

    def take(self, index=0):
        """Hand over one of the replies that wait."""
        topics, reply = self.replies[index]
        del self.replies[index]
        self.in_flight.subtract(topics)
        return reply

    def asked(self, op):
        """Return the topics of every operation of a kind, in order."""
        requests = map(json.loads, self.texts)
        return [topic for each in requests if each["op"] == op for topic in each["args"]]

    def _log_in(self, args):
        self.logins.append((args[1], args[2]))
        verdict = self.login_verdicts.popleft() if self.login_verdicts else ""
        self.authenticated = not verdict
        self._answer("auth", list(map(str, args)), None, verdict)

    def _change(self, op, topics, req_id):
        if not topics or (req_id is not None and not self.dialect.req_id):
            self.breaches.append(f"{op} {topics} req_id={req_id}")
        if not self.authenticated and op == "subscribe":
            self.breaches.append(f"{topics} before the login")
        self.breaches += [f"{each} is in flight" for each in topics if self.in_flight[each] > 0]
        self.in_flight.update(topics)
        verdict = self._verdict(op, topics)
        if not verdict and op == "subscribe":
            self.held += topics
        elif not verdict:
            self.held = [topic for topic in self.held if topic not in topics]
        self.most_chars = max(self.most_chars, args_size(self.held))
        self._answer(op, topics, req_id, verdict)

    def _verdict(self, op, topics):
        """Return why the whole frame is refused, or ``""``."""
        if self.max_args is not None and len(topics) > self.max_args:
            return f"args size >{self.max_args}"
        seen = set()
        for topic in topics:
            if topic in self.without_permission or not self.authenticated:
                return (
                    f"error:topic:{topic} needs auth first"
                    if self.names_topic
                    else ("Request not authorized")
                )
            again = op == "subscribe" and (topic in self.held or topic in seen)
            if topic in self.unknown or (op == "unsubscribe" and topic in self.sticky):
                return self._named("error:handler not found", topic)
            if again:
                return self._named("error:already subscribed", topic)
            seen.add(topic)
        return ""

    def _named(self, text, topic):
        return f"{text},topic:{topic}" if self.names_topic else text

    def _answer(self, op, args, req_id, verdict):
        facts = {"success": not verdict, "ret_msg": verdict, "conn_id": "c-1"}
        returned = req_id if self.returns_req_id else None
        if self.dialect.ack is AckShape.REQUEST:
            facts["request"] = {"op": op, "args": args}
        elif self.dialect.ack is AckShape.OP_AND_REQ_ID:
            facts |= {"req_id": returned or "", "op": op}
        else:
            facts |= {"op": op} if returned is None else {"op": op, "req_id": returned}
        self.replies.append(([] if op == "auth" else args, facts))

    def _pong(self):
        if self.dialect.pong is PongShape.OP:
            return {"op": "pong", "args": ["1675418560633"], "conn_id": "c-1"}
        facts = {"success": True, "ret_msg": "pong", "conn_id": "c-1"}
        if self.dialect.pong is PongShape.RET_MSG:
            return facts | {"req_id": "", "op": "ping"}
        return facts | {"request": {"op": "ping", "args": None}}


class Rig:
    """A session, its venue, and the time between them."""

    def __init__(self, socket="v3-public", *, settings=None, credentials=None, seed=1, **options):
        self.profile, self.scope = SOCKETS[socket]
        self.venue = Venue(self.profile, self.scope, **options)
        if credentials is None and self.scope is Scope.PRIVATE:
            credentials = Credentials(API_KEY, API_SECRET)
        self.session = Session(
            self.scope,
            self.profile,
            settings or SessionSettings(),
            credentials,
            random.Random(seed),
        )
        self.now = Instant(1_000.0, 1_700_000_000.0)
        self.events = []
        self.clock_ahead = None  # by how many seconds REST says that the venue's clock is ahead

    @property
    def registry(self):
        return self.session.registry

    # The user

    def add(self, *names, callback=print):
        """Subscribe, as the stream does; nothing is delivered yet."""
        handlers = self.registry.add([self.profile.topics.parse(each) for each in names], callback)
        self.session.replan(self.now)
        self.send()
        return handlers

    def remove(self, *handlers):
        """Unsubscribe, as the stream does; nothing is delivered yet."""
        self.registry.remove(handlers)
        self.session.replan(self.now)
        self.send()

    # The link

    def connect(self):
        """Open a link; nothing is delivered yet."""
        self.session.connecting(self.now)
        self.session.opened(self.now)
        self.send()

    def drop(self, error=GONE, headroom=1.0):
        """Lose the link (or the attempt)."""
        self.venue.reset()
        self.session.ended(self.now, self.session.ending or error, headroom, None)
        self._note()

    def send(self):
        """Let everything leave that wants to."""
        for text in self.session.take_outgoing():
            self.venue.receive(text)
        self._note()

    def deliver(self, index=0):
        """Deliver one reply, and send what comes of it."""
        self.reply(self.venue.take(index))

    def reply(self, message):
        """Let the exchange say something."""
        self.session.received(read_reply(json.loads(json.dumps(message))), self.now)
        login = self.session.login
        if login is not None and login.wants_clock:
            ahead = self.clock_ahead
            server_ms = None if ahead is None else int((self.now.wall + ahead) * 1000)
            self.session.clock_measured(server_ms, self.now)
        self.send()

    def settle(self):
        """Deliver until nothing is under way."""
        self.send()
        while self.venue.replies and self.session.ending is None:
            self.deliver()

    def start(self, *names):
        """Subscribe, connect and settle."""
        handlers = self.add(*names)
        self.connect()
        self.settle()
        return handlers

    def reconnect(self):
        """Lose the link and come back to rest."""
        self.drop()
        self.connect()
        self.settle()

    # Time

    def wait(self, seconds):
        self.now = Instant(self.now.mono + seconds, self.now.wall + seconds)

    def tick(self, seconds=0.0, **link):
        """Let time pass, looking on as the heartbeat does, then tick once and send."""
        while seconds > LEAP:
            self.wait(LEAP)
            seconds -= LEAP
            self.session.tick(self.now, LinkStatus(**link))
        self.leap(seconds, **link)

    def leap(self, seconds, **link):
        """Let time pass without a look at it, then tick once and send."""
        self.wait(seconds)
        self.session.tick(self.now, LinkStatus(**link))
        self.send()

    # What the tests look at

    def wires(self):
        """Return the wanted topics, as on the wire."""
        return {handler.topic.wire for handler in self.registry.handlers}

    def of(self, kind):
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def check(self):
        """Check what holds at any time."""
        assert self.venue.breaches == []
        assert len(self.venue.held) == len(set(self.venue.held))
        assert self.venue.most_chars <= self.profile.max_args_chars

    def check_settled(self):
        """Check that the exchange holds what is wanted and can be had."""
        self.check()
        assert self.session.state is State.ACTIVE
        rejected = self.venue.unknown | self.venue.without_permission
        assert sorted(self.venue.held) == sorted(self.wires() - rejected)

    def _note(self):
        self.events += self.session.take_events()
