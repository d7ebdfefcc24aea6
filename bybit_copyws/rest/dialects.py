"""Which REST API a profile has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.rest.dialect_v3 import v3
from bybit_copyws.rest.dialect_v5 import v5
from bybit_copyws.rest.endpoints import Dialect

DIALECTS: Mapping[str, Dialect] = MappingProxyType({"v3": v3(), "v5": v5()})
"""By the name of the profile."""


def find_dialect(profile: str) -> Dialect:
    """Return the REST API of a profile.

    Raises:
        ConfigurationError: it has none.
    """
    try:
        return DIALECTS[profile]
    except KeyError:
        raise ConfigurationError(
            f"profile {profile!r} has no REST API here; {', '.join(DIALECTS)} have one"
        ) from None
