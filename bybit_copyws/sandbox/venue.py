"""The rules that the exchange keeps for one connection: login, subscriptions, limits. Pure.

A frame is accepted or refused as a whole, and a refusal names the first topic at fault, as
Bybit's sockets do.
"""

from __future__ import annotations

import hmac
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.replies import ack, pong
from bybit_copyws.wire.operations import args_size
from bybit_copyws.wire.profiles import V5, Profile
from bybit_copyws.wire.signing import Credentials, auth_text
from bybit_copyws.wire.topics import Scope


@dataclass
class HandshakeRefusal:
    """How connections are refused.

    Args:
        status: HTTP status; 0 for plain text that is no HTTP at all.
        times: how many connections; ``None`` for all from now on.
        scope: ``"public"``, ``"private"`` or ``None`` for both.
        retry_after: value of ``Retry-After`` in seconds, or ``None``.
        location: where a redirect points to, or ``None``.
        body: text of the reply.

    Raises:
        ConfigurationError: the status is none of HTTP.
    """

    status: int = 403
    times: int | None = 1
    scope: str | None = None
    retry_after: float | None = None
    location: str | None = None
    body: str = ""

    def __post_init__(self) -> None:
        """Refuse what no server answers."""
        if self.status != 0 and not 200 <= self.status <= 599:
            raise ConfigurationError(f"status must be 0 or one of HTTP, not {self.status!r}")
        if self.times is not None and self.times < 1:
            raise ConfigurationError(f"times must be 1 or more (or None), not {self.times!r}")


@dataclass
class Rules:
    """What a test may change about the exchange while it runs.

    Attributes:
        refuse_auth: texts with which the next logins are refused, one each.
        silent_ops: operations that are neither carried out nor answered.
        req_id: whether a ``req_id`` comes back.
        max_args: topics in one request, or ``None`` for any number.
        max_args_chars: characters of topics on one connection.
        max_connections: connections that one address may open to one path within the window;
            above, they get HTTP 403 (Bybit: 500 in 5 minutes).
        connection_window: that window, in seconds.
        idle_seconds: a connection without a frame of the client and without data for so long is
            cut; v5 private clients may choose it by ``max_active_time``. It is counted by the
            exchange's clock, and no client can ping within one step of a stepped one.
        handshake_refusals: how the next connections are refused.
    """

    refuse_auth: list[str] = field(default_factory=list)
    silent_ops: set[str] = field(default_factory=set)
    req_id: bool = True
    max_args: int | None = None
    max_args_chars: int = 21_000
    max_connections: int = 500
    connection_window: float = 300.0
    idle_seconds: float = 600.0
    handshake_refusals: list[HandshakeRefusal] = field(default_factory=list)


class Turnstile:
    """Lets connections in, or says how they are refused.

    Args:
        rules: may change at any time.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._opened: dict[tuple[str, str], deque[float]] = {}

    def refusal(self, scope: Scope, address: str, path: str, now: float) -> HandshakeRefusal | None:
        """Return how a connection is refused, or ``None`` if it may come in (it counts then).

        Args:
            scope: of the path.
            address: where it comes from.
            path: where it goes to; each has a limit of its own.
            now: monotonic seconds.
        """
        refusals = self._rules.handshake_refusals
        for refusal in refusals:
            if refusal.scope in (None, scope.value):
                if refusal.times is not None:
                    refusal.times -= 1
                    if refusal.times <= 0:
                        refusals.remove(refusal)
                return refusal
        opened = self._opened.setdefault((address, path), deque())
        while opened and opened[0] <= now - self._rules.connection_window:
            opened.popleft()
        if len(opened) >= self._rules.max_connections:
            return HandshakeRefusal(403, body="Too many connections")
        opened.append(now)
        return None


@dataclass(frozen=True)
class Texts:
    """How a profile words its refusals."""

    expired: str
    wrong_key: str
    wrong_signature: str
    not_logged_in: str

    @classmethod
    def of(cls, profile: Profile) -> Texts:
        """Return the texts of a profile's private socket."""
        return _TEXTS[profile.name]


_TEXTS = {
    "v3": Texts(
        "error:request expired",
        "error:USVC1111",
        "error:USVC1111",
        "error:topic:{topic} needs auth first",
    ),
    "v5": Texts("Params Error", "API key is invalid.", "Params Error", "Request not authorized"),
}


