"""Every exception that the library raises or reports, in one tree.

::

    BybitCopyWSError
    ├── ConfigurationError (ValueError)      a mistake in a call; raised at once, in the caller
    ├── StreamError
    │   ├── ConnectFailed                    trouble: retried; given up if it never can work
    │   ├── ConnectionLost                   trouble: retried
    │   ├── HeartbeatTimeout                 trouble: retried
    │   ├── AuthenticationError              terminal for the private connection
    │   ├── SubscriptionError                the exchange refused topics
    │   ├── StreamClosed                     the client was closed
    │   └── ForkedError                      the client belongs to the parent process
    ├── RestError                            a REST call failed; retried before where that is safe
    │   ├── HttpStatusError                  the server, or something before it, sent no answer
    │   └── ApiError                         the exchange refused the call
    └── ProtocolError                        a message that is not what the exchange documents

The facts are attributes; the text says what was observed, what it most likely means and
what happens next. No text contains a key, a secret or a signature. Nothing is imported from
the rest of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_E = TypeVar("_E", bound="BybitCopyWSError")

_UNCERTAIN = (
    "It is not known whether the exchange has carried it out: look at the account before making "
    "this call again"
)


class BybitCopyWSError(Exception):
    """Base of every error of this library."""

    def again(self: _E) -> _E:
        """Return the same error without a traceback, to be raised once more.

        One object raised by several threads would gather the frames of all of them.
        """
        twin = type(self).__new__(type(self), *self.args)
        twin.args = self.args
        twin.__dict__.update(self.__dict__)
        return twin


class ConfigurationError(BybitCopyWSError, ValueError):
    """A call that can never work as it was made: raised at once, nothing else is changed."""


class StreamError(BybitCopyWSError):
    """Base of what can happen to a streaming connection."""


class ConnectFailed(StreamError):
    """A connection could not be opened.

    Attributes:
        host: host (and port, if not the default one) that was tried.
        reason: what was observed.
        status: HTTP status of a refused upgrade, else ``None``.
        retry_after: seconds that the server asked to wait, else ``None``.
        lasting: whether another attempt will hardly fare better, as with a certificate that is not
            valid or a path that does not exist.
    """

    def __init__(
        self,
        host: str,
        reason: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        explanation: str = "",
        lasting: bool = False,
    ) -> None:
        text = f"cannot connect to {host}: {reason}"
        super().__init__(f"{text}. {explanation}" if explanation else text)
        self.host = host
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
        self.lasting = lasting


class ConnectionLost(StreamError):
    """An open connection ended although nobody asked for it.

    Attributes:
        code: close code of RFC 6455 section 7.4, or ``None`` when no close frame came.
        reason: what was observed.
    """

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason if code is None else f"{reason} (close code {code})")
        self.code = code
        self.reason = reason


class HeartbeatTimeout(StreamError):
    """The exchange did not answer an application ping in time, so the link is taken for dead.

    Attributes:
        seconds: how long the answer was waited for.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"no pong within {seconds:g} s of a ping: the link is dead although the socket is open"
        )
        self.seconds = seconds


class AuthenticationError(StreamError):
    """The exchange refused the API key; the private connection has ended.

    Attributes:
        ret_msg: the server's own text.
    """

    def __init__(self, ret_msg: str, explanation: str = "") -> None:
        text = f"the exchange refused the authentication: {ret_msg!r}"
        super().__init__(f"{text}. {explanation}" if explanation else text)
        self.ret_msg = ret_msg


class SubscriptionError(StreamError):
    """The exchange refused to subscribe or unsubscribe topics; all others are untouched.

    Attributes:
        topics: the topics concerned, as the user named them.
        ret_msg: the server's own text (for the first of them).
    """

    def __init__(self, topics: Sequence[str], ret_msg: str, explanation: str = "") -> None:
        text = f"the exchange refused {_some(topics)}: {ret_msg!r}"
        super().__init__(f"{text}. {explanation}" if explanation else text)
        self.topics = tuple(topics)
        self.ret_msg = ret_msg


class StreamClosed(StreamError):
    """The client was closed; make a new one."""


class ForkedError(StreamError):
    """The client was made before a fork and is used in the child.

    Its threads and connections are the parent's. Make a new client in the child.
    """


class RestError(BybitCopyWSError):
    """A REST call failed; where it was safe, it was tried again before.

    Attributes:
        call: method and path.
        reason: what was observed.
        uncertain: whether the exchange may have carried out the call all the same. Only a call that
            changes something can be uncertain: look at the account before making it again.
        retry_after: seconds after which another call may pass, where that is known, else ``None``.
    """

    def __init__(
        self,
        call: str,
        reason: str,
        *,
        explanation: str = "",
        uncertain: bool = False,
        retry_after: float | None = None,
    ) -> None:
        parts = [f"{call}: {reason}", explanation, _UNCERTAIN if uncertain else ""]
        super().__init__(". ".join(part for part in parts if part))
        self.call = call
        self.reason = reason
        self.uncertain = uncertain
        self.retry_after = retry_after


class HttpStatusError(RestError):
    """The reply has an HTTP status that is no success, and no answer of the exchange in it.

    Attributes:
        status: HTTP status.
    """

    def __init__(
        self,
        call: str,
        reason: str,
        *,
        status: int,
        explanation: str = "",
        uncertain: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            call, reason, explanation=explanation, uncertain=uncertain, retry_after=retry_after
        )
        self.status = status


class ApiError(RestError):
    """The exchange answered a call with a refusal.

    Attributes:
        ret_code: its code.
        ret_msg: its own text, without keys and signatures.
    """

    def __init__(
        self,
        call: str,
        ret_code: int,
        ret_msg: str,
        *,
        explanation: str = "",
        uncertain: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            call,
            f"the exchange refused with {ret_code} {ret_msg!r}",
            explanation=explanation,
            uncertain=uncertain,
            retry_after=retry_after,
        )
        self.ret_code = ret_code
        self.ret_msg = ret_msg


class ProtocolError(BybitCopyWSError):
    """A message is not what the exchange documents, or has no typed model."""


def _some(topics: Sequence[str], most: int = 5) -> str:
    """Name the first few topics and count the rest."""
    named = ", ".join(topics[:most])
    return named if len(topics) <= most else f"{named} and {len(topics) - most} more"
