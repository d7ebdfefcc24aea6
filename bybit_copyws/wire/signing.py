"""Credentials and the signature of the ``auth`` operation.

The one place that touches the secret. It never hands it out: not by ``repr``, pickle, copy or an
exception. Must not know sockets or clocks; the expiry is an argument.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Callable
from typing import NoReturn

from bybit_copyws.errors import ConfigurationError

_PEM_MARK = "-----BEGIN"
_PLAIN = re.compile(r"[!-~]+")
_REDACTED = "<redacted>"
# Hex of HMAC-SHA256 has 64 characters, base64 of RSA more; no topic has such a part.
_LIKE_A_SIGNATURE = re.compile(r"[0-9A-Za-z+/=]{60,}")


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
        problem = _problem("api_key", api_key) or _problem("api_secret", api_secret)
        signer = problem or _signer(api_secret)
        if isinstance(signer, str):
            # A traceback may be shown with the local variables of its frames.
            del api_key, api_secret
            raise ConfigurationError(signer)
        self.api_key = api_key
        self._sign = signer

    def sign(self, text: str) -> str:
        """Return the signature of ``text``: hex for an HMAC key, base64 for an RSA key."""
        return self._sign(text)

    def redact(self, text: str) -> str:
        """Return a text of the exchange without the key and without anything like a signature.

        A refusal may quote the request it is about.
        """
        return _LIKE_A_SIGNATURE.sub(_REDACTED, text.replace(self.api_key, _REDACTED))

    def __repr__(self) -> str:
        return "Credentials(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials cannot be pickled or copied: that would spread the secret")


def auth_text(expires_ms: int) -> str:
    """Return the text that the ``auth`` operation signs (Bybit: WebSocket "Authentication")."""
    return f"GET/realtime{expires_ms}"


# No function below raises while the secret is in one of its variables: they return what is wrong.


def _problem(name: str, value: object) -> str:
    """Return what is wrong with a key or secret, if anything."""
    if not isinstance(value, str) or not value.strip():
        return f"{name} is empty or not a string: private topics need both api_key and api_secret"
    pem = name == "api_secret" and _PEM_MARK in value
    if not pem and not _PLAIN.fullmatch(value):
        return f"{name} has characters that no key has (a space or line break from copying?)"
    return ""


def _signer(api_secret: str) -> Callable[[str], str] | str:
    """Return what signs with a secret, or what is wrong with the secret."""
    if _PEM_MARK in api_secret:
        return _rsa_signer(api_secret)
    # The closure holds the keyed hash, from which the secret cannot be read back.
    keyed = hmac.new(api_secret.encode(), digestmod=hashlib.sha256)

    def sign(text: str) -> str:
        mac = keyed.copy()
        mac.update(text.encode())
        return mac.hexdigest()

    return sign


def _rsa_signer(pem: str) -> Callable[[str], str] | str:
    """Return a PKCS#1 v1.5 signer over SHA-256 for a private key in PEM, or what is wrong."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    except ImportError:
        return "api_secret is an RSA key, which needs the extra: pip install 'bybit_copyws[rsa]'"
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "api_secret looks like a PEM key but is not an unencrypted RSA private key"
    if not isinstance(key, rsa.RSAPrivateKey):
        return "api_secret is a PEM key of another kind; Bybit takes RSA"

    def sign(text: str) -> str:
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return b64encode(signature).decode()

    return sign
