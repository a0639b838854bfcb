"""Timestamps and durations: reading, writing, arithmetic and calendar parts, in whole microseconds.

CEL counts nanoseconds; Alyx stores microseconds (contract §1), so what is finer is refused rather than rounded.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from alyx.base.json import INT_MAX
from alyx.rules.values import Beyond, Duration, Fault, Timestamp

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1
"""0001-01-01 and the last microsecond of 9999, since 1970."""
LONGEST = 315_576_000_000 * SECOND
"""The longest duration, ten thousand years: google.protobuf.Duration."""

_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_SPAN = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|us|µs|ns|m|s))+|[+-]?0", re.ASCII)
_PART = re.compile(r"(\d*)(?:\.(\d*))?(h|ms|us|µs|ns|m|s)", re.ASCII)
_UNITS = {"h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}


def read(text: str) -> Timestamp:
    """RFC 3339 -> the one form. Raises Fault, or Beyond for more than six digits."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise Fault("not an RFC 3339 timestamp")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction = (match[7] or "").ljust(9, "0")
    if fraction[6:] != "000":
        raise Beyond("a timestamp has at most six digits after the second")
    try:
        moment = datetime(year, month, day, hour, minute, second, int(fraction[:6]), UTC)
    except ValueError:
        raise Fault("no such moment") from None
    shift = (int(match[9]) * 60 + int(match[10])) * 60 * SECOND if match[8] else 0
    return write(micros_of(moment) - (shift if match[8] == "+" else -shift))


def micros_of(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    span = moment - EPOCH
    return (span.days * 86_400 + span.seconds) * SECOND + span.microseconds


def micros(text: str) -> int:
    """Microseconds since 1970 of a timestamp in the one form."""
    return micros_of(datetime.fromisoformat(text))


def write(value: int) -> Timestamp:
    """Microseconds since 1970 -> the one form; a Fault outside the years 0001-9999."""
    if not FIRST <= value <= LAST:
        raise Fault("timestamp out of range")
    moment = EPOCH + timedelta(microseconds=value)
    return Timestamp(moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z")


def span(text: str) -> Duration:
    """`1h30m`, `-1.5s` -> microseconds. Raises Fault, or Beyond where it is finer than a microsecond."""
    if _SPAN.fullmatch(text) is None:
        raise Fault("not a duration")
    total = 0
    for whole, fraction, unit in _PART.findall(text):
        digits = (fraction or "")[:18]
        part = _UNITS[unit] * int(digits or "0")
        if part % 10 ** len(digits):
            raise Beyond("a duration has whole microseconds")
        total += _UNITS[unit] * int(whole or "0") + part // 10 ** len(digits)
    if total % 1000:
        raise Beyond("a duration has whole microseconds")
    return in_range(-(total // 1000) if text[0] == "-" else total // 1000)


def in_range(value: int) -> Duration:
    """A duration, if it is not too long."""
    if -LONGEST <= value <= LONGEST:
        return Duration(value)
    raise Fault("duration out of range")


def span_text(value: int) -> str:
    """A duration as CEL prints it: seconds, with no decimals, three, or six."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    fraction = f"{value % SECOND:06}"
    return f"{sign}{value // SECOND}" + ("" if fraction == "000000" else "." + fraction.removesuffix("000")) + "s"


def difference(left: str, right: str) -> Duration:
    """left - right; a Fault beyond 292 years, where CEL's nanoseconds leave 64 bit."""
    value = micros(left) - micros(right)
    if abs(value) > INT_MAX // 1000:
        raise Fault("duration out of range")
    return Duration(value)


def plain(text: str) -> str:
    """A timestamp as CEL prints it: no decimals, three, or six."""
    fraction = text[20:26]
    return text[:19] + ("" if fraction == "000000" else "." + fraction.removesuffix("000")) + "Z"
