"""What a user gives as the target of a proxy: its scheme, host and port, and their addresses."""

from __future__ import annotations

import socket
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.proxy.checks import check_integer

# A family and an address of it, as getaddrinfo gives them.
Address: TypeAlias = tuple[int, tuple[Any, ...]]

_SCHEMES = {"ws": 80, "http": 80, "wss": 443, "https": 443}


class HasUrl(Protocol):
    """Something that listens and says where, such as a running ``Sandbox``."""

    @property
    def url(self) -> str:
        """Base URL."""


def parse_target(target: object, port: int | None) -> tuple[str, tuple[str, int]]:
    """Return the scheme, and host and port.

    Raises:
        ConfigurationError: nothing could listen there.
    """
    if not isinstance(target, str):
        target = getattr(target, "url", None)
    if not isinstance(target, str) or not target:
        raise ConfigurationError("the target must be a running Sandbox, a base URL, or a host")
    if "://" not in target:
        if port is None or target.count(":") == 1:
            raise ConfigurationError("give the port of the target host as the second argument")
        check_integer("target_port", port, 1, 65_535)
        return "ws", (target, port)
    if port is not None:
        raise ConfigurationError("give either a URL or a host and its port, not both")
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        raise ConfigurationError("the target's URL is malformed") from None
    if port == 0:
        raise ConfigurationError("the target has no port yet: start the Sandbox before the proxy")
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigurationError("the target's URL must look like ws://host:port")
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(
            "the target's URL must be a base URL such as ws://host:port: no path, query, fragment "
            "or user info"
        )
    return parts.scheme, (parts.hostname, port or _SCHEMES[parts.scheme])


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, best first.

    Raises:
        ConfigurationError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigurationError(
            f"the target host {host!r} has no address ({error}): check its spelling"
        ) from None
    return [(family, address) for family, _, _, _, address in found]
