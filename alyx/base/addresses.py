"""Network addresses of clients as text: canonical form, and whom to count them for. Pure."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(text: str) -> Address | None:
    """An address, IPv4-mapped IPv6 as IPv4; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def subscriber(text: str) -> str:
    """A key for whom an address belongs to: an IPv4 address, or the /64 of an IPv6 one, which is what a subscriber is given.

    What is no address is its own key.
    """
    if ":" not in text:
        return text
    address = parse(text)
    if isinstance(address, ipaddress.IPv6Address):
        return f"{int(address) >> 64:x}::/64"
    return text if address is None else str(address)


def is_local(text: str) -> bool:
    """Whether it is of this very machine; so is "", which a Unix socket has."""
    address = parse(text)
    return address.is_loopback if address is not None else not text
