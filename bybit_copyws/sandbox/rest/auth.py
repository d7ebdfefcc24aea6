"""Whether a request is signed as Bybit asks, with the key of the account ("Authentication").

Knows no endpoint. Compares key and signature in constant time.
"""

from __future__ import annotations

import hmac
import re

from bybit_copyws.sandbox.account import Refused
from bybit_copyws.wire.signing import Credentials

from .messages import Request

_DEFAULT_RECV_WINDOW = 5000
#: How far a client's clock may run ahead.
_AHEAD_MS = 1000
_NUMBER = re.compile(r"[0-9]{1,18}")


def check_signature(
    request: Request, credentials: Credentials, now_ms: int, real_ms: int | None = None
) -> None:
    """Check headers, time, key and signature of a request, in this order.

    Args:
        request: what came.
        credentials: of the account.
        now_ms: the time of the exchange.
        real_ms: the real time, if it is another: clients sign by either.

    Raises:
        Refused: 10001, a header is missing or malformed; 10002, the timestamp lies outside the
            window; 10003, the key is another; 10004, the signature is wrong.
    """
    api_key, signature = request.header("X-BAPI-API-KEY"), request.header("X-BAPI-SIGN")
    timestamp = request.header("X-BAPI-TIMESTAMP")
    if not (api_key and signature and timestamp):
        raise Refused(
            10001,
            f"empty value: apiTimestamp[{timestamp}] apiKey[{api_key}] apiSignature[{signature}]",
        )
    # Stated for v3, absent on v5; 2 is the only value there is.
    if request.header("X-BAPI-SIGN-TYPE") not in ("", "2"):
        raise Refused(10001, "params error: X-BAPI-SIGN-TYPE invalid")
    recv_window = request.header("X-BAPI-RECV-WINDOW")
    _check_time(timestamp, recv_window, (now_ms, now_ms if real_ms is None else real_ms))
    if not _equal(api_key, credentials.api_key):
        raise Refused(10003, "API key is invalid.")
    try:
        payload = request.query if request.method == "GET" else request.body.decode()
    except UnicodeDecodeError:
        raise Refused(10001, "params error: the body is not UTF-8") from None
    text = timestamp + api_key + recv_window + payload
    if not _equal(signature, credentials.sign(text)):
        # Bybit quotes what it has signed, key and all: a client must not log it as it is.
        raise Refused(10004, f"error sign! origin_string[{text}]")


def _check_time(timestamp: str, recv_window: str, clocks: tuple[int, int]) -> None:
    asked_ms = _header_number("X-BAPI-TIMESTAMP", timestamp)
    window = _header_number("X-BAPI-RECV-WINDOW", recv_window or str(_DEFAULT_RECV_WINDOW))
    if any(now_ms - window <= asked_ms < now_ms + _AHEAD_MS for now_ms in clocks):
        return
    # The same code on both profiles. Old lists of codes have 10021 too, without a profile;
    # whoever was refused for this, from v2 to v5, has reported 10002 and this text.
    raise Refused(
        10002,
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{timestamp}],server_timestamp[{clocks[0]}],recv_window[{window}]",
    )


def _header_number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Refused(10001, f"params error: {name} invalid")
    return int(text)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
