"""Name look-ups that can be given up: ``getaddrinfo`` knows no timeout, nor can it be stopped."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from typing import Any, ClassVar

AddressInfo = tuple[Any, ...]
"""What ``getaddrinfo`` gives: family, kind, protocol, canonical name, address."""


class LookUp:
    """A name look-up in a thread of its own.

    An attempt that gives up leaves it running; the next one for the same host joins it, so that
    a dead name server costs one thread and not one for each attempt. An address is no name, asks
    nobody and needs no thread.

    Attributes:
        done: set when there is an answer.
        addresses: the answer.
        error: why there is none.
    """

    # Guards _running; held for a few steps, no other lock is taken inside.
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _running: ClassVar[dict[tuple[str, int], LookUp]] = {}

    def __init__(self, host: str, port: int) -> None:
        self.done = threading.Event()
        self.addresses: list[AddressInfo] = []
        self.error: OSError | UnicodeError | None = None
        self._key = (host, port)

    @classmethod
    def of(cls, host: str, port: int) -> LookUp:
        """Return the look-up of a host that is under way, or begin one."""
        if _is_address(host):
            address = cls(host, port)
            address._run()
            return address
        with cls._lock:
            look_up = cls._running.get((host, port))
            if look_up is None:
                look_up = cls(host, port)
                name = "bybit-copyws:resolver"
                threading.Thread(target=look_up._run, name=name, daemon=True).start()
                cls._running[host, port] = look_up
            return look_up

    @classmethod
    def forget_all(cls) -> None:
        """Begin anew, in the child of a fork: the threads of its parent are not there."""
        cls._lock = threading.Lock()
        cls._running = {}

    def _run(self) -> None:
        try:
            self.addresses = socket.getaddrinfo(*self._key, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error
        finally:
            with self._lock:
                self._running.pop(self._key, None)
            self.done.set()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LookUp.forget_all)
