"""Signatures are right, and the secret stays inside."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import pickle
import sys
import traceback
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.wire.operations import args_size, auth_request, topic_request
from bybit_copyws.wire.signing import Credentials, auth_text

KEY, SECRET = "CanaryKey0123", "CanarySecret0123456789"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any, encryption: Any = None) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    ).decode()


def test_an_hmac_signature_is_that_of_the_documents() -> None:
    text = auth_text(1662350400000)
    assert text == "GET/realtime1662350400000"
    expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    credentials = Credentials(KEY, SECRET)
    assert credentials.sign(text) == expected
    assert credentials.sign(text) == expected  # one signature does not spoil the next


def test_an_rsa_signature_can_be_verified() -> None:
    signature = base64.b64decode(Credentials(KEY, pem(RSA_KEY)).sign("text"))
    RSA_KEY.public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("-----BEGIN PRIVATE KEY-----\nCanarySecret\n-----END PRIVATE KEY-----", "unencrypted RSA"),
        (pem(RSA_KEY, serialization.BestAvailableEncryption(b"x")), "unencrypted RSA"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "another kind"),
        ("", "api_secret is empty"),
        ("  ", "api_secret is empty"),
        (None, "api_secret is empty"),
        ("CanarySecret\n", "characters that no key has"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused_without_showing_it(secret: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Credentials(KEY, secret)
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in trace.stack if "signing" in frame.filename]
    assert frames
    assert not any(secret and secret.strip() and secret in str(f.locals) for f in frames)


@pytest.mark.parametrize("key", ["", "a b", None, 7])
def test_a_key_that_cannot_be_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_key"):
        Credentials(key, SECRET)


def test_without_its_extra_rsa_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(ConfigurationError, match=r"bybit_copyws\[rsa\]"):
        Credentials(KEY, pem(RSA_KEY))


@pytest.mark.parametrize("spread", [pickle.dumps, copy.copy, copy.deepcopy])
def test_credentials_cannot_be_spread(spread: Any) -> None:
    with pytest.raises(TypeError, match="secret"):
        spread(Credentials(KEY, SECRET))


def test_nothing_shows_the_secret() -> None:
    credentials = Credentials(KEY, SECRET)
    assert repr(credentials) == str(credentials) == "Credentials(<redacted>)"
    assert not hasattr(credentials, "__dict__")
    assert SECRET not in repr([getattr(credentials, name) for name in credentials.__slots__])


def test_a_text_is_redacted() -> None:
    credentials = Credentials(KEY, SECRET)
    signature = credentials.sign("x")
    text = f"key {KEY} sign {signature}, topic orderbook.50.1000PEPEUSDT"
    assert credentials.redact(text) == (
        "key <redacted> sign <redacted>, topic orderbook.50.1000PEPEUSDT"
    )


def test_the_auth_request_can_be_sent_but_not_shown() -> None:
    request = auth_request(Credentials(KEY, SECRET), 123)
    assert str(request).startswith('{"op":"auth","args":["CanaryKey0123",123,"')
    assert repr(request) == "'<auth request>'"


def test_requests_are_json() -> None:
    assert topic_request("subscribe", ["a", "b"], None) == '{"op":"subscribe","args":["a","b"]}'
    assert topic_request("unsubscribe", ['"'], "7") == (
        '{"op":"unsubscribe","args":["\\""],"req_id":"7"}'
    )
    assert args_size(["ab", "c"]) == len('"ab","c",')
