"""What all calls share: parameters, rows and pages, models. Knows no endpoint by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from bybit_copyws.errors import ProtocolError
from bybit_copyws.fields import json_array, json_object
from bybit_copyws.messages import Message
from bybit_copyws.rest.caller import Caller
from bybit_copyws.rest.endpoints import Dialect, Endpoint
from bybit_copyws.rest.params import wire_params

_T = TypeVar("_T")


class Calls:
    """Base of the groups of calls; its maker sets the two attributes."""

    _dialect: Dialect
    _caller: Caller

    def call(self, name: str, **params: Any) -> Any:
        """Make any call of the profile, and return its ``result`` as the exchange sent it.

        Args:
            name: as in the table of the documentation, such as ``"positions"``.
            params: in snake_case; ``None`` counts as not given.

        Raises:
            ConfigurationError: there is no such call, or a parameter is unknown, missing or
                malformed. Nothing is sent then.
            RestError: the call failed; see its kinds.
        """
        endpoint = self._dialect.endpoint(name)
        return self._caller.call(endpoint, wire_params(self._dialect, endpoint, params))

    def rows(self, name: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Walk all rows of a list, page by page, as the exchange sent them.

        A page is asked for when the one before has been used up.

        Args:
            name: as in :meth:`call`.
            params: the same; ``limit`` is the size of a page.

        Raises:
            ConfigurationError: at once, as in :meth:`call`, and if there is no key.
            RestError: while walking, as in :meth:`call`.
            ProtocolError: while walking: the result is no list, or its pages never end.
        """
        endpoint = self._dialect.endpoint(name)
        self._caller.check(endpoint)
        return self._pages(name, endpoint, wire_params(self._dialect, endpoint, params))

    def _pages(
        self, name: str, endpoint: Endpoint, params: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        while True:
            result = json_object(name, "the result", self._caller.call(endpoint, params))
            rows = json_array(name, "list", result.get("list"))
            for row in rows:
                yield json_object(name, "a row", row)
            cursor = result.get("nextPageCursor")
            # The last page may name a next one, which is empty.
            if "cursor" not in endpoint.params or not rows or not cursor:
                return
            if not isinstance(cursor, str) or cursor in seen:
                raise ProtocolError(f"{name}: the pages go round in circles")
            seen.add(cursor)
            params = {**params, "cursor": cursor}

    @staticmethod
    def _parsed(
        name: str, rows: Iterator[dict[str, Any]], parse: Callable[[Message], tuple[_T, ...]]
    ) -> Iterator[_T]:
        for row in rows:
            yield from parse(as_message(name, [row]))


def as_message(topic: str, data: Any, kind: str | None = None) -> Message:
    """Wrap data for the parsers of the streams."""
    return Message(topic, kind, None, data, 0, b"")