@dataclass
class Outcome:
    """What an operation leads to.

    Attributes:
        reply: the answer, or ``None`` for silence.
        kind: what it answers: ``auth``, ``subscribe``, ``unsubscribe``, ``pong``, or ``refusal``
            for what is no operation.
        added: topics that are sent from now on.
        removed: topics that are no longer sent.
    """

    reply: dict[str, Any] | None
    kind: str = "refusal"
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Connection:
    """One client's connection, as the exchange sees it.

    Args:
        profile: the API generation, told by the path.
        scope: public or private.
        conn_id: its id.
        credentials: the only account.
        rules: may change at any time.
        exists: whether a public topic exists.
        max_active_time: what the client asked for in its URL, such as ``30s`` or ``1m``.
    """

    def __init__(
        self,
        profile: Profile,
        scope: Scope,
        conn_id: str,
        credentials: Credentials,
        rules: Rules,
        exists: Callable[[str], bool],
        max_active_time: str | None = None,
    ) -> None:
        self.profile = profile
        self.scope = scope
        self.conn_id = conn_id
        self.authenticated = False
        self.topics: dict[str, None] = {}
        self._dialect = profile.dialect(scope)
        self._texts = Texts.of(profile)
        self._credentials = credentials
        self._rules = rules
        self._exists = exists
        self._active_time = _active_time(profile, scope, max_active_time)

    @property
    def idle_limit(self) -> float:
        """Seconds after which the connection is cut if nothing comes from either side."""
        return self._rules.idle_seconds if self._active_time is None else self._active_time

    def operate(self, request: Any, now_ms: int, venue_ms: int | None = None) -> Outcome:
        """Carry out one decoded frame of the client.

        Args:
            request: the frame.
            now_ms: the real time: signatures are made by it, whatever the exchange's clock does.
            venue_ms: the exchange's time, if it is another.
        """
        if not isinstance(request, dict):
            return self._undecodable("readObjectStart: expect { or n")
        op, args = request.get("op", ""), request.get("args")
        req_id = request.get("req_id") if self._rules.req_id else None
        if op in self._rules.silent_ops:
            return Outcome(None)
        if op == "ping":
            told_ms = now_ms if venue_ms is None else venue_ms
            reply = pong(self._dialect, req_id, self.conn_id, told_ms)
            return Outcome(reply, "pong")
        if op not in ("auth", "subscribe", "unsubscribe"):
            return self._reply("", None, req_id, "error:invalid op")
        if not isinstance(args, list) or any(isinstance(arg, (dict, list)) for arg in args):
            return self._undecodable("op.CmdReq.Args: []string: not number or string")
        if op == "auth":
            return self._reply(op, args, req_id, self._check_login(args, now_ms))
        topics = tuple(map(str, args))
        if op == "unsubscribe":
            # Giving up a topic that is not subscribed is accepted: no refusal is documented.
            removed = tuple(topic for topic in topics if self.topics.pop(topic, 0) is None)
            outcome = self._reply(op, args, req_id, "")
            outcome.removed = removed
            return outcome
        fault = self._fault(topics)
        outcome = self._reply(op, args, req_id, fault)
        if not fault:
            self.topics.update(dict.fromkeys(topics))
            outcome.added = topics
        return outcome

    def undecodable(self) -> Outcome:
        """Answer text that is no JSON."""
        return self._undecodable("readObjectStart: expect { or n, but found another character")

    def _check_login(self, args: list[Any], now_ms: int) -> str:
        """Return why a login is refused, or an empty text; the account is checked for real."""
        if self._rules.refuse_auth:
            return self._rules.refuse_auth.pop(0)
        if self.scope is Scope.PUBLIC or len(args) != 3:
            return "error:invalid op"
        key, expires, signature = map(str, args)
        if not hmac.compare_digest(key.encode(), self._credentials.api_key.encode()):
            return self._texts.wrong_key
        if not _EXPIRES.fullmatch(expires) or int(expires) <= now_ms:
            return self._texts.expired
        expected = self._credentials.sign(auth_text(int(expires)))
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return self._texts.wrong_signature
        self.authenticated = True
        return ""

    def _fault(self, topics: tuple[str, ...]) -> str:
        """Return why a subscribe is refused, or an empty text."""
        if not topics:
            return "error:handler not found"
        if self.scope is Scope.PRIVATE and not self.authenticated:
            return self._texts.not_logged_in.format(topic=topics[0])
        if self._rules.max_args is not None and len(topics) > self._rules.max_args:
            return f"args size >{self._rules.max_args}"
        if args_size([*self.topics, *topics]) > self._rules.max_args_chars:
            return "error:args too long"
        seen = set(self.topics)
        for topic in topics:
            if not self._known(topic):
                return f"error:handler not found,topic:{topic}"
            if topic in seen:
                return f"error:already subscribed,topic:{topic}"
            seen.add(topic)
        return ""

    def _known(self, topic: str) -> bool:
        if self.scope is Scope.PUBLIC:
            return self._exists(topic)
        return any(
            spec.scope is Scope.PRIVATE
            and spec.channel == topic.partition(".")[0]
            and len(spec.parts) == topic.count(".")
            for spec in self.profile.topics.specs
        )

    def _reply(self, op: str, args: list[Any] | None, req_id: str | None, fault: str) -> Outcome:
        reply = ack(self._dialect, op, args, req_id, self.conn_id, fault)
        return Outcome(reply, op or "refusal")

    def _undecodable(self, detail: str) -> Outcome:
        return self._reply("", None, None, f"Failed to decode incoming data:{detail}")


_MOST_ACTIVE_TIME = 600
_EXPIRES = re.compile(r"[0-9]{1,18}")


def _active_time(profile: Profile, scope: Scope, asked: str | None) -> float | None:
    """Return the seconds that a v5 private client asked for; what Bybit does not know is ignored.

    Bybit documents ``30s`` to ``600s`` and ``1m`` to ``10m`` ("Connect", private v5).
    """
    found = re.fullmatch(r"([0-9]{1,3})([sm])", asked or "")
    if found is None or scope is not Scope.PRIVATE or profile is not V5:
        return None
    seconds = int(found[1]) * (60 if found[2] == "m" else 1)
    return float(seconds) if 30 <= seconds <= _MOST_ACTIVE_TIME else None
