"""Servers of this machine are reached without the proxies of the environment."""

from __future__ import annotations

import pytest

from flows.machine import proxies
from flows.machine.proxies import bypass_for_this_machine

HERE = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "Http_Proxy"])
def test_this_machine_is_reached_directly(name: str) -> None:
    environment = {name: "http://proxy:3128"}
    bypass_for_this_machine(environment)
    assert environment == {name: "http://proxy:3128", "no_proxy": HERE, "NO_PROXY": HERE}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"no_proxy": "localhost"}, HERE),
        ({"NO_PROXY": "example.org, .lan"}, f"example.org,.lan,{HERE}"),
        ({"no_proxy": "a", "NO_PROXY": "b,a"}, f"a,b,{HERE}"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_other_exceptions_stay(given: dict[str, str], expected: str) -> None:
    environment = {"http_proxy": "http://proxy:3128", **given}
    bypass_for_this_machine(environment)
    assert (environment["no_proxy"], environment["NO_PROXY"]) == (expected, expected)
    bypass_for_this_machine(environment)
    assert environment["no_proxy"] == expected, "a child process finds it done"


def test_without_a_proxy_nothing_is_changed() -> None:
    environment = {"PATH": "/bin", "http_proxy": ""}
    bypass_for_this_machine(environment)
    assert environment == {"PATH": "/bin", "http_proxy": ""}


@pytest.mark.parametrize("known", [True, False])
def test_a_socks_proxy_is_used_only_if_it_can_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, known: bool
) -> None:
    monkeypatch.setattr(proxies, "_knows_socks", lambda: known)
    environment = {"ALL_PROXY": "socks5://proxy:1080", "https_proxy": "http://proxy:3128"}
    bypass_for_this_machine(environment)
    assert ("ALL_PROXY" in environment) is known
    assert environment["https_proxy"] == "http://proxy:3128"
    assert ("ALL_PROXY is not used" in caplog.text) is not known
