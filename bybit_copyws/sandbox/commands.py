"""What the exchange can be told to do: by a test, by a step of a scenario, from another process.

Names and arguments are those of ``controls`` and of ``scenario.COMMANDS``. Runs in the event loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.faults import SCOPES, ActiveFault, Fault, Outgoing, check_one_of
from bybit_copyws.sandbox.garbage import encode_frame
from bybit_copyws.sandbox.market import Instrument, UnknownSymbol, instrument
from bybit_copyws.sandbox.peer import Peer
from bybit_copyws.sandbox.scenario import Step
from bybit_copyws.sandbox.venue import HandshakeRefusal

if TYPE_CHECKING:
    from bybit_copyws.sandbox.exchange import Exchange

_CHOICES: Mapping[str, tuple[str | None, ...]] = MappingProxyType(
    {
        "scope": SCOPES,
        "how": ("close", "fin", "rst"),
        "direction": ("down", "up", "both"),
        "copy_trading": ("both", "none", "utaOnly", "normalOnly"),
    }
)
_TYPES: Mapping[str, type | tuple[type, ...]] = MappingProxyType(
    {
        "bytes_per_second": (int, float),
        "code": int,
        "payload": (dict, str, bytes),
        "reason": str,
        "ret_msg": str,
        "symbol": str,
        "times": int,
    }
)


def new_instrument(symbol: str, copy_trading: str = "both") -> Instrument:
    """Return a contract of that name, for the list.

    Raises:
        ConfigurationError: it is no name of a contract, or the flag is none.
    """
    check_choice("copy_trading", copy_trading)
    try:
        return replace(instrument(symbol), copy_trading=copy_trading)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{symbol!r} is not the name of a USDT perpetual, such as 'BTCUSDT'"
        ) from None


# Commands that make something of their arguments, which checks them.
_MADE: Mapping[str, Callable[..., object]] = MappingProxyType(
    {"fault": Fault, "refuse_handshakes": HandshakeRefusal, "list_symbol": new_instrument}
)


class Commands:
    """The commands of one exchange.

    Args:
        exchange: what they are carried out on.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def drop(
        self,
        scope: str | None = None,
        how: str = "close",
        code: int = 1001,
        reason: str = "",
        conn_id: str | None = None,
    ) -> int:
        """End the connections of a scope, or one of them."""
        peers = self.of(scope, conn_id)
        for peer in peers:
            await peer.end(how, code, reason)
        return len(peers)

    def silence(
        self, scope: str | None = None, direction: str = "both", conn_id: str | None = None
    ) -> int:
        """Let the open connections of a scope fall silent, or one of them."""
        peers = self.of(scope, conn_id)
        for peer in peers:
            peer.silence(direction)
        return len(peers)

    def slow_down(self, bytes_per_second: float, scope: str | None = None) -> int:
        """Let the open connections of a scope be slow."""
        peers = self.of(scope)
        for peer in peers:
            peer.slow_down(bytes_per_second, self._exchange.clock.now_ms())
        return len(peers)

    def resume(self, scope: str | None = None) -> int:
        """End silence, stalls and slowness of the open connections of a scope."""
        peers = self.of(scope)
        for peer in peers:
            peer.resume(self._exchange.clock.now_ms())
        return len(peers)

    def fault(self, **arguments: Any) -> ActiveFault:
        """Let a fault of messages begin."""
        return self._exchange.faults.add(Fault(**arguments))

    def heal(self) -> None:
        """End all faults; messages that were withheld are lost, all others leave."""
        exchange = self._exchange
        for conn_id, peer in exchange.peers.items():
            for planned in exchange.faults.let_go(conn_id):
                peer.outlet.put(planned, exchange.clock.now_ms())
        exchange.faults.clear()
        exchange.rules.handshake_refusals.clear()
        exchange.rules.refuse_auth.clear()
        self.resume()

    def refuse_handshakes(self, **arguments: Any) -> None:
        """Refuse the next connections."""
        self._exchange.rules.handshake_refusals.append(HandshakeRefusal(**arguments))

    def refuse_auth(self, ret_msg: str, times: int = 1) -> None:
        """Refuse the next logins with a text."""
        self._exchange.rules.refuse_auth.extend([ret_msg] * times)

    async def restart(self, how: str | None = "close") -> None:
        """Restart the service: books begin anew with ``u`` 1, connections end."""
        self._exchange.market.restart()
        if how is not None:
            await self.drop(None, how, 1012, "")

    def list_symbol(self, symbol: str, copy_trading: str = "both") -> None:
        """List a contract, or one that was withdrawn again."""
        self._exchange.list_symbol(new_instrument(symbol, copy_trading))

    def withdraw_symbol(self, symbol: str) -> None:
        """Withdraw a contract."""
        try:
            self._exchange.withdraw_symbol(symbol)
        except UnknownSymbol:
            raise ConfigurationError(f"{symbol!r} is not traded here") from None

    def push(self, payload: bytes | str | dict[str, Any], scope: str | None = None) -> int:
        """Send a text frame to every client of a scope."""
        message = outgoing(payload)
        peers = self.of(scope)
        for peer in peers:
            peer.send(message, self._exchange.clock.now_ms())
        return len(peers)

    def push_frame(self, frame: bytes, scope: str | None = None) -> int:
        """Send bytes to every client of a scope, exactly as given."""
        peers = self.of(scope)
        for peer in peers:
            peer.send(Outgoing(b"", frame, kind="control"), self._exchange.clock.now_ms())
        return len(peers)

    def push_topic(self, message: dict[str, Any]) -> int:
        """Send a message to the clients that subscribed its topic."""
        if not isinstance(message, dict) or not isinstance(message.get("topic"), str):
            raise ConfigurationError("push_topic needs a dictionary with a topic")
        peers = [peer for peer in self.of(None) if message["topic"] in peer.connection.topics]
        for peer in peers:
            peer.send(outgoing(message), self._exchange.clock.now_ms())
        return len(peers)

    def of(self, scope: str | None, conn_id: str | None = None) -> list[Peer]:
        """Return the open connections of a scope (both for ``None``), maybe only one of them."""
        return [
            peer
            for peer in self._exchange.peers.values()
            if scope in (None, peer.connection.scope.value)
            and conn_id in (None, peer.connection.conn_id)
        ]


