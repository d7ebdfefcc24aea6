"""Where a key may be used: only where nobody on the way can read what it signs."""

from __future__ import annotations

import ssl

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.proxy import Proxy


def check_safe_for_secrets(
    endpoint: Endpoint, context: ssl.SSLContext | None, proxy: Proxy | None
) -> None:
    """Refuse to send a signature where others can read it: it opens a session to who has it.

    Raises:
        ConfigurationError: the way is not encrypted, or nobody checks who is at its end.
    """
    if endpoint.is_loopback and (proxy is None or proxy.is_loopback):
        return
    if not endpoint.secure:
        raise ConfigurationError(
            f"a key must not be sent in clear to {endpoint.name}: use wss:// (ws:// is accepted "
            "for this machine only, without a proxy elsewhere)"
        )
    if context is not None and (
        context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname
    ):
        raise ConfigurationError(
            f"ssl_context does not check the certificate of {endpoint.name}, so a key must not be "
            "sent there"
        )
