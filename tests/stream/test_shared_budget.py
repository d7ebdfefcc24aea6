"""The budget of all processes: one file, looked at from several objects and processes."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws import ConfigurationError, CopyTradingClient, SharedConnectionBudget
from bybit_copyws.policy.budget import ConnectionBudget
from bybit_copyws.stream import budget_file, shared_budget
from bybit_copyws.stream.budget_file import MOST_BYTES, BudgetFile, Notes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="tried on POSIX only")
HOST = "stream.bybit.com"
COPY = MOST_BYTES // 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget"


def open_files() -> int:
    here = Path("/proc/self/fd")
    return len(list(here.iterdir())) if here.exists() else 0


@pytest.fixture(autouse=True)
def _nothing_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() <= before


def spend(budget: ConnectionBudget, now: float, most: int = 10_000) -> int:
    """Take until there is nothing left; return how many there were."""
    for count in range(most):
        if budget.take(HOST, now) > 0:
            return count
    return most


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of the file, as a process that is stuck does."""
    with BudgetFile(path).locked():
        yield


# What it counts


def test_two_objects_count_together(path: Path) -> None:
    one, two = (SharedConnectionBudget(path, 4, 10) for _ in range(2))
    assert [each.take(HOST, at) for at, each in enumerate((one, two, one, two))] == [0] * 4
    assert [each.take(HOST, 4) for each in (one, two)] == [6, 6]
    assert one.take("other", 4) == 0
    assert [each.headroom(HOST, 4) for each in (one, two)] == [0, 0]
    assert [each.headroom("other", 4) for each in (one, two)] == [0.75, 0.75]
    assert [each.take(HOST, 10) for each in (one, two)] == [0, 1]


def test_it_outlives_its_objects_and_forgets_what_is_over(path: Path) -> None:
    for at in range(300):
        assert SharedConnectionBudget(path, 4, 10).take(HOST, 3 * at) == 0
    assert path.stat().st_size < COPY + 300
    assert SharedConnectionBudget(path, 4, 10).headroom(HOST, 897) == 0


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2), st.booleans()), min_size=1, max_size=25
    )
)
def test_no_window_has_more_than_the_limit_whoever_takes_and_deletes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("shared") / "budget"
    budgets = [SharedConnectionBudget(path, 3, 10) for _ in range(3)]
    now, taken = 0, []
    for step, which, delete in steps:
        now += step
        if delete:
            path.unlink(missing_ok=True)
            for budget in budgets:  # each asks once
                budget.headroom(HOST, now)
        wait = budgets[which].take(HOST, now)
        current = [at for at in taken if at > now - 10]
        assert (wait == 0) is (len(current) < 3)
        if wait == 0:
            taken.append(now)
        else:
            assert wait == current[-3] + 10 - now


def test_programs_with_other_values_keep_their_own_over_all(path: Path) -> None:
    short, long = SharedConnectionBudget(path, 2, 10), SharedConnectionBudget(path, 3, 100)
    assert long.take(HOST, 0) == 0
    assert [short.take(HOST, at) for at in (0, 5, 10, 15)] == [0, 5, 0, 0]
    assert long.take(HOST, 20) == 80  # it sees four, the first two at 0
    assert SharedConnectionBudget(path, 4, 100).take(HOST, 20) == 80


def test_the_queue_is_kept_within_a_process(path: Path) -> None:
    budget = SharedConnectionBudget(path, 1, 10)
    assert [budget.take(HOST, 0, who) for who in "abc"] == [0, 10, 20]
    assert budget.take(HOST, 10, "c") == 10
    assert budget.take(HOST, 10, "b") == 0


def test_after_a_restart_of_the_machine_old_times_count_too_long_never_too_short(
    path: Path,
) -> None:
    before = SharedConnectionBudget(path, 2, 10)
    assert [before.take(HOST, at) for at in (5, 90_000)] == [0, 0]
    after = SharedConnectionBudget(path, 3, 10)
    # That at 5 looks as if it were 2 s old, and that at 90,000 counts as now.
    assert [after.take(HOST, at) for at in (7, 7, 15, 15, 17, 17)] == [0, 8, 0, 2, 0, 0]


