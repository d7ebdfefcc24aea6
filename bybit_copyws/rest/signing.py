"""The headers of a signed request (Bybit: "Integration Guidance", parameters for headers). Pure."""

from __future__ import annotations

from bybit_copyws.wire.signing import Credentials


def signed_headers(
    credentials: Credentials, timestamp_ms: int, recv_window_ms: int, payload: str
) -> dict[str, str]:
    """Return the headers that sign a request.

    They are as good as the key until they expire: whoever holds them must let them into no
    error, log or traceback.

    Args:
        credentials: who signs.
        timestamp_ms: the exchange's time.
        recv_window_ms: for how long after it the request is valid.
        payload: the query of a GET request without its question mark, the body of another one:
            exactly what is sent.
    """
    timestamp, window = str(timestamp_ms), str(recv_window_ms)
    return {
        "X-BAPI-API-KEY": credentials.api_key,
        "X-BAPI-TIMESTAMP": timestamp,
        "X-BAPI-RECV-WINDOW": window,
        "X-BAPI-SIGN": credentials.sign(timestamp + credentials.api_key + window + payload),
        "X-BAPI-SIGN-TYPE": "2",
    }
