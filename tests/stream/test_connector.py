"""Opening a connection: look-up, addresses, TCP and TLS under one deadline, stoppable anywhere."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from bybit_copyws.errors import ConnectFailed
from bybit_copyws.stream.connector import Connector
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.link import Link
from bybit_copyws.stream.poller import Poller
from bybit_copyws.stream.tls import Tls as StreamTls

PATIENCE = 5.0  # seconds: more than anything here may take on a busy machine
SHORT = 0.2  # seconds: a deadline that is meant to pass
NEVER = 600.0  # seconds: a deadline that must not be what ends an attempt
HOST = "exchange.test"

Script = Callable[[socket.socket], object]
Resolve = Callable[..., None]
Fails = Callable[[Connector], ConnectFailed]


# What an attempt meets


def drain(sock: socket.socket) -> None:
    """Read until the other side has ended."""
    while sock.recv(16_384):
        pass


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def serving(script: Script) -> Iterator[int]:
    """Give one connection to a script, in a thread; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as sock:
                sock.settimeout(PATIENCE)
                script(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(2 * PATIENCE)


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """Yield a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port that answers no SYN: the queue of its listener is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            if not Poller(sock).writable(0.1):
                break
        else:
            pytest.skip("this system's listeners take any number of connections")
        yield listener.getsockname()[1]


def connector(
    url: str,
    seconds: float = NEVER,
    stopped: threading.Event | None = None,
    context: ssl.SSLContext | None = None,
) -> Connector:
    deadline = time.monotonic() + seconds
    return Connector(Endpoint.parse(url), deadline, stopped or threading.Event(), context)


def open_sockets() -> int:
    """Count the sockets of the process, where the system shows them."""
    count = 0
    with contextlib.suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                count += str(link.readlink()).startswith("socket:")
    return count


@pytest.fixture
def fails(eventually: Callable[..., bool]) -> Fails:
    """Give a function that returns the error of an attempt, which must leave no socket open."""

    def fail(attempt: Connector) -> ConnectFailed:
        before = open_sockets()
        with pytest.raises(ConnectFailed) as caught:
            attempt.open()
        # The error is held, so no socket can have been closed by being forgotten.
        assert eventually(lambda: open_sockets() <= before), f"left open by: {caught.value}"
        return caught.value

    return fail


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Give a function that sets what each name resolves to: ports on loopback."""

    def answer(*ports: int) -> None:
        infos = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
            for port in ports
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: infos)

    return answer


