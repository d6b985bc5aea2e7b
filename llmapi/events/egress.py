"""The guard of requests to addresses that tenants name: only public ones, checked and then connected to.

A name is resolved once, every address it has is checked, and the connection goes to a checked address, under the name's
Host and TLS name: an answer of DNS that changes in between changes nothing. No redirects, no proxies, no credentials.
What the operator allows by name (`host` or `host:port`) may be plain http, private, and on any port.
"""

import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from llmapi.core.errors import BadSetting
from llmapi.core.lifetime import Lifetime

log = logging.getLogger(__name__)
Resolve = Callable[[str, int], Sequence[str]]  # (host, port) -> addresses; raises OSError

PORTS = frozenset({443, 8443})
LONGEST = 2048  # characters of a URL
TRIED = 4  # addresses of one name
CONNECT = 3.0  # seconds each of them has to accept
READ = 4096  # bytes of an answer's body
MANNERS = 1.0  # seconds that body gets: its sender may finish, but nobody waits for it
PLACE = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[a-z0-9_~!$&'()*+,;=:@/%.-]*)?(?:\?[a-z0-9_~!$&'()*+,;=:@/%.?-]*)?)",
    re.ASCII | re.IGNORECASE,
)
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # a name that ends in one is an address in disguise
PUBLIC_6 = ip_network("2000::/3")
# What `is_global` lets pass though it leads elsewhere: tunnels and translators to IPv4, protocols' own, documentation.
NOT_PUBLIC = tuple(
    ip_network(block)
    for block in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
FAILURES = (HTTPError, HTTPException, OSError, ValueError)


class EgressFailed(Exception):
    """No answer came. `word` is all a tenant may know: not_reachable, timeout, tls_failed, no_answer or ended."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class AddressRefused(EgressFailed):
    """Not an address we send to. Looks like one that is not there, so nobody maps our network by asking."""

    def __init__(self) -> None:
        super().__init__("not_reachable")


@dataclass(frozen=True, slots=True)
class Place:
    """A URL taken apart, by one reader only."""

    tls: bool
    host: str  # lower case, no brackets
    port: int
    path: str
    allowed: bool  # by the operator


@dataclass(frozen=True, slots=True)
class Answer:
    """What of an answer matters."""

    status: int
    retry_after: str | None


def system_addresses(host: str, port: int) -> Sequence[str]:
    """Return what the system's resolver says; raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Say whether an address is one host's on the public internet; raises ValueError for what is no address."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return False
        ip = ip.ipv4_mapped or ip
    if isinstance(ip, IPv6Address) and ip not in PUBLIC_6:
        return False
    odd = ip.is_multicast or ip.is_reserved or ip.is_link_local or ip.is_unspecified
    return ip.is_global and not odd and not any(ip in block for block in NOT_PUBLIC)


class Egress:
    """Sends a POST to where a tenant wants it, if that is somewhere we send to.

    allow: `host` or `host:port` where plain http, private addresses and any port are fine; raises BadSetting
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        resolve: Resolve = system_addresses,
        tls: ssl.SSLContext | None = None,
        connect: float = CONNECT,
    ) -> None:
        self._allow = frozenset(_allowed(entry) for entry in allow)
        self._resolve = resolve
        self._tls = tls
        self._connect = connect

    def allows(self, url: str) -> bool:
        """Say whether a request to `url` would be sent now; looks its name up."""
        try:
            self._addresses(self._place(url))
        except AddressRefused:
            return False
        return True

    def post(self, url: str, headers: Mapping[str, str], body: bytes, lifetime: Lifetime) -> Answer:
        """Send once and return what was answered, also a redirect; raises EgressFailed when time is up, or before."""
        place = self._place(url)
        addresses = self._addresses(place)
        plug: socket.socket | None = None
        try:
            plug = self._plugged(addresses, place.port, lifetime)
            with _cut_in_time(plug, lifetime):
                if place.tls:
                    plug = self._trusting().wrap_socket(plug, server_hostname=place.host)
                return _exchange(plug, place, {**headers, "User-Agent": "llmapi-webhooks"}, body, lifetime)
        except FAILURES as error:
            raise EgressFailed(_word(error, lifetime, connected=plug is not None)) from error
        finally:
            if plug is not None:
                plug.close()

    def _place(self, url: str) -> Place:
        found = PLACE.fullmatch(url) if len(url) <= LONGEST else None
        if found is None:
            raise AddressRefused
        tls = found["scheme"].lower() == "https"
        host = _host(found["host"].lower())
        port = int(found["port"] or (443 if tls else 80))
        allowed = not self._allow.isdisjoint({(host, port), (host, None)})
        if not 0 < port < 65_536 or not (allowed or (tls and port in PORTS)):
            raise AddressRefused
        path = found["path"]
        return Place(tls, host, port, path if path.startswith("/") else f"/{path}", allowed)

    def _addresses(self, place: Place) -> tuple[str, ...]:
        """Return where a place is; refused as a whole if a single address is not public."""
        found: tuple[str, ...]
        try:
            found = (str(ip_address(place.host)),)
        except ValueError:
            found = self._resolved(place)
        if not found or not (place.allowed or all(is_public(address) for address in found)):
            log.warning("a request to %s was refused: it is at %s", place.host, found)
            raise AddressRefused
        return found

    def _resolved(self, place: Place) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(self._resolve(place.host, place.port)))
        except (OSError, UnicodeError):
            return ()

    def _plugged(self, addresses: Sequence[str], port: int, lifetime: Lifetime) -> socket.socket:
        """Return a connection to the first of the addresses that accepts; raises OSError."""
        trouble: OSError = TimeoutError("no time is left")
        for address in addresses[:TRIED]:
            if (left := lifetime.remaining()) <= 0.0:
                break
            try:
                plug = socket.create_connection((address, port), timeout=min(left, self._connect))
            except OSError as error:
                trouble = error
                continue
            if ip_address(plug.getpeername()[0]) == ip_address(address):
                plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return plug
            plug.close()
        raise trouble

    def _trusting(self) -> ssl.SSLContext:
        if self._tls is None:
            import certifi

            context = ssl.create_default_context()
            context.load_verify_locations(certifi.where())
            self._tls = context
        return self._tls


def _exchange(
    plug: socket.socket, place: Place, headers: Mapping[str, str], body: bytes, lifetime: Lifetime
) -> Answer:
    kind = HTTPSConnection if place.tls else HTTPConnection
    connection = kind(f"[{place.host}]" if ":" in place.host else place.host, place.port)
    connection.timeout = lifetime.remaining() or 0.001
    connection.sock = plug
    try:
        connection.request("POST", place.path, body, headers, preload_content=False, decode_content=False)
        with closing(connection.getresponse()) as answer:
            if lifetime.remaining() <= 0.0:  # headers cut by us look like whole ones
                raise TimeoutError("the answer did not come in time")
            _read_a_little(plug, answer, lifetime)
            return Answer(answer.status, answer.headers.get("Retry-After"))
    finally:
        connection.close()


def _read_a_little(plug: socket.socket, answer: BaseHTTPResponse, lifetime: Lifetime) -> None:
    with suppress(*FAILURES):  # the status has come; nothing else is wanted
        plug.settimeout(min(MANNERS, lifetime.remaining() or 0.001))
        answer.read(READ)


@contextmanager
def _cut_in_time(plug: socket.socket, lifetime: Lifetime) -> Iterator[None]:
    """Shut the connection down when the lifetime is over, whatever it is doing: timeouts of sockets are for each read.

    A duplicate is kept for that, because TLS takes the socket over.
    """
    handle = plug.dup()

    def cut() -> None:
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(lifetime.remaining(), cut)
    timer.daemon = True
    timer.start()
    forget = lifetime.on_end(cut)
    try:
        yield
    finally:
        timer.cancel()
        forget()
        handle.close()


def _host(text: str) -> str:
    """Return a host name, or an address as ipaddress writes it; raises AddressRefused for what is neither."""
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        pass
    labels = text.split(".")
    if NUMBER.fullmatch(labels[-1]) or not all(LABEL.fullmatch(label) for label in labels):
        raise AddressRefused
    return text


def _allowed(entry: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", entry.strip().lower())
    try:
        if found is not None:
            return _host(found[1]), int(found[2]) if found[2] else None
    except AddressRefused:
        pass
    raise BadSetting(f"LLMAPI_WEBHOOK_ALLOW takes host or host:port, not {entry!r}")


def _word(error: BaseException, lifetime: Lifetime, *, connected: bool) -> str:
    if lifetime.ended:
        return "ended"
    if lifetime.remaining() <= 0.0 or isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ssl.SSLError):
        return "tls_failed"
    return "no_answer" if connected else "not_reachable"
