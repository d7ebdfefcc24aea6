"""What the refusals of the REST API most likely mean, and what to do about them. Pure.

Sources: Bybit's "Error Codes" pages of v3 and v5, and what users were refused for.
"""

from __future__ import annotations

from collections.abc import Mapping

CLOCK = (
    "The timestamp was outside the window: the clock of this machine is off, or the link is slow. "
    "The exchange's clock is measured and used instead; if that does not help, raise recv_window"
)
_WRONG_KEY = (
    "The key is unknown here: keys of mainnet, testnet, demo and the regions are not "
    "interchangeable, and a key may have expired or been deleted"
)
_WRONG_SIGNATURE = (
    "The signature is wrong: the secret does not belong to the key, or has a stray character from "
    "copying"
)
_TOO_MANY = (
    "More calls than the exchange allows this key; other programs with the same key count too. "
    "Ask less often: what the streams tell need not be asked for"
)
BANNED = (
    "The address of this machine is refused: too many calls from it (a ban lasts about 30 "
    "minutes), or a region that the exchange does not serve. Until then no call is sent, because "
    "each one could make it last longer"
)
REDIRECTED = (
    "Redirects are never followed, because the request is signed. Most likely the environment's "
    "URL is wrong, or something on the way wants a login"
)
NOT_JSON = (
    "The exchange answers in JSON: most likely this comes from something on the way, such as a "
    "proxy, a firewall or a page for maintenance"
)
CUT_OFF = "The connection broke in the middle of the reply"
TOO_LONG = "No answer of the exchange is that long; raise max_response_size if one is"

_CODES: Mapping[int, str] = {
    10000: "The exchange did not finish in time",
    10001: (
        "A parameter is missing or wrong; the text names it. Quantities and prices must fit the "
        "contract: round_qty() and round_price() of its instrument see to that"
    ),
    10002: CLOCK,
    10003: _WRONG_KEY,
    10004: _WRONG_SIGNATURE,
    10005: "The key lacks the permission for this: change it in the settings of the key",
    10006: _TOO_MANY,
    10008: "The account is banned; ask the exchange",
    10009: "The address of this machine is banned; ask the exchange",
    10010: "The key may be used from other addresses only: see its list of addresses",
    10016: "Trouble inside the exchange",
    10017: "The exchange has no such endpoint; what v3 has for copy trading was moved to v5",
    10018: "More calls than the exchange allows this address, whatever their key",
    10021: CLOCK,
    10022: _WRONG_SIGNATURE,
    10024: "The exchange does not offer this to the account for legal reasons",
    10027: "Trading is banned for the account; ask the exchange",
    10028: "Only unified accounts may use this endpoint",
    10029: "The account may not trade this symbol; a leader trades what instruments() lists",
    10429: "The exchange protects itself from too many calls",
    33004: "The key has expired: make a new one",
    34040: "Nothing would change",
    110001: "There is no such order, or it is done",
    110007: "The balance does not suffice: a smaller quantity, or more leverage, needs less of it",
    110013: "The leverage is not allowed: see max_leverage of the instrument, and the risk limit",
    110017: "There is nothing (or less) open that it could reduce",
    110025: "Nothing would change",
    110043: "Nothing would change: the leverage is what was asked for",
    110072: "An order with this order_link_id exists: give each order a new one",
    131212: "The balance does not suffice",
    131215: "A transfer with this id exists",
}
_STATUSES: Mapping[int, str] = {
    401: _WRONG_KEY,
    404: "There is no such endpoint at this host: check the environment's URL",
    407: "The proxy wants a user name and a password",
    429: "More calls than the exchange allows this address: ask less often",
    451: "The exchange does not serve this region",
}


def of_code(ret_code: int) -> str:
    """Return what a code of the exchange means; ``""`` if that is not known."""
    return _CODES.get(ret_code, "")


def of_status(status: int) -> str:
    """Return what an HTTP status means; ``""`` if that is not known."""
    if status >= 500:
        return "Trouble at the exchange or on the way; it usually passes"
    return _STATUSES.get(status, "")