class SlowNames:
    """A name server that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.answer = threading.Event()
        self.calls: list[tuple[str, int]] = []

    def getaddrinfo(self, host: str, port: int, *_: object) -> list[Any]:
        self.calls.append((host, port))
        self.asked.release()
        self.answer.wait(2 * PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    names = SlowNames()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.answer.set()


# Endpoint


@pytest.mark.parametrize(
    ("url", "host", "port", "secure", "name"),
    [
        ("ws://exchange.test/v5", "exchange.test", 80, False, "exchange.test"),
        ("wss://exchange.test/v5?x=1", "exchange.test", 443, True, "exchange.test"),
        ("wss://Exchange.TEST", "exchange.test", 443, True, "exchange.test"),
        ("wss://exchange.test:443/", "exchange.test", 443, True, "exchange.test"),
        ("wss://exchange.test:80/", "exchange.test", 80, True, "exchange.test:80"),
        ("ws://exchange.test:443/", "exchange.test", 443, False, "exchange.test:443"),
        ("ws://127.0.0.1:8080", "127.0.0.1", 8080, False, "127.0.0.1:8080"),
        ("wss://[::1]/v5", "::1", 443, True, "[::1]"),
        ("wss://[2001:db8::1]:8443/v5", "2001:db8::1", 8443, True, "[2001:db8::1]:8443"),
    ],
)
def test_an_endpoint_knows_host_port_and_what_to_call_it(
    url: str, host: str, port: int, secure: bool, name: str
) -> None:
    endpoint = Endpoint.parse(url)
    assert endpoint == Endpoint(url, host, port, secure)
    assert endpoint.name == name


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("[::1]", True),
        ("128.0.0.1", False),
        ("[2001:db8::1]", False),
        ("localhost.exchange.test", False),
        ("127.0.0.1.exchange.test", False),
    ],
)
def test_an_endpoint_knows_whether_it_is_this_machine(host: str, loopback: bool) -> None:
    assert Endpoint.parse(f"ws://{host}:80/").is_loopback is loopback


# TCP


def test_an_open_socket_is_non_blocking_prompt_and_kept_alive() -> None:
    with serving(drain) as port, connector(f"ws://127.0.0.1:{port}").open()[0] as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
        assert sock.gettimeout() == 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_it_opens_over_ipv6() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        port = listener.getsockname()[1]
        with connector(f"ws://[::1]:{port}").open()[0] as sock:
            assert sock.getpeername()[:2] == ("::1", port)


def test_a_refused_port_names_host_address_and_reason(fails: Fails, resolve: Resolve) -> None:
    with refusing() as port:
        resolve(port)
        error = fails(connector(f"ws://{HOST}:{port}"))
    assert error.host == f"{HOST}:{port}"
    assert str(error) == f"cannot connect to {HOST}:{port}: 127.0.0.1: connection refused"


def test_an_address_without_a_route_is_told_at_once(fails: Fails) -> None:
    error = fails(connector("ws://224.0.0.1"))  # TCP knows no multicast
    assert error.host == "224.0.0.1"
    assert "unreachable" in error.reason


def test_a_syn_black_hole_ends_at_the_deadline(fails: Fails) -> None:
    started = time.monotonic()
    with black_hole() as port:
        error = fails(connector(f"ws://127.0.0.1:{port}", SHORT))
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE
    assert error.host == f"127.0.0.1:{port}"
    assert "open_timeout passed connecting" in error.reason


def test_stopping_ends_an_attempt_that_is_connecting(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()
    monkeypatch.setattr(Poller, "writable", lambda *_: stopped.set())  # that is: not yet
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        error = fails(connector(f"ws://127.0.0.1:{port}", stopped=stopped))
    assert error.reason == "127.0.0.1: stopped by close()"


def test_stopping_before_it_begins_lets_nothing_begin(fails: Fails, resolve: Resolve) -> None:
    stopped = threading.Event()
    stopped.set()
    resolve()
    error = fails(connector(f"ws://{HOST}", stopped=stopped))
    assert error.reason == "stopped by close()"


def test_a_kind_of_address_that_the_system_lacks_is_an_error(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = (9_999, socket.SOCK_STREAM, 0, "", ("nowhere", 1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [unknown])
    assert "nowhere: no socket can be made" in fails(connector(f"ws://{HOST}")).reason


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no other family of sockets here")
def test_a_socket_that_takes_no_tcp_options_is_an_error(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("elsewhere", 1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [other])
    assert fails(connector(f"ws://{HOST}")).reason.startswith("elsewhere: ")


# Several addresses


def test_a_refused_address_is_followed_by_the_next(resolve: Resolve) -> None:
    with refusing() as dead, serving(drain) as port:
        resolve(dead, port)
        with connector(f"ws://{HOST}").open()[0] as sock:
            assert sock.getpeername()[1] == port


def test_a_black_hole_leaves_time_for_the_next_address(resolve: Resolve) -> None:
    with black_hole() as dead, serving(drain) as port:
        resolve(dead, port)
        with connector(f"ws://{HOST}", 4 * SHORT).open()[0] as sock:
            assert sock.getpeername()[1] == port


def test_all_addresses_share_the_deadline(fails: Fails, resolve: Resolve) -> None:
    started = time.monotonic()
    with black_hole() as port:
        resolve(*[port] * 20)
        error = fails(connector(f"ws://{HOST}", 2 * SHORT))
    # A deadline of its own for each would make it twenty times as long.
    assert 2 * SHORT * 0.9 < time.monotonic() - started < 20 * SHORT
    assert error.reason.count("open_timeout passed") == 20


def test_when_all_addresses_fail_each_reason_is_told(fails: Fails, resolve: Resolve) -> None:
    with refusing() as port, black_hole() as dead:
        resolve(port, dead)
        error = fails(connector(f"ws://{HOST}", SHORT))
    first, second = error.reason.split("; ")
    assert "refused" in first
    assert "open_timeout" in second


def test_after_a_stop_no_further_address_is_tried(
    fails: Fails, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()
    monkeypatch.setattr(Poller, "writable", lambda *_: stopped.set())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        resolve(listener.getsockname()[1], listener.getsockname()[1])
        error = fails(connector(f"ws://{HOST}", stopped=stopped))
    assert error.reason == "127.0.0.1: stopped by close()"


# Names


def test_an_unknown_name_is_told(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = fails(connector(f"wss://{HOST}"))
    assert error.host == HOST
    assert "name cannot be resolved" in error.reason
    assert "not known" in error.reason


def test_a_name_that_no_dns_can_carry_is_told(fails: Fails) -> None:
    error = fails(connector(f"ws://{'x' * 64}.test"))
    assert "name cannot be resolved" in error.reason


def test_a_name_without_an_address_is_told(fails: Fails, resolve: Resolve) -> None:
    resolve()
    assert fails(connector(f"ws://{HOST}")).reason == "the name has no address"


def test_a_silent_name_server_ends_at_the_deadline(fails: Fails, slow_names: SlowNames) -> None:
    started = time.monotonic()
    error = fails(connector(f"ws://{HOST}", SHORT))
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE
    assert error.host == HOST
    assert error.reason == "open_timeout passed looking up the name"


def test_stopping_does_not_wait_for_a_name_server(slow_names: SlowNames) -> None:
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(connector(f"ws://{HOST}", stopped=stopped).open)
        assert slow_names.asked.acquire(timeout=PATIENCE)
        stopped.set()
        error = attempt.exception(PATIENCE)
    assert isinstance(error, ConnectFailed)
    assert error.reason == "stopped by close()"


def test_a_dead_name_server_costs_one_thread_for_all_attempts(
    fails: Fails, slow_names: SlowNames
) -> None:
    for _ in range(3):
        assert "looking up" in fails(connector(f"ws://{HOST}:81", 0.01)).reason
    for url in ("ws://other.test:81", f"ws://{HOST}:82"):
        fails(connector(url, 0.01))
    for _ in range(3):
        assert slow_names.asked.acquire(timeout=PATIENCE)
    assert sorted(slow_names.calls) == [(HOST, 81), (HOST, 82), ("other.test", 81)]


def test_an_attempt_takes_the_answer_of_a_look_up_that_an_earlier_one_began(
    fails: Fails, slow_names: SlowNames
) -> None:
    class Looked(threading.Event):
        """Tells that it is looked at: the attempt has its look-up then."""

        def __init__(self) -> None:
            super().__init__()
            self.looks = threading.Semaphore(0)

        def is_set(self) -> bool:
            self.looks.release()
            return False

    fails(connector(f"ws://{HOST}", 0.01))
    with ThreadPoolExecutor(2) as pool:
        attempts = []
        for stopped in (Looked(), Looked()):
            attempts.append(pool.submit(connector(f"ws://{HOST}", stopped=stopped).open))
            assert stopped.looks.acquire(timeout=PATIENCE)
        slow_names.answer.set()
        errors = [attempt.exception(PATIENCE) for attempt in attempts]
    assert all("try again" in str(error) for error in errors)
    assert len(slow_names.calls) == 1


def test_after_an_answer_the_name_is_looked_up_anew(fails: Fails, slow_names: SlowNames) -> None:
    slow_names.answer.set()
    for _ in range(3):
        assert "try again" in fails(connector(f"ws://{HOST}")).reason
    assert len(slow_names.calls) == 3


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def presenting(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def talking_tls(context: ssl.SSLContext) -> Script:
    """Do the handshake as a server and read to the end."""

    def script(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            secure.sendall(b"welcome")
            drain(secure)

    return script


def first_flight(context: ssl.SSLContext, sock: socket.socket) -> bytes:
    """Return what a server answers to the first message of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(sock.recv(16_384))
    with contextlib.suppress(ssl.SSLWantReadError):
        server.do_handshake()
    return outgoing.read()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    return presenting(authority.issue_cert(HOST))


