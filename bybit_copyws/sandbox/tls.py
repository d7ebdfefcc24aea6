"""A throw-away certificate authority, so that a local exchange can speak TLS."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

import trustme


class ThrowawayAuthority:
    """Signs a certificate for this machine; nothing outlives :meth:`remove`.

    Args:
        host: the address that the exchange listens on.

    Attributes:
        server: TLS settings of the exchange.
        client: TLS settings of a client that trusts it, and nothing else.
        ca_file: the authority's certificate in a file, for programs that want one; ``None`` until
            :meth:`write`.
    """

    def __init__(self, host: str) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1", "::1", host)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        self.ca_file: str | None = None
        self._pem = authority.cert_pem.bytes()

    def write(self) -> None:
        """Write the file; twice does nothing."""
        if self.ca_file is None:
            descriptor, self.ca_file = tempfile.mkstemp(prefix="bybit-copyws-ca-", suffix=".pem")
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._pem)

    def remove(self) -> None:
        """Delete the file; twice does nothing."""
        if self.ca_file is not None:
            Path(self.ca_file).unlink(missing_ok=True)
            self.ca_file = None
