"""Credentials and the signature of the ``auth`` operation.

The one place that touches the secret. It never hands it out: not by ``repr``, pickle, copy or an
exception. Must not know sockets or clocks; the expiry is an argument.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable
from typing import NoReturn

from bybit_copyws.errors import ConfigurationError

_PEM_MARK = "-----BEGIN"


class Credentials:
    """An API key and its secret; the secret can be used for signing but not be read back.

    Args:
        api_key: the key as Bybit shows it.
        api_secret: the secret of an HMAC key, or the PEM text of an RSA private key (then the
            ``rsa`` extra is needed; Bybit documents RSA for v5, on v3 it is unverified).

    Raises:
        ConfigurationError: one of the two is missing or has characters that no key has.
    """

    __slots__ = ("_sign", "api_key")

    def __init__(self, api_key: str, api_secret: str) -> None:
        for name, value in (("api_key", api_key), ("api_secret", api_secret)):
            if not isinstance(value, str) or not value.strip():
                raise ConfigurationError(
                    f"{name} is empty or not a string: private topics need both api_key and "
                    "api_secret"
                )
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigurationError(
                "api_key has characters that no key has (a space or line break from copying?)"
            )
        self.api_key = api_key
        self._sign = _rsa_signer(api_secret) if _PEM_MARK in api_secret else _hmac(api_secret)

    def sign(self, text: str) -> str:
        """Return the signature of ``text``: hex for an HMAC key, base64 for an RSA key."""
        return self._sign(text)

    def __repr__(self) -> str:
        return "Credentials(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials cannot be pickled or copied: that would spread the secret")


def auth_text(expires_ms: int) -> str:
    """Return the text that the ``auth`` operation signs (Bybit: WebSocket "Authentication")."""
    return f"GET/realtime{expires_ms}"


def _hmac(api_secret: str) -> Callable[[str], str]:
    # The secret lives in the closure alone, so that no attribute or vars() shows it.
    secret = api_secret.encode()
    return lambda text: hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def _rsa_signer(pem: str) -> Callable[[str], str]:
    """Return a PKCS#1 v1.5 signer over SHA-256 for a private key in PEM."""
    try:
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "api_secret is an RSA key, which needs the extra: pip install 'bybit_copyws[rsa]'"
        ) from None
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        # Not chained: the cause may quote the text.
        raise ConfigurationError(
            "api_secret looks like a PEM key but is not an unencrypted RSA private key"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError("api_secret is a PEM key of another kind; Bybit takes RSA")

    def sign(text: str) -> str:
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return b64encode(signature).decode()

    return sign
