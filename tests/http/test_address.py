"""Whose address counts behind proxies."""

from __future__ import annotations

import pytest

from tests.asgi import Client
from tests.http.conftest import make_edge


def ip(trusted: tuple[str, ...], peer: str | None, *forwarded: str) -> str:
    client = Client(make_edge(trusted_proxies=trusted), peer=peer)
    headers = [("X-Forwarded-For", value) for value in forwarded]
    result: str = client.get("/whoami", headers=headers).json()["ip"]
    return result


def test_forwarded_addresses_of_strangers_are_not_believed() -> None:
    assert ip((), "192.0.2.1", "10.9.9.9") == "192.0.2.1"
    assert ip(("10.0.0.0/8",), "192.0.2.1", "10.9.9.9") == "192.0.2.1"


def test_the_rightmost_address_that_is_no_proxy_is_the_client() -> None:
    trusted = ("10.0.0.0/8",)
    assert ip(trusted, "10.0.0.1", "203.0.113.7") == "203.0.113.7"
    assert ip(trusted, "10.0.0.1", "1.2.3.4, 203.0.113.7, 10.0.0.2") == "203.0.113.7"
    assert ip(trusted, "10.0.0.1", "1.2.3.4", "203.0.113.7") == "203.0.113.7"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("nonsense", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("203.0.113.7, nonsense", "10.0.0.1"),
        ("10.0.0.3", "10.0.0.3"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_odd_entries_are_read_or_end_the_trust(forwarded: str, expected: str) -> None:
    assert ip(("10.0.0.0/8",), "10.0.0.1", forwarded) == expected


def test_a_single_address_may_be_trusted() -> None:
    assert ip(("127.0.0.1",), "127.0.0.1", "203.0.113.7") == "203.0.113.7"
    assert ip(("::1",), "::1", "203.0.113.7") == "203.0.113.7"


def test_a_request_without_a_peer_has_no_address() -> None:
    assert ip(("10.0.0.0/8",), None, "203.0.113.7") == ""
