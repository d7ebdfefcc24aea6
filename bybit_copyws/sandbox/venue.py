"""The rules that the exchange keeps for one connection: login, subscriptions, limits. Pure.

A frame is accepted or refused as a whole, and a refusal names the first topic at fault, as
Bybit's sockets do.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bybit_copyws.sandbox.replies import ack, pong
from bybit_copyws.wire.operations import args_size
from bybit_copyws.wire.profiles import Profile
from bybit_copyws.wire.signing import Credentials, auth_text
from bybit_copyws.wire.topics import Scope


@dataclass
class Rules:
    """What a test may change about the exchange while it runs.

    Attributes:
        refuse_auth: texts with which the next logins are refused, one each.
        silent_ops: operations that are not answered.
        pong: whether application pings are answered.
        req_id: whether a ``req_id`` comes back.
        max_args: topics in one request, or ``None`` for any number.
        max_args_chars: characters of topics on one connection.
        handshake_status: HTTP status with which every connection is refused, or ``None``.
    """

    refuse_auth: list[str] = field(default_factory=list)
    silent_ops: set[str] = field(default_factory=set)
    pong: bool = True
    req_id: bool = True
    max_args: int | None = None
    max_args_chars: int = 21_000
    handshake_status: int | None = None


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
        added: topics that are sent from now on.
        removed: topics that are no longer sent.
    """

    reply: dict[str, Any] | None
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
    """

    def __init__(
        self,
        profile: Profile,
        scope: Scope,
        conn_id: str,
        credentials: Credentials,
        rules: Rules,
        exists: Callable[[str], bool],
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

    def operate(self, request: Any, now_ms: int) -> Outcome:
        """Carry out one decoded frame of the client."""
        if not isinstance(request, dict):
            return self._undecodable("readObjectStart: expect { or n")
        op, args = request.get("op", ""), request.get("args")
        req_id = request.get("req_id") if self._rules.req_id else None
        if op == "ping":
            reply = pong(self._dialect, req_id, self.conn_id, now_ms)
            return Outcome(reply if self._rules.pong else None)
        if op not in ("auth", "subscribe", "unsubscribe"):
            return self._reply("", None, req_id, "error:invalid op")
        if not isinstance(args, list) or any(isinstance(arg, (dict, list)) for arg in args):
            return self._undecodable("op.CmdReq.Args: []string: not number or string")
        if op in self._rules.silent_ops:
            return Outcome(None)
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
        if not expires.isdigit() or int(expires) <= now_ms:
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
        return Outcome(ack(self._dialect, op, args, req_id, self.conn_id, fault))

    def _undecodable(self, detail: str) -> Outcome:
        return self._reply("", None, None, f"Failed to decode incoming data:{detail}")
