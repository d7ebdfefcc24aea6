"""Sends one request and brings back what came, as a value: the only module that knows requests.

It must not know endpoints, retries or what a reply means. Nothing of requests gets out of here,
and no exception: their frames and texts hold key, signature and proxy password.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.response import HTTPResponse

from bybit_copyws.errors import ConfigurationError, ConnectFailed
from bybit_copyws.rest import meanings
from bybit_copyws.rest.connection import Dialler, Flight, make_pool
from bybit_copyws.rest.replies import KEPT_HEADERS, Reply
from bybit_copyws.rest.retries import Failure, Kind
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.version import __version__
from bybit_copyws.wire.http_head import printable

_LINES = 8  # connections kept open
_PIECE = 65_536
_DEEPEST = 10  # exceptions that are looked at, each the cause of the one before
_HEADERS = {
    "User-Agent": f"bybit-copyws/{__version__}",
    "Accept": "application/json",
    # A small reply that unpacks into a huge one is not to be had.
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True)
class Outgoing:
    """One request.

    Attributes:
        method: ``GET`` or ``POST``.
        target: path, and query if there is one.
        headers: more of them; may hold secrets.
        body: to send, or nothing.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class _Adapter(HTTPAdapter):
    """Uses connections of a dialler, whatever requests says about TLS and proxies."""

    def __init__(self, dialler: Dialler) -> None:
        super().__init__(max_retries=0)
        self._pool = make_pool(dialler, _LINES)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        """Return the pool for any request (requests 2.32 and newer)."""
        return self._pool

    def get_connection(self, *_: Any, **__: Any) -> Any:
        """Return the pool for any request (requests before 2.32)."""
        return self._pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Do nothing: the dialler's context decides."""

    def close(self) -> None:
        """Close the connections that no request uses, and each other one after its request.

        What requests would do leaves them open as long as somebody keeps a traceback.
        """
        self._pool.close()
        super().close()


class _Session(requests.Session):
    """A session that neither follows redirects nor prepares to."""

    def get_redirect_target(self, resp: object) -> None:
        """See no redirect: requests would read its body, however long, before it asks us."""


class Transport:
    """Carries requests to one endpoint. Safe from any thread.

    Args:
        endpoint: where to.
        base: the URL of it, to which targets are added.
        dialler: opens connections.
        max_size: bytes of the longest reply that is taken.
        stopped: ends all requests that are under way, and lets no other begin, once it is set.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        base: str,
        dialler: Dialler,
        max_size: int,
        stopped: threading.Event,
    ) -> None:
        self._endpoint = endpoint
        self._base = base.rstrip("/")
        self._dialler = dialler
        self._max_size = max_size
        self._stopped = stopped
        self._session = session = _Session()
        session.trust_env = False  # no netrc, no proxies of the environment
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.adapters.clear()
        session.mount("https://" if endpoint.secure else "http://", _Adapter(dialler))

    def send(self, outgoing: Outgoing, deadline: float) -> Reply | Failure | MustRaise:
        """Send a request and wait for its reply.

        Args:
            outgoing: what to send.
            deadline: monotonic time by which all must be done.

        Returns:
            What came, or why nothing did. A :class:`MustRaise` holds what the caller has to raise.
        """
        flight = Flight(self._endpoint, deadline, self._stopped)
        self._dialler.begin(flight)
        try:
            return self._exchange(outgoing)
        except ConnectFailed as error:
            return _stopped_or_slow(error, flight)
        except requests.RequestException as error:
            return _broken(error, flight)
        except ConfigurationError as error:
            return MustRaise(_bare(error))
        except Exception as error:  # noqa: BLE001 (its frames hold secrets)
            return _broken(error, flight)
        except BaseException as error:  # noqa: BLE001 (raised again by the caller, without them)
            return MustRaise(_bare(error))

    def _exchange(self, outgoing: Outgoing) -> Reply | Failure:
        prepared = requests.Request(
            outgoing.method,
            self._base + outgoing.target,
            headers={**_HEADERS, **outgoing.headers},
            data=outgoing.body or None,
        ).prepare()
        response = self._session.send(prepared, stream=True, allow_redirects=False, proxies={})
        raw: HTTPResponse = response.raw
        try:
            body = self._read(raw)
        finally:
            # What has not been read to its end is of no use to another request.
            raw.close()
            raw.release_conn()
        if body is None:
            reason = f"the reply is longer than {self._max_size:,} bytes"
            return Failure(Kind.LOST, reason, meanings.TOO_LONG, lasting=True)
        length = response.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and len(body) < int(length[:18]):
            return Failure(Kind.LOST, "the reply was cut off", meanings.CUT_OFF)
        headers = {
            name.lower(): value
            for name, value in response.headers.items()
            if name.lower() in KEPT_HEADERS
        }
        return Reply(response.status_code, headers, body)

    def _read(self, raw: HTTPResponse) -> bytes | None:
        """Read a whole reply; ``None`` if it is too long."""
        body = bytearray()
        while piece := raw.read(_PIECE, decode_content=False):
            body += piece
            if len(body) > self._max_size:
                return None
        return bytes(body)

    def close(self) -> None:
        """Close the connections that no request uses; set ``stopped`` before."""
        self._session.close()


@dataclass(frozen=True)
class MustRaise:
    """What the caller has to raise: from here, it would show our frames."""

    error: BaseException


def _bare(error: BaseException) -> BaseException:
    """Return an exception without frames, neither its own nor those of what led to it."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _stopped_or_slow(error: ConnectFailed, flight: Flight) -> Failure:
    """Say why a request did not get through, or found no patience any more."""
    # The streams have one option for what has several here.
    reason = error.reason.replace("open_timeout", flight.limit)
    if flight.sent:
        return Failure(Kind.LOST, reason, "The link or the exchange is slow, or silent")
    return Failure(Kind.UNSENT, f"no connection: {reason}", lasting=error.lasting)


def _broken(error: BaseException, flight: Flight) -> Failure:
    """Say how a connection broke: as the system said, or by the kind of what went wrong first."""
    cause: BaseException = error
    said = ""
    for _ in range(_DEEPEST):
        if isinstance(cause, OSError) and cause.strerror:
            said = printable(cause.strerror)
        following = cause.__cause__ or cause.__context__
        if following is None:
            break
        cause = following
    kind = Kind.LOST if flight.sent else Kind.UNSENT
    return Failure(kind, f"the connection broke ({said or type(cause).__name__})")
