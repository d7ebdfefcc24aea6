"""Name look-ups: what they cost, and a fork while one is under way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from bybit_copyws.stream.lookup import LookUp

FORK = """
import os, socket, threading
from bybit_copyws.stream.lookup import LookUp

never = threading.Event()
real = socket.getaddrinfo
socket.getaddrinfo = lambda *args: never.wait() and []
LookUp.of("localhost", 1)
LookUp._lock.acquire()  # as another thread may have, at the moment of the fork
socket.getaddrinfo = real
child = os.fork()
if child == 0:
    look_up = LookUp.of("localhost", 1)
    answered = look_up.done.wait(5) and look_up.addresses
    os._exit(0 if answered else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_looks_up_anew() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    assert subprocess.run(command, check=False, timeout=20).returncode == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_needs_no_thread(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """One that is begun while the interpreter ends could crash Python 3.10."""
    monkeypatch.setattr(threading, "Thread", None)
    look_up = LookUp.of(host, 8080)
    assert look_up.done.is_set()
    assert [each[4][:2] for each in look_up.addresses] == [(host, 8080)]
