"""What is set for one direction, and what is armed for its next connections. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Cut:
    """An end of the line after an exact number of bytes.

    Attributes:
        offset: bytes that still pass.
        how: ``"rst"``, ``"fin"`` or ``"hold"``.
        left: connections that it is still for; ``None`` is all of them.
    """

    offset: int
    how: str
    left: int | None


@dataclass
class Flip:
    """A wrong bit in one byte.

    Attributes:
        offset: place of the byte, from 0.
        mask: the byte is xored with it.
        left: connections that it is still for; ``None`` is all of them.
    """

    offset: int
    mask: int
    left: int | None


@dataclass
class Faults:
    """The faults of one direction, seen by all its lanes.

    Attributes:
        held: nothing leaves.
        rate: bytes per second, or ``None`` for no limit.
        chunk: bytes of one segment, or ``None`` for no limit.
        delay: seconds from coming in to leaving.
        jitter: seconds, the most that is added to the delay by chance.
        seed: of that chance.
        cuts: armed for the next connections.
        flips: armed for the next connections.
    """

    held: bool = False
    rate: float | None = None
    chunk: int | None = None
    delay: float = 0.0
    jitter: float = 0.0
    seed: int = 0
    cuts: list[Cut] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)

    def draw_cuts(self) -> list[Cut]:
        """Take what a new connection gets: the armed cuts, first place first."""
        taken = sorted(self.cuts, key=lambda cut: cut.offset)
        self.cuts = [cut for cut in self.cuts if _count_down(cut)]
        return taken

    def draw_flips(self) -> dict[int, int]:
        """Take what a new connection gets: the mask of each byte that is to be wrong."""
        taken: dict[int, int] = {}
        for flip in self.flips:
            taken[flip.offset] = taken.get(flip.offset, 0) ^ flip.mask
        self.flips = [flip for flip in self.flips if _count_down(flip)]
        return taken

    def heal(self) -> None:
        """Forget all faults."""
        vars(self).update(vars(Faults()))


def _count_down(armed: Cut | Flip) -> bool:
    """Count one connection; return whether there are more to come."""
    if armed.left is None:
        return True
    armed.left -= 1
    return armed.left > 0
