"""Addresses that users give: no request of ours reaches what they could not reach themselves.

A name is looked up once, at the moment of connecting, and the connection goes to the address that
was checked: a name whose address changes between a look and its use changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpcore

from film.errors import InputError, LongreelError
from film.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressError(LongreelError):
    """An address that is not to be asked."""


def is_open(address: Address, allowed: Sequence[Network]) -> bool:
    """True if requests may go there: to the internet, or to a network that the operator allowed."""
    if any(address in network for network in allowed if network.version == address.version):
        return True
    inner = _inner(address)
    if inner is not None:
        return is_open(inner, allowed)
    return address.is_global and not address.is_multicast


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address in an IPv6 address that leads to one."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])


def require_url(url: str, allowed: Sequence[Network]) -> None:
    """Raises `InputError` for a URL that could never be asked. Its name is not looked up: that is
    done when it is asked."""
    parts = urlsplit(url)
    try:
        port_is_fine = parts.port is None or parts.port > 0
        host = parts.hostname or ""
        host.encode("idna")
    except (ValueError, UnicodeError):
        port_is_fine, host = False, ""
    if parts.scheme not in ("https", "http") or not host or not port_is_fine:
        raise InputError(f"url: expected https://HOST/PATH, got {url!r}")
    if parts.username or parts.password:
        raise InputError("url: a name or password in it would be readable; leave it out")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if parts.scheme == "http":
            raise InputError("url: expected https://, since the name is public") from None
        return
    if not is_open(address, allowed):
        raise InputError(
            f"url: {host} is an address of a private network, which this service does not ask; its "
            f"operator may allow it with LONGREEL_ALLOWED_NETWORKS"
        )


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to open addresses only. Raises `AddressError`."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore; the first address of the host that is open."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} is not known: {error.strerror}") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        chosen = next((one for one in addresses if is_open(one, self._allowed)), None)
        if chosen is None:
            raise AddressError(f"{host} is in a private network, which is not asked.")
        return self._backend.connect_tcp(str(chosen), port, timeout, local_address, socket_options)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Never."""
        raise AddressError("A socket of this machine is not asked.")

    def sleep(self, seconds: float) -> None:
        """See httpcore."""
        self._backend.sleep(seconds)
