"""The file of a shared connection budget: opening it safely, its lock, its two copies.

It knows bytes and locks; what the times in it mean is said in ``shared_budget``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bybit_copyws.errors import ConfigurationError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PATIENCE = 0.25
"""Seconds to wait for the lock of the file at most; a process holds it for less than 1 ms."""
MOST_BYTES = 2 * 65_536
"""Of the file. A copy holds some 3,000 times."""
_LOOK = 0.005  # seconds between two attempts to get the lock
_COPY = MOST_BYTES // 2
_MAGIC = b"bybit-copyws connection budget "
_HEAD = re.compile(rb"bybit-copyws connection budget 1 (\d{1,9}) (\d{1,6}) ([0-9a-f]{8})\n")
_CURES = {
    errno.ENOENT: ("its directory does not exist", "make that first"),
    errno.ENOTDIR: ("its directory is none", "choose another path"),
    errno.EISDIR: ("it is a directory", "name a file in it"),
    errno.ELOOP: ("it is a symbolic link", "name the file itself"),
    errno.EACCES: ("it may not be read and written", "choose a path in a directory of your own"),
}


class Notes(msgspec.Struct, forbid_unknown_fields=True):
    """What a copy holds: when connections were taken, and when all of them must count as taken."""

    kept: float
    spent_at: float | None
    taken: dict[str, list[float]]


class OpenedFile:
    """The file while it is locked.

    Args:
        descriptor: of the open file.

    Attributes:
        size: bytes.
        newest: the copy that was written last, or ``None``; known once it was read.
    """

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.size = status.st_size
        self.newest: Notes | None = None
        self._changed = status.st_mtime
        self._descriptor = descriptor
        self._turn = 0
        self._place = 0

    def read(self, seconds: float) -> tuple[list[Notes], bool]:
        """Return the copies that are whole, and whether something may have been lost.

        Nothing that counts is lost from a file that was last changed before the window.
        """
        found = [_decode(_read(self._descriptor, place, _COPY)) for place in (0, _COPY)]
        copies = [each for each in found if each is not None]
        if copies:
            newest = max(copies, key=lambda copy: copy[0])
            self._turn, self.newest = newest
            self._place = _COPY if newest is found[0] else 0
        lost = not copies and self.size > 0 and time.time() - self._changed < seconds
        return [notes for _, notes in copies], lost

    def distrust(self) -> None:
        """Let the next write replace both copies: one of them says what must not be read again."""
        self.newest = None

    def write(self, notes: Notes) -> None:
        """Replace the older copy, or both if there is none to keep.

        Raises:
            OSError: the disk is full, or there are too many times for a copy.
        """
        data = _encode((self._turn + 1) % 1_000_000_000, notes)
        if self.newest is None or self.size > MOST_BYTES:
            os.ftruncate(self._descriptor, 0)
            self._place = 0
        os.lseek(self._descriptor, self._place, os.SEEK_SET)
        if os.write(self._descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class BudgetFile:
    """The file on the disk: opened anew for each look, so that nothing is kept over a fork.

    Args:
        path: of it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            # Made absolute: a program may change its directory.
            self.path = Path(path).expanduser().absolute()
        except (TypeError, RuntimeError) as error:
            raise ConfigurationError(
                f"{path!r} is no path for a connection budget: {error}"
            ) from None
        self._descriptor: int | None = None

    def check(self) -> None:
        """Make the file if it is not there, and see that it can be used.

        Raises:
            ConfigurationError: it cannot; the text says why, and what to do.
        """
        descriptor = self._open()
        try:
            if _try_lock(descriptor):
                _unlock(descriptor)
        except OSError as error:
            raise self._unusable(f"its disk has no locks ({error})", "choose another") from None
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def locked(self) -> Iterator[OpenedFile]:
        """Open the file and hold its lock.

        Raises:
            ConfigurationError: the file cannot be used.
            OSError: the lock was not to be had in time (``TimeoutError``), or the disk failed.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            descriptor = self._descriptor = self._open()
            try:
                self._wait_for_lock(descriptor, deadline)
                try:
                    if self._is_at_path(descriptor):
                        yield OpenedFile(descriptor)
                        return
                finally:
                    # A forked child may hold the file open too: closing alone would not unlock it.
                    _unlock(descriptor)
            finally:
                self._descriptor = None
                os.close(descriptor)
            if time.monotonic() >= deadline:
                raise TimeoutError("it is being replaced again and again")

    def leave_to_parent(self) -> None:
        """Close, in a forked child, what a thread of the parent had open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait_for_lock(self, descriptor: int, deadline: float) -> None:
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise TimeoutError("another process holds its lock")
            threading.Event().wait(_LOOK)

    def _is_at_path(self, descriptor: int) -> bool:
        """Return whether the file was not deleted or replaced while we waited for its lock."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.lstat())
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        """Open the file and see that nobody else planted or filled it."""
        flags = os.O_RDWR | os.O_CREAT
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):
            flags |= getattr(os, name, 0)  # each is missing on some system
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except (OSError, ValueError) as error:
            code = getattr(error, "errno", None) or 0
            code = errno.EACCES if code in (errno.EPERM, errno.EROFS) else code
            raise self._unusable(*_CURES.get(code, (str(error), "choose another path"))) from None
        try:
            self._check_open(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_open(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise self._unusable("it is no ordinary file", "choose another path")
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            raise self._unusable(
                "it belongs to another user", "choose a path in a directory of your own"
            )
        if status.st_nlink > 1:
            raise self._unusable("it has a second name (a hard link)", "choose another path")
        if hasattr(os, "fchmod") and stat.S_IMODE(status.st_mode) != 0o600:
            with contextlib.suppress(OSError):  # some disks know no modes
                os.fchmod(descriptor, 0o600)
        head = _read(descriptor, 0, len(_MAGIC))
        if not _MAGIC.startswith(head) and head.strip(b"\0"):
            raise self._unusable("it holds something else", "choose another path, or delete it")

    def _unusable(self, what: str, cure: str) -> ConfigurationError:
        return ConfigurationError(f"{self.path} cannot hold a connection budget: {what}; {cure}")


def _encode(turn: int, notes: Notes) -> bytes:
    body = msgspec.json.encode(notes)
    data = b"%b1 %d %d %08x\n%b" % (_MAGIC, turn, len(body), zlib.crc32(body), body)
    if len(data) > _COPY:
        raise OSError(errno.EFBIG, "too many connections for one file")
    return data


def _decode(data: bytes) -> tuple[int, Notes] | None:
    """Return a copy and its turn, or ``None`` if it is not whole."""
    head = _HEAD.match(data)
    if head is None:
        return None
    body = data[head.end() : head.end() + int(head[2])]
    if len(body) < int(head[2]) or zlib.crc32(body) != int(head[3], 16):
        return None
    try:
        return int(head[1]), msgspec.json.decode(body, type=Notes)
    except (ValueError, RecursionError):
        return None


def _read(descriptor: int, place: int, size: int) -> bytes:
    os.lseek(descriptor, place, os.SEEK_SET)
    return os.read(descriptor, size)


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        """Lock a byte behind all data, because on Windows nobody can read what is locked."""
        os.lseek(descriptor, 2 * MOST_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 2 * MOST_BYTES, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(descriptor: int) -> bool:
        """Lock the file unless another has; ``flock`` keeps threads apart too."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
