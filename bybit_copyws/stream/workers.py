"""All workers of a client: made, started and ended together.

Must not know what they deliver, nor what the client does besides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from bybit_copyws.policy.backlog import Backlog
from bybit_copyws.policy.channel import Courier
from bybit_copyws.stream.worker import Owner, WorkerThread


class Workers:
    """The workers of one client that have not ended.

    Args:
        owner: is told what came of messages.
        changed: called without locks when one of them has ended.
    """

    def __init__(self, owner: Owner, changed: Callable[[], None]) -> None:
        self._owner = owner
        self._changed = changed
        self._started = False
        self._closed = False
        # Guards the three others; held only to read or change them, no other is taken inside.
        self._lock = threading.Lock()
        self._workers: tuple[WorkerThread, ...] = ()  # replaced as a whole: read without the lock

    def make(self, backlog: Backlog) -> WorkerThread:
        """Return a new worker, which is not started yet; :meth:`serve` must follow."""
        worker = WorkerThread(backlog, self._owner, self._ended)
        with self._lock:
            self._workers = (*self._workers, worker)
        return worker

    def serve(self, worker: WorkerThread, wanted: Callable[[], bool]) -> None:
        """Let a worker work, as soon as the client is started.

        Args:
            worker: one that :meth:`make` made.
            wanted: whether a message may still come to it; once not, it ends for good.

        Raises:
            RuntimeError: the system gives no more threads.
        """
        worker.serve(wanted)
        with self._lock:
            started, closed = self._started, self._closed
        if closed:
            worker.stop()
        elif started:
            worker.start()
        self._ended()

    def released(self, couriers: Iterable[Courier | None]) -> None:
        """Note that something that workers worked for was given up: one not wanted more ends."""
        which = {id(courier) for courier in couriers}
        for worker in self._workers:
            if id(worker) in which:
                worker.released()
        self._ended()

    def start(self) -> None:
        """Start all, and those that come later at once.

        Raises:
            RuntimeError: the system gives no more threads.
        """
        with self._lock:
            self._started = True
        for worker in self._workers:
            worker.start()

    def mute(self) -> None:
        """Let no further callback start. Takes no lock; :meth:`stop` must follow."""
        for worker in self._workers:
            worker.mute()

    def stop(self) -> None:
        """End all, and those that come later at once. Does not wait."""
        with self._lock:
            self._closed = True
        for worker in self._workers:
            worker.stop()
        self._ended()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that may still run a callback."""
        return [worker.thread for worker in self._workers if worker.thread.is_alive()]

    @property
    def ended(self) -> bool:
        """Whether none of them runs a callback or will."""
        return all(worker.ended for worker in self._workers)

    def _ended(self) -> None:
        """Forget those that have ended."""
        with self._lock:
            before = self._workers
            self._workers = tuple(worker for worker in before if not worker.ended)
        if len(before) != len(self._workers):
            self._changed()
