"""Durations, sizes and rates as people write them in alyx.yaml and on the command line (contract §2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,6})?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,15})\s?([KMG]?)(?:i?B)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` times in `seconds`, as in `200/s` or `1000/m`."""

    count: int
    seconds: float


def duration(value: Any) -> float:
    """`30s`, `15m`, `168h`, `7d`, `20ms` or `1h30m` -> seconds. Raises ValueError; a bare number has no unit and is refused."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(value))
    hint = f"; did you mean `{value}s`?" if isinstance(value, int) and not isinstance(value, bool) else ""
    raise ValueError(f"a duration such as `30s`, `15m`, `168h` or `7d` is needed{hint}")


def size(value: Any) -> int:
    """`10MB`, `32KB`, `1GB` (powers of 1024) or a plain number -> bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) << 10 * " KMG".index(match[2].upper() or " ")
    raise ValueError("a size such as `10MB` or a number of bytes is needed")


def rate(text: str) -> Rate | None:
    """`off` -> None, `200/s`, `1000/m`, `5/10s` -> Rate. Raises ValueError with a sentence for anything else."""
    if text.strip().lower() == "off":
        return None
    count, slash, period = text.replace(" ", "").partition("/")
    number = period[:-1] or "1"
    known = slash == "/" and count.isascii() and count.isdigit() and period[-1:] in ("s", "m", "h")
    if not known or not (number.isascii() and number.isdigit()) or int(count) < 1 or int(number) < 1:
        raise ValueError(f"{text!r} is not a rate; write `off`, `200/s`, `1000/m` or `5/10s`")
    return Rate(int(count), int(number) * _SECONDS[period[-1]])
