"""Calendar parts of a moment in a time zone, as CEL names them; shared by rules and by SQLite's function for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

_OFFSET = re.compile(r"([+-]?)(\d\d?):(\d\d)", re.ASCII)


class UnknownZone(ValueError):
    """No time zone has this name."""


def zone(name: str) -> tzinfo:
    """A time zone: an IANA name, `UTC`, or an offset such as `+02:00`. Raises UnknownZone."""
    match = _OFFSET.fullmatch(name)
    if match:
        hours, minutes = int(match[2]), int(match[3])
        if hours > 23 or minutes > 59:
            raise UnknownZone(name)
        span = timedelta(hours=hours, minutes=minutes)
        return timezone(-span if match[1] == "-" else span)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise UnknownZone(name) from None


def part(text: str, name: str, where: str = "UTC") -> int:
    """One calendar part (`getFullYear`, `getHours`, ...) of a timestamp, as seen in a time zone.

    text: a timestamp in the one form of the API. Raises UnknownZone.
    """
    moment = datetime.fromisoformat(text)
    years = 0
    if where != "UTC":
        area = zone(where)
        # The calendar repeats every 400 years, which keeps local times of the years 1 and 9999 inside what datetime holds.
        years = 400 if moment.year == 1 else -400 if moment.year == 9999 else 0
        moment = moment.replace(year=moment.year + years).astimezone(area)
    return _PARTS[name](moment) - (years if name == "getFullYear" else 0)


_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
    "getMilliseconds": lambda moment: moment.microsecond // 1000,
}
PARTS = tuple(_PARTS)
