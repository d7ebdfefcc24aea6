"""One door to the stream messages of both profiles."""

from __future__ import annotations

from typing import Any

from . import render_v3, render_v5
from .model import Change


def render_push(
    profile: str, change: Change, now_ms: int, *, fast: bool = False
) -> dict[str, Any] | None:
    """Return the complete stream message of a change, with its topic.

    Args:
        profile: ``v3`` or ``v5``.
        change: What ``Account.take_changes`` gave.
        now_ms: The time of sending (v5 ``creationTime``).
        fast: Ask for the ``execution.fast`` message of v5 instead.

    Returns:
        The message, or ``None`` if this profile (or the fast topic) does not push it.
    """
    if profile == "v3":
        return None if fast else render_v3.render_push(change)
    return (render_v5.render_fast_push if fast else render_v5.render_push)(change, now_ms)
