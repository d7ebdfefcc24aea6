"""Which proxy a connection goes through, if any: given by the user, or found in the environment.

Its password is in no repr and no error. Nothing is opened here.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.stream.endpoint import Endpoint, bracketed, is_loopback

ENVIRONMENT: Literal["environment"] = "environment"
"""The value of ``proxy`` that asks for the environment's."""

_PORTS = {"http": 80, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_MAX_SOCKS_LOGIN = 255  # RFC 1929
_FORMS = "http://host:port, socks5h://host:port (also socks5, socks4a and socks4) or 'environment'"


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: ``http``, ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``.
        host: its host name.
        port: its port.
        user: user name, or ``""``.
        password: password, or ``""``.
    """

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    @property
    def has_login(self) -> bool:
        """Whether it is told who we are."""
        return bool(self.user or self.password)

    @property
    def is_loopback(self) -> bool:
        """Whether it runs on this machine."""
        return is_loopback(self.host)

    @property
    def resolves(self) -> bool:
        """Whether it looks up names itself, instead of being told an address."""
        return self.scheme in ("http", "socks4a", "socks5h")

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Take the URL of a proxy apart.

        Raises:
            ConfigurationError: it is none, or needs an extra that is not installed. The text shows
                nothing of the URL behind its scheme: a password may be in it.
        """
        parts = _split(url)
        if parts is None:
            raise ConfigurationError(f"proxy is no URL: use {_FORMS}")
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        if scheme not in _PORTS:
            # Without "//" it may be a user name, or worse.
            kind = f" of the kind {scheme[:20]!r}" if parts.netloc else " without a kind"
            raise ConfigurationError(f"a proxy{kind} cannot be used: {_FORMS}")
        if not host or not host.isascii() or any(char.isspace() for char in host):
            raise ConfigurationError(f"proxy names no valid host: use {_FORMS}")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ConfigurationError(f"proxy has more than a host and a port: use {_FORMS}")
        if scheme != "http" and importlib.util.find_spec("python_socks") is None:
            raise ConfigurationError(
                f"a {scheme} proxy needs the extra 'proxy': pip install 'bybit_copyws[proxy]'"
            )
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        _check_login(scheme, user, password)
        return cls(scheme, host, port or _PORTS[scheme], user, password)


def _split(url: str) -> SplitResult | None:
    """Take a URL apart; ``None`` if it is none. An error raised here would quote it."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only now
    except (ValueError, AttributeError, TypeError):
        return None
    return parts


def _check_login(scheme: str, user: str, password: str) -> None:
    """Refuse what the kind of proxy cannot carry.

    Raises:
        ConfigurationError: naming what, but neither of the two.
    """
    if scheme == "http":
        if ":" in user:
            raise ConfigurationError("the proxy's user name must not contain a colon (RFC 7617)")
        return
    if not all(text.isascii() and len(text) <= _MAX_SOCKS_LOGIN for text in (user, password)):
        raise ConfigurationError(
            f"a SOCKS proxy takes a user name and a password of ASCII, at most {_MAX_SOCKS_LOGIN} "
            "characters each"
        )
    if scheme.startswith("socks5") and bool(user) != bool(password):
        raise ConfigurationError("a SOCKS5 proxy wants both, user name and password, or neither")
    if scheme.startswith("socks4") and password:
        raise ConfigurationError("SOCKS4 knows no password: use socks5h:// or leave it out")


ProxyChoice: TypeAlias = Proxy | Literal["environment"] | None
"""What the user asked for."""


def proxy_or_error(option: str | None) -> ProxyChoice | ConfigurationError:
    """Return the choice, or what is wrong with it: raised from here, it would show the password."""
    if option is None or option == ENVIRONMENT:
        return option
    try:
        return Proxy.parse(option)
    except ConfigurationError as error:
        return error.with_traceback(None)


def find_proxy(choice: ProxyChoice, endpoint: Endpoint) -> Proxy | None:
    """Return the proxy for an endpoint.

    Args:
        choice: a proxy; ``None`` for none; or ``"environment"``: then as :mod:`urllib.request`
            finds it, from ``HTTPS_PROXY`` (for ``wss://``), ``HTTP_PROXY`` (for ``ws://``) or
            ``ALL_PROXY``, unless ``NO_PROXY`` names the host.
        endpoint: where the connection shall lead.

    Raises:
        ConfigurationError: what the environment says is no proxy.
    """
    if choice != ENVIRONMENT:
        return choice
    if proxy_bypass(f"{endpoint.host}:{endpoint.port}"):
        return None
    proxies = getproxies()
    url = proxies.get("https" if endpoint.secure else "http") or proxies.get("all")
    if not url:
        return None
    # Many write HTTP_PROXY=host:port, and every other program understands it.
    found = proxy_or_error(url if "://" in url else f"http://{url}")
    del proxies, url  # not to be shown with the traceback
    if isinstance(found, ConfigurationError):
        raise found
    return found if isinstance(found, Proxy) else None