def test_threads_and_objects_together_take_no_more_than_the_limit(path: Path) -> None:
    budgets = [SharedConnectionBudget(path, 40, 1_000) for _ in range(3)]
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda budget=budget: counts.append(spend(budget, 1.0)))
        for budget in budgets
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 40


CHILD = """
import sys, time
from bybit_copyws import SharedConnectionBudget
budget = SharedConnectionBudget(sys.argv[1], int(sys.argv[2]), 1000)
print("ready", flush=True)
sys.stdin.readline()
taken = 0
while budget.take("stream.bybit.com", time.monotonic()) == 0:
    taken += 1
    print(taken, flush=True)
"""


def start_child(path: Path, limit: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(path), str(limit)]
    child = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_processes_together_take_no_more_than_the_limit(path: Path) -> None:
    children = [start_child(path, 200) for _ in range(3)]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    lines = [child.communicate()[0].split() for child in children]
    assert sum(map(len, lines)) == 200
    assert SharedConnectionBudget(path, 200, 1_000).take(HOST, time.monotonic()) > 900


@pytest.mark.parametrize("after", [1, 20, 150])
def test_the_window_outlives_a_process_that_is_killed(path: Path, after: int) -> None:
    child = start_child(path, 1_000)
    child.stdin.write("go\n")
    child.stdin.flush()
    for _ in range(after):
        child.stdout.readline()
    child.kill()
    told = after + len(child.stdout.read().split())
    child.communicate()
    left = spend(SharedConnectionBudget(path, 1_000, 1_000), time.monotonic())
    assert 1_000 - told - 1 <= left <= 1_000 - told  # one may be written and not told


def test_a_writer_that_dies_at_any_byte_loses_no_time(path: Path) -> None:
    budget = SharedConnectionBudget(path, 10, 1_000)
    for at in range(4):
        budget.take(HOST, at)
    whole = path.read_bytes()
    budget.take(HOST, 4)
    after = path.read_bytes()
    changed = [at for at in range(len(after)) if whole[at : at + 1] != after[at : at + 1]]
    for cut in range(min(changed), max(changed) + 1):
        path.write_bytes(after[:cut] + whole[cut:])
        assert SharedConnectionBudget(path, 10, 1_000).headroom(HOST, 4) in (0.6, 0.5)


# A file that is not what it should be


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