@pytest.fixture
def tls(resolve: Resolve) -> Iterator[Callable[[Script], str]]:
    """Give a function that serves a script under the host name and returns its URL."""
    with contextlib.ExitStack() as stack:

        def serve(script: Script) -> str:
            port = stack.enter_context(serving(script))
            resolve(port)
            return f"wss://{HOST}:{port}"

        yield serve


Tls = Callable[[Script], str]


def receive(sock: socket.socket, tls: StreamTls | None) -> bytes:
    link = Link(sock, tls)
    view = memoryview(bytearray(100))
    try:
        return bytes(view[: link.receive(view, time.monotonic() + PATIENCE)])
    finally:
        link.close()


def test_tls_opens_with_a_context_of_the_users(
    tls: Tls, trusting: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    sock, secure = connector(tls(talking_tls(server_context)), context=trusting).open()
    assert sock.gettimeout() == 0
    assert secure is not None
    assert receive(sock, secure) == b"welcome"


def test_tls_without_a_context_trusts_the_system_and_logs_no_keys(
    tls: Tls,
    authority: trustme.CA,
    server_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    trusted, keys = tmp_path / "authorities.pem", tmp_path / "keys"
    authority.cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    assert receive(*connector(tls(talking_tls(server_context))).open()) == b"welcome"
    assert not keys.exists() or "SECRET" not in keys.read_text()


def test_a_server_of_an_unknown_authority_is_refused(fails: Fails, tls: Tls) -> None:
    stranger = presenting(trustme.CA().issue_cert(HOST))
    error = fails(connector(tls(talking_tls(stranger))))
    assert error.host.startswith(HOST)
    assert "certificate is not valid: " in error.reason
    assert "issuer" in error.reason


def test_a_certificate_for_another_name_is_refused(
    fails: Fails, tls: Tls, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    other = presenting(authority.issue_cert("other.test"))
    error = fails(connector(tls(talking_tls(other)), context=trusting))
    assert "certificate is not valid: " in error.reason
    assert f"'{HOST}'" in error.reason


def test_an_expired_certificate_is_refused(
    fails: Fails, tls: Tls, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    expired = presenting(authority.issue_cert(HOST, not_after=yesterday))
    error = fails(connector(tls(talking_tls(expired)), context=trusting))
    assert "certificate is not valid: " in error.reason
    assert "expired" in error.reason


def test_a_server_that_knows_old_tls_only_is_refused(
    fails: Fails, tls: Tls, authority: trustme.CA, server_context: ssl.SSLContext
) -> None:
    modern = ssl.create_default_context()
    authority.configure_trust(modern)
    modern.minimum_version = ssl.TLSVersion.TLSv1_3
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2
    error = fails(connector(tls(talking_tls(server_context)), context=modern))
    assert "TLS handshake failed" in error.reason
    assert "version" in error.reason.lower()


def test_a_server_that_talks_no_tls_is_refused(
    fails: Fails, tls: Tls, trusting: ssl.SSLContext
) -> None:
    def plain(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        drain(sock)

    error = fails(connector(tls(plain), context=trusting))
    assert "TLS handshake failed" in error.reason
    assert "does the port want ws://" in error.reason


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("size", [0, 1, 5, 100, 600])
def test_a_server_that_cuts_the_tls_handshake_is_an_error(
    fails: Fails,
    tls: Tls,
    trusting: ssl.SSLContext,
    server_context: ssl.SSLContext,
    size: int,
    how: str,
) -> None:
    def cut(sock: socket.socket) -> None:
        sock.sendall(first_flight(server_context, sock)[:size])
        if how == "reset":
            reset(sock)

    error = fails(connector(tls(cut), context=trusting))
    assert error.host.startswith(HOST)
    assert "TLS handshake failed" in error.reason


@pytest.mark.parametrize("size", [0, 5, 600])
def test_a_server_that_falls_silent_in_the_tls_handshake_ends_at_the_deadline(
    fails: Fails,
    tls: Tls,
    trusting: ssl.SSLContext,
    server_context: ssl.SSLContext,
    size: int,
) -> None:
    def stall(sock: socket.socket) -> None:
        sock.sendall(first_flight(server_context, sock)[:size])
        drain(sock)

    started = time.monotonic()
    error = fails(connector(tls(stall), SHORT, context=trusting))
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE
    assert error.host.startswith(HOST)
    assert "open_timeout passed in the TLS handshake" in error.reason


def test_stopping_ends_the_tls_handshake(tls: Tls, trusting: ssl.SSLContext) -> None:
    greeted, ended, stopped = threading.Event(), threading.Event(), threading.Event()

    def stall(sock: socket.socket) -> None:
        sock.recv(16_384)
        greeted.set()
        drain(sock)
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(connector(tls(stall), context=trusting, stopped=stopped).open)
        assert greeted.wait(PATIENCE)
        stopped.set()
        error = attempt.exception(PATIENCE)
    assert isinstance(error, ConnectFailed)
    assert error.reason == "127.0.0.1: stopped by close()"
    assert ended.wait(PATIENCE)


def test_a_context_that_cannot_wrap_is_an_error(fails: Fails, tls: Tls) -> None:
    class Broken(ssl.SSLContext):
        def wrap_bio(self, *_: object, **__: object) -> ssl.SSLObject:
            raise ValueError("no cipher left")

    error = fails(connector(tls(drain), context=Broken(ssl.PROTOCOL_TLS_CLIENT)))
    assert error.reason == "127.0.0.1: TLS cannot be set up (no cipher left)"
