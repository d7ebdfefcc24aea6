"""The parameters of a request: read from query or body, refused by their names.

Knows no endpoint: checks what a value is, not whether it makes sense.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import msgspec

from bybit_copyws.sandbox.account import Refused

from .messages import Request

# No text of a request is half as long; numbers of any length would be work for the arithmetic.
_LONGEST = 500


class Params:
    """The parameters of one request; ``null`` and an empty text are as good as nothing.

    Args:
        values: By name; of a GET request all are texts.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    @classmethod
    def of(cls, request: Request) -> Params:
        """Read the query of a GET request, the JSON body of another.

        Raises:
            Refused: 10001, the body is no JSON object, or a text longer than any of Bybit's.
        """
        values: dict[str, Any]
        if request.method == "GET":
            values = dict(parse_qsl(request.query, keep_blank_values=True))
        elif request.body:
            values = _decode(request.body)
        else:
            values = {}
        for name, value in values.items():
            if isinstance(value, str) and len(value) > _LONGEST:
                raise _invalid(name)
        return cls(values)

    def text(self, name: str, default: str = "") -> str:
        """Return a text.

        Raises:
            Refused: 10001, it is something else.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return default
        if not isinstance(value, str):
            raise _invalid(name)
        return value

    def required(self, name: str) -> str:
        """Return a text that must be there.

        Raises:
            Refused: 10001, it is missing or no text.
        """
        return self.text(name) or _missing(name)

    def number(self, name: str) -> str | None:
        """Return the digits of a number, which may be sent as a text; ``None`` if there is none.

        Raises:
            Refused: 10001, it is something else.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise _invalid(name)
        return str(value)

    def required_number(self, name: str) -> str:
        """Return the digits of a number that must be there.

        Raises:
            Refused: 10001, it is missing or something else.
        """
        return self.number(name) or _missing(name)

    def whole(self, name: str, default: int) -> int:
        """Return a whole number from zero on, which may be sent as a text.

        Raises:
            Refused: 10001, it is something else.
        """
        text = self.number(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()):
            raise _invalid(name)
        return int(text)

    def flag(self, name: str) -> bool:
        """Return a truth value, ``false`` by default, which may be sent as a text.

        Raises:
            Refused: 10001, it is something else.
        """
        value = self.values.get(name)
        if value in (None, "", False, "false"):
            return False
        if value is True or value == "true":
            return True
        raise _invalid(name)

    def limit(self, default: int, highest: int) -> int:
        """Return how many entries are asked for.

        Raises:
            Refused: 10001, it is none from 1 to ``highest``.
        """
        limit = self.whole("limit", default)
        if not 1 <= limit <= highest:
            raise _invalid("limit")
        return limit

    def need_linear(self) -> None:
        """Check that the category, which every v5 request names, is the one traded here.

        Raises:
            Refused: 10001, it is another.
        """
        if self.text("category") != "linear":
            raise Refused(10001, "params error: Category is invalid")


def _decode(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise Refused(10001, "params error: the body is not a JSON object") from None


def _invalid(name: str) -> Refused:
    return Refused(10001, f"params error: {name} invalid")


def _missing(name: str) -> NoReturn:
    raise Refused(10001, f"params error: {name} is required")
