"""Whose address a request comes from: the peer's, or what trusted proxies say of it.

Called by the edge once per request. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from alyx.base.addresses import parse
from alyx.http.message import Request


class Proxies:
    """The proxies whose X-Forwarded-For is believed."""

    def __init__(self, entries: Sequence[str]) -> None:
        networks = [ipaddress.ip_network(entry, strict=False) for entry in entries]
        self._any = bool(networks)

        @lru_cache(maxsize=4096)
        def trusted(text: str) -> bool:
            address = parse(text)
            return address is not None and any(address in network for network in networks)

        self._trusted = trusted

    def client(self, request: Request) -> str:
        """The client's address in canonical form.

        X-Forwarded-For counts only when the peer is trusted; it is read from the right, and the first address that is no trusted
        proxy is the client. What stands left of it was written by the client and is not believed. "" without a peer address.
        """
        peer = request.scope.get("client")
        address: str = peer[0] if peer else ""
        if not self._any or not self._trusted(address):
            return address
        forwarded = request.raw_header(b"x-forwarded-for")
        if forwarded is None:
            return address
        for part in reversed(forwarded.decode("latin-1").split(",")):
            hop = parse(_bare(part.strip()))
            if hop is None:
                break
            address = str(hop)
            if not self._trusted(address):
                break
        return address


def _bare(text: str) -> str:
    """Without a port, as some proxies add it: `1.2.3.4:567`, `[::1]:567`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
