"""How many requests one address may make: a token bucket per address, in bounded memory.

Called by the edge when `limits.requests` is set. Counts in this process only; with several workers each has its own count.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from alyx.base.addresses import subscriber
from alyx.base.bucket import Bucket
from alyx.base.errors import AlyxError
from alyx.base.units import Rate

MAX_ADDRESSES = 20_000


class AddressRate:
    """A bucket of `rate.count` tokens per address that refills evenly within `rate.seconds`.

    An IPv6 client counts by its /64, which is what one subscriber is given. At most 20,000 addresses are remembered; beyond,
    the one that was quiet longest is forgotten, which can only be too kind.
    """

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = monotonic, capacity: int = MAX_ADDRESSES) -> None:
        self._most = float(rate.count)
        self._per_second = rate.count / rate.seconds
        self._clock = clock
        self._capacity = capacity
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, client: str) -> None:
        """Take one token. Raises AlyxError RATE_LIMITED with the seconds until there is one again."""
        key = subscriber(client)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self._per_second, self._most)
            if len(self._buckets) > self._capacity:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        if not bucket.take(self._clock()):
            wait = max(1, math.ceil(bucket.wait()))
            raise AlyxError("RATE_LIMITED", "Too many requests from this address.", retry_after=wait)
