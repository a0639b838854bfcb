"""How much somebody may do: so much at once, and then as much as comes back with time.

Used for the requests of an address, the messages and frames of a connection, and what a connection is told. Pure; the caller says
what time it is.
"""

from __future__ import annotations


class Bucket:
    """Holds `most` units at first, and gains `per_second` while it holds fewer. left: what it holds, as of the last `take`."""

    __slots__ = ("_most", "_per_second", "_then", "left")

    def __init__(self, per_second: float, most: float) -> None:
        self.left = most
        self._most = most
        self._per_second = per_second
        self._then = 0.0

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take `amount` units if there is at least one; whether there was. now: seconds, of a clock that is never set back.

        More than there are may be taken, and must come back before anything can be taken again.
        """
        left = self.left + (now - self._then) * self._per_second
        self._then = now
        if left > self._most:
            left = self._most
        if left < 1.0:
            self.left = left
            return False
        self.left = left - amount
        return True

    def wait(self) -> float:
        """Seconds from the last `take` until there is a unit again."""
        return max(0.0, (1.0 - self.left) / self._per_second)
