"""Where a stream goes to: its URL taken apart, and what it is called in errors and budgets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

_PORTS = {"ws": 80, "wss": 443}


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine (127.0.0.0/8, ::1 or ``localhost``)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Endpoint:
    """A parsed stream URL.

    Attributes:
        url: the whole of it.
        host: its host name.
        port: its port.
        secure: whether TLS is used.
    """

    url: str
    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Take a checked ``ws://`` or ``wss://`` URL apart."""
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        return cls(url, parts.hostname or "", port, parts.scheme == "wss")

    @property
    def name(self) -> str:
        """Host, and port if it is not the default one: what budgets and errors name."""
        default = self.port == _PORTS["wss" if self.secure else "ws"]
        host = bracketed(self.host)
        return host if default else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        return is_loopback(self.host)
