"""Where requests go to, and whether a signature may go there."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.proxy import Proxy
from bybit_copyws.stream.safety import check_safe_for_secrets

_PORTS = {"http": 80, "https": 443}


def endpoint_of(url: str) -> Endpoint:
    """Take a checked ``http://`` or ``https://`` URL apart."""
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    return Endpoint(url, parts.hostname or "", port, parts.scheme == "https")


def check_route(endpoint: Endpoint, context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
    """Refuse to send a signature where others can read or change what it signs.

    Raises:
        ConfigurationError: the way is not encrypted, or nobody checks who is at its end.
    """
    try:
        check_safe_for_secrets(endpoint, context, proxy)
    except ConfigurationError as error:
        # The rule is that of the streams, and so are the schemes that its text names.
        text = str(error).replace("ws://", "http://").replace("wss://", "https://")
        raise ConfigurationError(text) from None
