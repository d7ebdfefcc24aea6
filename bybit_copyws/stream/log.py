"""Logging that cannot end a connection, and silence of websocket-client's own log.

A filter that a user installs may raise; in a thread of ours that must cost a log line and not the
stream.
"""

from __future__ import annotations

import contextlib
import logging

from bybit_copyws.events import Blind, Event, SubscriptionRejected, TopicStale

THREADS = "bybit-copyws:"
"""How the names of all our threads begin."""


class GuardedLogger:
    """A logger whose calls never raise.

    Args:
        name: of the logger.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, text: str, *args: object) -> None:
        """Log at level INFO."""
        self._log(logging.INFO, text, args, None)

    def warning(self, text: str, *args: object) -> None:
        """Log at level WARNING."""
        self._log(logging.WARNING, text, args, None)

    def error(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log at level ERROR, maybe with a traceback."""
        self._log(logging.ERROR, text, args, exc_info)

    def _log(
        self, level: int, text: str, args: tuple[object, ...], error: BaseException | None
    ) -> None:
        with contextlib.suppress(Exception):
            self._logger.log(level, text, *args, exc_info=error, stacklevel=3)


def _not_ours(record: logging.LogRecord) -> bool:
    """Drop what websocket-client logs in our threads: we report every failure ourselves.

    Its texts would come at level ERROR for each attempt, under a name that is not ours.
    """
    return not (record.threadName or "").startswith(THREADS)


logging.getLogger("websocket").addFilter(_not_ours)


def log_event(log: GuardedLogger, event: Event) -> None:
    """Log an event: what a trader must know at once as a warning."""
    if isinstance(event, (Blind, SubscriptionRejected, TopicStale)):
        log.warning("! %s", event)
    else:
        log.info("= %s", event)
