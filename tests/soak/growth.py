"""What a process holds: memory, threads, descriptors; and whether that grows."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from statistics import median

import psutil

_MIB = 2**20


@dataclass
class Growth:
    """Looks at this process from time to time.

    The first fifth of the looks is a warm-up and does not count.

    Attributes:
        most_mib: growth of memory after the warm-up that is allowed.
    """

    most_mib: float = 2.0
    memory: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Look once."""
        gc.collect()
        process = psutil.Process()
        self.memory.append(process.memory_info().rss / _MIB)
        self.threads.append(process.num_threads())
        self.descriptors.append(process.num_fds())

    def faults(self) -> list[str]:
        """Return what grew, in words."""
        found = []
        warm_up = len(self.memory) // 5
        memory = self.memory[warm_up:]
        if len(memory) < 3:
            return ["too few looks at memory, threads and descriptors"]
        # Thirds, and their middles: a single look may catch a moment of work, such as the thread
        # that looks up a name.
        third = len(memory) // 3
        first, last = sum(memory[:third]) / third, sum(memory[-third:]) / third
        if last - first > self.most_mib:
            found.append(f"memory grew by {last - first:.1f} MiB")
        for name, counts in (("threads", self.threads), ("descriptors", self.descriptors)):
            usual, later = median(counts[warm_up:][:third]), median(counts[-third:])
            if later > usual:
                found.append(f"{name} grew from {usual} to {later}")
        return found

    def __str__(self) -> str:
        memory = self.memory[len(self.memory) // 5 :] or [0.0]
        return (
            f"memory {memory[0]:.1f} -> {memory[-1]:.1f} MiB (most {max(memory):.1f}), "
            f"threads {self.threads[-1:]}, descriptors {self.descriptors[-1:]}"
        )