@pytest.mark.parametrize("size", [1, 20, 60, 90])
def test_a_damaged_file_counts_as_spent(
    path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    one = SharedConnectionBudget(path, 4, 10)
    one.take(HOST, 0)
    os.truncate(path, size)
    two = SharedConnectionBudget(path, 4, 10)
    assert [two.take(HOST, 1), two.take("other", 1), one.take(HOST, 2)] == [10, 10, 9]
    assert [each.headroom(HOST, 2) for each in (one, two)] == [0, 0]
    assert SharedConnectionBudget(path, 4, 10).take("third", 3) == 8
    assert spend(two, 11) == 4
    assert warnings_of(caplog) == [
        f"! the connection budget in {path} was damaged: it counts as spent for 10 s"
    ]


def test_a_damaged_file_that_nobody_has_written_for_long_holds_nothing(path: Path) -> None:
    path.write_bytes(b"\0" * 5_000)
    os.utime(path, (time.time() - 11, time.time() - 11))
    assert spend(SharedConnectionBudget(path, 4, 10), 0) == 4


def test_an_emptied_file_is_whole_again_once_each_has_asked(path: Path) -> None:
    one, two = (SharedConnectionBudget(path, 6, 10) for _ in range(2))
    assert [one.take(HOST, 0), two.take(HOST, 1)] == [0, 0]
    os.truncate(path, 0)
    assert one.headroom(HOST, 2) == pytest.approx(5 / 6)
    assert two.headroom(HOST, 2) == pytest.approx(4 / 6)
    assert SharedConnectionBudget(path, 6, 10).headroom(HOST, 2) == pytest.approx(4 / 6)


def test_a_foreign_file_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_text("dear diary")
    with pytest.raises(ConfigurationError, match=r"holds something else; choose another path"):
        SharedConnectionBudget(path)
    assert path.read_text() == "dear diary"


def test_a_file_that_becomes_foreign_is_left_as_it_is(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    budget = SharedConnectionBudget(path, 4, 10)
    path.write_text("dear diary")
    assert spend(budget, 0) == 2  # half
    assert path.read_text() == "dear diary"
    assert len(warnings_of(caplog)) == 1
    path.unlink()
    assert spend(budget, 6) == 2  # it tries again, and what it took alone counts
    assert SharedConnectionBudget(path, 4, 10).take(HOST, 6) == 4


def copies() -> st.SearchStrategy[bytes]:
    times = st.lists(st.one_of(st.floats(allow_nan=False), st.just(1.0)), max_size=30)
    notes = st.builds(
        Notes,
        kept=st.floats(allow_nan=False, allow_infinity=False),
        spent_at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        taken=st.dictionaries(st.sampled_from([HOST, "", "\0"]), times, max_size=3),
    )
    whole = st.builds(budget_file._encode, st.integers(0, 999_999_999), notes)
    return st.one_of(
        whole,
        st.binary(max_size=100).map(lambda tail: budget_file._MAGIC + tail),
        st.sampled_from([b"", b"\0", b"[" * 60_000]).map(
            lambda body: (
                b"%b1 1 %d %08x\n" % (budget_file._MAGIC, len(body), budget_file.zlib.crc32(body))
                + body
            )
        ),
    )


@given(first=copies(), second=copies(), size=st.sampled_from([None, 3 * MOST_BYTES]))
def test_no_content_raises_or_lets_more_than_the_limit_pass(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes, size: int | None
) -> None:
    path = tmp_path_factory.mktemp("shared") / "budget"
    path.write_bytes(first.ljust(COPY, b"\0") + second)
    if size is not None:
        os.truncate(path, size)
    one, two = (SharedConnectionBudget(path, 3, 10) for _ in range(2))
    taken = []
    for now in (100, 100.5, 103, 111.1, 112, 125):
        for budget in (one, two):
            wait = budget.take(HOST, now)
            assert 0 <= wait <= 11
            if wait == 0:
                taken.append(now)
            assert 0 <= budget.headroom(HOST, now) <= 1
    assert all(len([at for at in taken if end - 10 < at <= end]) <= 3 for end in taken)
    assert 125 in taken  # nothing shuts it for ever
    assert path.stat().st_size <= MOST_BYTES


def test_a_file_too_full_for_more_is_not_shared_but_kept(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    budget = SharedConnectionBudget(path, 2, 10)
    name = "x" * 40_000
    assert budget.take(name, 0) == 0
    assert budget.take(name + "y", 0) == 0
    assert "too many connections" in warnings_of(caplog)[0]
    assert SharedConnectionBudget(path, 2, 10).headroom(name, 0) == 0.5


# A path that cannot be used


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    target = path.with_name("target")
    target.touch()
    path.symlink_to(target)


def make_hard_link(path: Path) -> None:
    other = path.with_name("other")
    other.touch()
    path.hardlink_to(other)


def make_no_directory(path: Path) -> None:
    path.parent.rmdir()


def make_file_for_directory(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (make_directory, "it is a directory; name a file in it"),
        (make_link, "it is a symbolic link; name the file itself"),
        (make_hard_link, "second name"),
        (os.mkfifo, "it is no ordinary file"),
        (make_no_directory, "its directory does not exist; make that first"),
        (make_file_for_directory, "its directory is none"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused(
    tmp_path: Path, make: Callable[[Path], None], text: str
) -> None:
    path = tmp_path / "directory" / "budget"
    path.parent.mkdir()
    make(path)
    with pytest.raises(ConfigurationError, match=text) as caught:
        SharedConnectionBudget(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("path", ["", "/dev/null", "/dev/null/x", "a\0b", None, 7, "/proc/version"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="connection budget"):
        SharedConnectionBudget(path)


@pytest.mark.parametrize("options", [{"limit": 1_001}, {"seconds": 86_401}, {"limit": 0}])
def test_values_that_the_file_could_not_hold_are_refused(path: Path, options: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        SharedConnectionBudget(path, **options)
    assert not path.exists()


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        SharedConnectionBudget(path)


def test_a_disk_without_locks_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(budget_file.fcntl, "flock", refuse)
    with pytest.raises(ConfigurationError, match="no locks"):
        SharedConnectionBudget(path)


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    SharedConnectionBudget(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    SharedConnectionBudget(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_home_and_the_directory_of_the_moment_are_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SharedConnectionBudget("~/one").path == tmp_path / "one"
    monkeypatch.chdir(tmp_path)
    budget = SharedConnectionBudget("two")
    monkeypatch.chdir("/")
    assert budget.take(HOST, 0) == 0
    assert budget.path == tmp_path / "two"


# A file that cannot be used now


def test_a_stuck_process_holds_nobody_up_for_long(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    budget = SharedConnectionBudget(path, 8, 100)
    assert budget.take(HOST, 0) == 0
    with held(path):
        began = time.monotonic()
        assert spend(budget, 1) == 3  # half, and one was taken before
        assert budget.headroom(HOST, 5) == 0
        assert time.monotonic() - began < 20 * budget_file.PATIENCE  # one wait, on a busy machine
        assert budget.take(HOST, 7) > 0  # the second wait; told once all the same
    assert budget.take(HOST, 8) > 0
    assert budget.take(HOST, 7 + shared_budget.ALONE) == 0
    assert SharedConnectionBudget(path, 8, 100).headroom(HOST, 13) == pytest.approx(3 / 8)
    alone = (
        f"! the connection budget in {path} is not shared: another process holds its lock; this "
        "process keeps to half of it"
    )
    again = f"= the connection budget in {path} is shared again"
    assert [each.getMessage() for each in caplog.records if "budget" in each.name] == [alone, again]


def test_what_could_not_be_written_counts_and_is_told_later(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = SharedConnectionBudget(path, 8, 100)
    budget.take(HOST, 0)
    with monkeypatch.context() as patch:
        patch.setattr(budget_file.os, "write", lambda *_: 3)
        assert budget.take(HOST, 1) == 0
        assert SharedConnectionBudget(path, 8, 100).headroom(HOST, 1) == pytest.approx(7 / 8)
    assert "No space left" in warnings_of(caplog)[0]
    for each in (budget, SharedConnectionBudget(path, 8, 100)):
        assert each.headroom(HOST, 7) == pytest.approx(6 / 8)


def test_a_file_deleted_while_somebody_waits_for_its_lock(path: Path) -> None:
    one, two = (SharedConnectionBudget(path, 1, 100) for _ in range(2))
    waits: list[float] = []
    with held(path):
        thread = threading.Thread(target=lambda: waits.append(one.take(HOST, 0)))
        thread.start()
        while one._file._descriptor is None:
            threading.Event().wait(0.001)
        path.unlink()
    thread.join()
    assert waits == [0]
    assert two.take(HOST, 1) == 99  # it wrote the file that is there, not the one that was


def test_a_file_that_is_always_replaced_is_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = SharedConnectionBudget(path, 4, 100)
    monkeypatch.setattr(BudgetFile, "_is_at_path", lambda *_: False)
    assert spend(budget, 0) == 2


# Forks


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_counts_with_its_parent_though_a_thread_was_inside(path: Path) -> None:
    budget = SharedConnectionBudget(path, 4, 100)
    assert budget.take(HOST, 0) == 0
    inside, go_on = threading.Event(), threading.Event()

    def stay(limit: int) -> float:
        inside.set()
        go_on.wait(30)
        return 0.0

    thread = threading.Thread(target=lambda: budget._with_file(0, stay))
    thread.start()
    inside.wait(30)
    go, told = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.read(go[0], 1)
        os.write(told[1], b"%d" % spend(budget, 1))
        os._exit(0)
    go_on.set()
    thread.join()  # the child holds the same open file: only an explicit unlock frees it
    assert budget.take(HOST, 1) == 0
    os.write(go[1], b"x")
    assert os.read(told[0], 9) == b"2"
    os.waitpid(child, 0)
    assert budget.take(HOST, 2) == 98
    for end in (*go, *told):
        os.close(end)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_stopped_process_is_overcome(path: Path) -> None:
    budget = SharedConnectionBudget(path, 8, 100)
    ready = os.pipe()
    child = os.fork()
    if not child:
        with held(path):
            os.write(ready[1], b"x")
            os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.read(ready[0], 1)
    assert budget.take(HOST, 0) == 0
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert budget.headroom(HOST, 6) == pytest.approx(7 / 8)
    for end in ready:
        os.close(end)


def test_a_client_takes_it(path: Path) -> None:
    client = CopyTradingClient(connection_budget=SharedConnectionBudget(path))
    client.close()
