"""Guards requests to addresses that users give: none reaches what they could not reach themselves.

A name is looked up once, at the moment of connecting, and the connection goes to the address that
was checked: a name whose address changes between a look and its use changes nothing.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpcore

from film.errors import InputError, LongreelError
from film.reading.values import short
from film.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in ("fec0::/10", "64:ff9b:1::/48", "::/96", "5f00::/16", "3fff::/20")
)
"""Networks that Python counts as of the internet: site-local, local NAT64, IPv4-compatible, segment
routing, documentation."""


class AddressError(LongreelError):
    """An address that is not to be asked."""


def is_open(address: Address, allowed: Sequence[Network]) -> bool:
    """True if requests may go there: to the internet, or to a network that the operator allowed."""
    if any(address in network for network in allowed if network.version == address.version):
        return True
    inner = _inner(address)
    if inner is not None:
        return is_open(inner, allowed)
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address in an IPv6 address that leads to one."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])


def require_url(url: str, allowed: Sequence[Network], field: str = "url") -> None:
    """Checks that requests may be sent to `url`. Its name is not looked up: that happens when a
    connection is made.

    Raises `InputError`, beginning with `field`, if it is not such a URL.
    """
    scheme, host = _scheme_and_host(url, field)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if scheme == "http":
            raise InputError(f"{field}: expected https://, because the name is public") from None
        return
    if not is_open(address, allowed):
        raise InputError(
            f"{field}: {host} is an address of a private network, to which this service sends no "
            f"requests; its operator may allow it with LONGREEL_ALLOWED_NETWORKS"
        )


def _scheme_and_host(url: str, field: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        good = parts.scheme in ("https", "http") and bool(host) and parts.port != 0
    except (ValueError, UnicodeError):
        good = False
    if not (good and url.isascii() and url.isprintable() and " " not in url):
        raise InputError(f"{field}: expected https://HOST/PATH, got {short(url)}")
    if parts.username or parts.password:
        raise InputError(f"{field}: a name or password in it would be readable; leave it out")
    return parts.scheme, host


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to open addresses only. Raises `AddressError`."""

    def __init__(self, allowed: Sequence[Network], until: float = math.inf) -> None:
        """`until`: when every connection is over, however slowly its data arrives, as
        `time.monotonic` counts."""
        self._allowed = allowed
        self._until = until
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address of the host that is open; see httpcore."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise httpcore.ConnectError(f"{host} is not known: {reason}") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        chosen = next((one for one in addresses if is_open(one, self._allowed)), None)
        if chosen is None:
            raise AddressError(f"{host} is in a private network, to which no requests are sent.")
        stream = self._backend.connect_tcp(
            str(chosen), port, _less(timeout, self._until), local_address, socket_options
        )
        return _TimedStream(stream, self._until)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Refuses."""
        raise AddressError("No requests are sent to sockets of this machine.")

    def sleep(self, seconds: float) -> None:
        """See httpcore."""
        self._backend.sleep(seconds)


class _TimedStream(httpcore.NetworkStream):
    """A connection that ends at a fixed time. A peer that sends a byte now and then would otherwise
    hold it for ever, because each read begins a new timeout."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _less(timeout, self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _less(timeout, self._until))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _less(timeout, self._until)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _less(timeout: float | None, until: float) -> float | None:
    """`timeout`, or what is left until then. Raises httpcore's timeout if nothing is left."""
    if until == math.inf:
        return timeout
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("The time for this request is over.")
    return left if timeout is None else min(timeout, left)
