"""What the local exchange can be told to do from any thread: faults, pushes, scenarios.

Each method has a twin of the same name in ``server``, which a scenario's steps use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.commands import check_choice, check_step
from bybit_copyws.sandbox.exchange import Exchange
from bybit_copyws.sandbox.faults import ActiveFault
from bybit_copyws.sandbox.garbage import make_garbage
from bybit_copyws.sandbox.scenario import Scenario, Step

_T = TypeVar("_T")


class Controls(ABC):
    """The part of a sandbox that does things to its clients."""

    @abstractmethod
    def call(self, function: Callable[[Exchange], _T]) -> _T:
        """Run a function in the exchange's thread."""

    @abstractmethod
    def _await(
        self, start: Callable[[Exchange], Coroutine[Any, Any, _T]], timeout: float | None = None
    ) -> _T:
        """Run a coroutine in the exchange's thread, and wait for it."""

    # Connections

    def drop(
        self,
        scope: str | None = None,
        *,
        how: str = "close",
        code: int = 1001,
        reason: str = "",
        conn_id: str | None = None,
    ) -> int:
        """End connections: by a close frame, a FIN without one, or an RST.

        Args:
            scope: ``"public"``, ``"private"``, or ``None`` for both.
            how: ``"close"``, ``"fin"`` or ``"rst"``. A connection that is silent, stalled or slow
                cannot send a close frame, and ends with a FIN.
            code: of the close frame.
            reason: of the close frame.
            conn_id: only that one of :attr:`Sandbox.connections`; ``None`` for all.

        Returns:
            How many were ended.

        Raises:
            ConfigurationError: there is no such scope or way.
        """
        check_choice("scope", scope)
        check_choice("how", how)
        return self._await(
            lambda exchange: exchange.commands.drop(scope, how, code, reason, conn_id)
        )

    def silence(
        self,
        scope: str | None = None,
        *,
        direction: str = "both",
        conn_id: str | None = None,
    ) -> int:
        """Let open connections fall silent without ending: half-open, as behind a dead router.

        What would be sent is kept until :meth:`resume`; new connections are not silent.

        Args:
            scope: ``"public"``, ``"private"``, or ``None`` for both.
            direction: ``"down"`` (nothing is sent), ``"up"`` (nothing is read) or ``"both"``.
            conn_id: only that one of :attr:`Sandbox.connections`; ``None`` for all.

        Returns:
            How many fell silent.

        Raises:
            ConfigurationError: there is no such scope or direction.
        """
        check_choice("scope", scope)
        check_choice("direction", direction)
        return self.call(lambda exchange: exchange.commands.silence(scope, direction, conn_id))

    def slow_down(self, bytes_per_second: float, scope: str | None = None) -> int:
        """Let open connections send only so many bytes in a second (a dribble).

        Raises:
            ConfigurationError: the rate is not above 0, or there is no such scope.
        """
        check_choice("scope", scope)
        if not bytes_per_second > 0:
            raise ConfigurationError(f"bytes_per_second must be above 0, not {bytes_per_second!r}")
        return self.call(lambda exchange: exchange.commands.slow_down(bytes_per_second, scope))

    def resume(self, scope: str | None = None) -> int:
        """End silence, stalls and slowness; what was kept back leaves."""
        check_choice("scope", scope)
        return self.call(lambda exchange: exchange.commands.resume(scope))

    def refuse_handshakes(
        self,
        status: int = 403,
        times: int | None = 1,
        *,
        scope: str | None = None,
        retry_after: float | None = None,
        location: str | None = None,
        body: str = "",
    ) -> None:
        """Refuse connections with an HTTP status (0: with text that is no HTTP).

        Args:
            status: such as 403, 429, 502, or 302 with ``location``.
            times: how many; ``None`` for all until :meth:`heal`.
            scope: ``"public"``, ``"private"``, or ``None`` for both.
            retry_after: seconds to put into ``Retry-After``.
            location: where to redirect to.
            body: text of the reply.

        Raises:
            ConfigurationError: there is no such scope or status.
        """
        check_choice("scope", scope)
        self.call(
            lambda exchange: exchange.commands.refuse_handshakes(
                status=status,
                times=times,
                scope=scope,
                retry_after=retry_after,
                location=location,
                body=body,
            )
        )

    def refuse_auth(self, ret_msg: str, times: int = 1) -> None:
        """Refuse the next logins with a text.

        Bybit's own text decides what a client does: one that may be the clock's fault (such as
        ``"Params Error"`` or ``"error:request expired"``) is answered once by a fresh login, so
        refuse it twice; ``"error:USVC1111"`` (unknown key) is final.

        Raises:
            ConfigurationError: the text is empty or none.
        """
        if not isinstance(ret_msg, str) or not ret_msg:
            raise ConfigurationError(f"ret_msg must be a text such as Bybit's, not {ret_msg!r}")
        self.call(lambda exchange: exchange.commands.refuse_auth(ret_msg, times))

    def restart(self, how: str | None = "close") -> None:
        """Restart the service: order books begin anew with ``u`` 1, connections end.

        Args:
            how: as for :meth:`drop`; ``None`` keeps the connections.
        """
        if how is not None:
            check_choice("how", how)
        self._await(lambda exchange: exchange.commands.restart(how))

    # Contracts

    def list_symbol(self, symbol: str, *, copy_trading: str = "both") -> None:
        """List a contract from now on: over REST, and with its topics.

        One that was withdrawn comes back; who has its topics subscribed gets them again.

        Args:
            symbol: any name ending in ``USDT``.
            copy_trading: its flag on the v5 list: ``"both"``, ``"none"``, ``"utaOnly"`` or
                ``"normalOnly"``; the v3 list has only what is not ``"none"`` or ``"utaOnly"``.

        Raises:
            ConfigurationError: it is no name of a contract, or there is no such flag.
        """
        self.call(lambda exchange: exchange.commands.list_symbol(symbol, copy_trading))

    def withdraw_symbol(self, symbol: str) -> None:
        """Withdraw a contract: it is not listed any more, and its topics fall silent.

        Its topics are refused from now on. The account opens nothing new in it by itself, and can
        close what it holds.

        Raises:
            ConfigurationError: it was never listed.
        """
        self.call(lambda exchange: exchange.commands.withdraw_symbol(symbol))

    # Messages

    def fault(self, action: str, **arguments: Any) -> ActiveFault:
        """Let something happen to messages: lose, delay, double, reorder, cut or spoil them.

        Args:
            action: see :class:`bybit_copyws.sandbox.Fault`.
            arguments: further ones of :class:`bybit_copyws.sandbox.Fault`.

        Returns:
            The fault, whose ``hit`` counts the messages it has hit.

        Raises:
            ConfigurationError: there is no such fault.
        """
        return self.call(lambda exchange: exchange.commands.fault(action=action, **arguments))

    def heal(self) -> None:
        """End all faults, silences and refusals; what was delayed or reordered leaves."""
        self.call(lambda exchange: exchange.commands.heal())

    def push(self, payload: dict[str, Any] | str | bytes, scope: str | None = None) -> int:
        """Send one text message, exactly as given, to every open connection of a scope.

        Returns:
            To how many.
        """
        check_choice("scope", scope)
        return self.call(lambda exchange: exchange.commands.push(payload, scope))

    def push_topic(self, message: dict[str, Any]) -> int:
        """Send a message to the connections that subscribed its topic; return to how many."""
        return self.call(lambda exchange: exchange.commands.push_topic(message))

    def garbage(self, kind: str, scope: str | None = None, *, topic: str = "order") -> int:
        """Send bytes that no client should fall over.

        Args:
            kind: one of :data:`bybit_copyws.sandbox.GARBAGE`.
            scope: ``"public"``, ``"private"``, or ``None`` for both.
            topic: of those kinds that look like data.

        Returns:
            To how many connections.

        Raises:
            ConfigurationError: there is no such kind or scope.
        """
        check_choice("scope", scope)
        frame = make_garbage(kind, topic)
        return self.call(lambda exchange: exchange.commands.push_frame(frame, scope))

    # Scenarios

    def play(self, scenario: Scenario | Sequence[Step] | str | Path) -> None:
        """Let a scenario begin now; one that is under way ends.

        Args:
            scenario: the steps, or the path of their JSON file.

        Raises:
            ConfigurationError: the file cannot be read, or a step is wrong.
        """
        if isinstance(scenario, (str, Path)):
            loaded = Scenario.load(scenario)
        else:
            loaded = scenario if isinstance(scenario, Scenario) else Scenario(scenario)
        for step in (*loaded.timed, *loaded.counted):
            try:
                check_step(step)
            except ConfigurationError as error:
                when = f"at {step.at:g} s" if step.at is not None else f"after {step.after}"
                raise ConfigurationError(f"{loaded.name}, {when}: {error}") from None
        self.call(lambda exchange: exchange.play(loaded))

    @property
    def playing(self) -> bool:
        """Whether a scenario has steps left."""
        return self.call(lambda exchange: exchange.playing)
