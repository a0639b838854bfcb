"""Addresses are counted for those to whom they were given."""

from __future__ import annotations

import pytest

from alyx.base.addresses import is_local, subscriber


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("no:address", "no:other", False),
        ("", "192.0.2.1", False),
    ],
)
def test_a_subscriber_is_an_ipv4_address_or_a_64_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (subscriber(one) == subscriber(other)) is same


def test_this_machine_has_loopback_addresses_or_none() -> None:
    assert all(map(is_local, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "")))
    assert not any(map(is_local, ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "proxy")))
