"""How many requests one address may make: a token bucket per address, in bounded memory.

Called by the edge when `limits.requests` is set. Counts in this process only; with several workers each has its own count.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from time import monotonic

from alyx.base.errors import AlyxError
from alyx.base.units import Rate
from alyx.http import address

MAX_ADDRESSES = 20_000


class AddressRate:
    """A bucket of `rate.count` tokens per address that refills evenly within `rate.seconds`.

    An IPv6 client counts by its /64, which is what one subscriber is given. At most 20,000 addresses are remembered; beyond,
    the one that was quiet longest is forgotten, which can only be too kind.
    """

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = monotonic, capacity: int = MAX_ADDRESSES) -> None:
        self._full = float(rate.count)
        self._per_second = rate.count / rate.seconds
        self._clock = clock
        self._capacity = capacity
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Take one token. Raises AlyxError RATE_LIMITED with the seconds until there is one again."""
        key = _network(client) if ":" in client else client
        now = self._clock()
        tokens, then = self._buckets.get(key, (self._full, now))
        tokens = min(self._full, tokens + (now - then) * self._per_second)
        if tokens < 1.0:
            self._keep(key, tokens, now)
            wait = math.ceil((1.0 - tokens) / self._per_second)
            raise AlyxError("RATE_LIMITED", "Too many requests from this address.", retry_after=max(1, wait))
        self._keep(key, tokens - 1.0, now)

    def _keep(self, key: str, tokens: float, now: float) -> None:
        self._buckets[key] = (tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)


def _network(client: str) -> str:
    parsed = address.parse(client)
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) else client
