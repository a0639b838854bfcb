"""The one place that reads the clock, so that tests can set it.

`now()` is what the server writes into records: RFC 3339, UTC, always six decimals, the only form in which a timestamp is
stored, compared or sent (contract §1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

_source: Callable[[], float] | None = None


def seconds() -> float:
    """Seconds since 1970, as set by `pin` or from the system."""
    return _source() if _source is not None else time.time()


def now() -> str:
    """This moment as `2026-03-01T08:00:00.123456Z`."""
    return at(seconds())


def at(moment: float) -> str:
    """A moment, in seconds since 1970, in the form of `now`."""
    return text(datetime.fromtimestamp(moment, UTC))


def text(moment: datetime) -> str:
    """An aware datetime in the one form of the API; converts to UTC, keeps microseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def pin(source: Callable[[], float] | None) -> None:
    """Tests only: take the time from `source`, or from the system again when None."""
    global _source
    _source = source