def outgoing(message: dict[str, Any] | bytes | str, kind: str = "data") -> Outgoing:
    """Make a text frame of a message; its topic is looked up if it is already encoded."""
    if isinstance(message, dict):
        payload, topic = msgspec.json.encode(message), str(message.get("topic", ""))
    else:
        payload = message.encode() if isinstance(message, str) else message
        topic = _topic_of(payload)
    return Outgoing(payload, encode_frame(payload), topic, kind)


def _topic_of(payload: bytes) -> str:
    try:
        message = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return ""
    topic = message.get("topic", "") if isinstance(message, dict) else ""
    return topic if isinstance(topic, str) else ""


def check_choice(name: str, value: object) -> None:
    """Refuse a scope, way or direction that does not exist.

    Raises:
        ConfigurationError: it does not; the text names those that do.
    """
    check_one_of(name, value, _CHOICES[name])


def check_step(step: Step) -> None:
    """Refuse a step whose command would fail when its time has come.

    Raises:
        ConfigurationError: its arguments are not those of the command.
    """
    arguments = dict(step.arguments)
    try:
        inspect.signature(getattr(Commands, step.do)).bind(None, **arguments)
        for name in arguments.keys() & _CHOICES.keys():
            if (step.do, name, arguments[name]) != ("restart", "how", None):
                check_choice(name, arguments[name])
        for name in arguments.keys() & _TYPES.keys():
            if step.do not in _MADE and not isinstance(arguments[name], _TYPES[name]):
                raise ConfigurationError(f"{name} cannot be {arguments[name]!r}")
        if step.do == "slow_down" and not arguments["bytes_per_second"] > 0:
            raise ConfigurationError("bytes_per_second must be above 0")
        if step.do in _MADE:
            _MADE[step.do](**arguments)
    except (TypeError, ConfigurationError) as error:
        raise ConfigurationError(f"step {step.do!r}: {error}") from None
