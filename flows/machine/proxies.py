"""Proxies in the environment: none leads to this machine, and some cannot be used at all."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import MutableMapping

logger = logging.getLogger(__name__)

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_NO_PROXY = ("no_proxy", "NO_PROXY")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def bypass_for_this_machine(environment: MutableMapping[str, str] = os.environ) -> None:
    """Has this process and its children reach the servers of this machine directly.

    A SOCKS proxy is left out if the package for it is missing: HTTP clients would fail for every
    address, also for those that need no proxy.
    """
    chosen = [name for name in environment if name.lower() in _PROXIES and environment[name]]
    if not chosen:
        return
    for name in chosen:
        if environment[name].lower().startswith("socks") and not _knows_socks():
            logger.warning("%s is not used: the Python package socksio is not installed", name)
            del environment[name]
    listed = [environment[name] for name in _NO_PROXY if environment.get(name)]
    # Libraries read the one or the other, and the lower-case one first.
    hosts = list(dict.fromkeys(part.strip() for text in listed for part in text.split(",")))
    if "*" not in hosts:
        hosts += [host for host in THIS_MACHINE if host not in hosts]
    for name in _NO_PROXY:
        environment[name] = ",".join(filter(None, hosts))


def _knows_socks() -> bool:
    return importlib.util.find_spec("socksio") is not None
