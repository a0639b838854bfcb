"""The forms of text that fields hold: each function takes a text and gives the API's canonical form, or raises ValueError.

Used by the validation of values, by filters, CSV and rules' literals. The sentence in a ValueError is for the user and never
quotes the text. The patterns here are fixed, anchored and without nested repetition, so the standard library's engine runs them
in linear time; what a user wrote as a pattern goes through RE2 (`pattern`), and so does e-mail.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from datetime import date as _date
from typing import Any

import re2

from alyx.base.json import INT_MAX, INT_MIN

MAX_PATTERN = 1_000
"""The longest `pattern` in bytes."""

_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.([0-9]{1,9}))?(?:[Zz]|([+-](?:[01][0-9]|2[0-3]):[0-5][0-9]))"
).fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_ID = re.compile(r"[a-zA-Z0-9]{15}").fullmatch
_DECIMAL = re.compile(r"(-?)([0-9]{1,100})(?:\.([0-9]{1,100}))?").fullmatch
_INTEGER = re.compile(r"-?[0-9]{1,30}").fullmatch
_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][-+]?[0-9]{1,4})?").fullmatch
_HOST = r"(?:[^\s\x00-\x20\x7f/?#@:\[\]<>\"\\^`{|}%.]+\.)*[^\s\x00-\x20\x7f/?#@:\[\]<>\"\\^`{|}%.]+\.?|\[[0-9a-fA-F:.]{2,45}\]"
_URL = re.compile(
    rf"[hH][tT][tT][pP][sS]?://(?:[^\s\x00-\x20\x7f/?#@<>\"\\]*@)?({_HOST})(?::([0-9]{{1,5}}))?(?:[/?#][^\s\x00-\x20\x7f<>\"\\]*)?"
).fullmatch


class OutOfRange(ValueError):
    """A number that is well formed and too large (`above`) or too small."""

    def __init__(self, message: str, *, above: bool) -> None:
        super().__init__(message)
        self.above = above


def pattern(source: str) -> Callable[[str], bool]:
    """Compile a RE2 pattern to a test that searches anywhere in a text. Raises ValueError with RE2's own reason."""
    if len(source.encode()) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN} bytes")
    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(source, options).search
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None
    return lambda text: search(text) is not None


_is_email = pattern(
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$"
)


def email(text: str) -> str:
    """An address in the form of the HTML living standard's `input type=email`; local part 64, whole 320 characters at most."""
    if len(text) > 320 or not _is_email(text):
        raise ValueError("must be an e-mail address")
    return text


def url(text: str) -> str:
    """An absolute http or https address with a host, as written."""
    match = _URL(text)
    if match is None or int(match[2] or 0) > 65535:
        raise ValueError("must be an absolute http or https address")
    return text


def uuid(text: str) -> str:
    """A uuid of the 8-4-4-4-12 form, in lower case."""
    if not _UUID(text):
        raise ValueError("must be a uuid of the form 8-4-4-4-12")
    return text.lower()


def record_id(text: str) -> str:
    """A record id: 15 letters and digits, case kept."""
    if not _ID(text):
        raise ValueError("must be an id of 15 letters and digits")
    return text


def date(text: str) -> str:
    """A calendar day `YYYY-MM-DD`, years 0001-9999."""
    if _DATE(text):
        try:
            _date.fromisoformat(text)
        except ValueError:
            pass
        else:
            return text
    raise ValueError("must be a date YYYY-MM-DD")


def timestamp(text: str, *, digits: int = 9) -> str:
    """A moment (RFC 3339, offset required) in UTC with six decimals: `2026-03-01T08:00:00.123456Z`.

    digits: how many decimals of a second are taken; those beyond six are cut. Years are 0001-9999 after conversion to UTC;
    `24:00` and leap seconds are refused.
    """
    match = _TIMESTAMP(text)
    if match is None:
        raise ValueError("must be a timestamp such as 2026-03-01T08:00:00Z, with an offset")
    day, clock, fraction, offset = match.groups("")
    if len(fraction) > digits:
        raise ValueError(f"must have at most {digits} decimals of a second")
    try:
        if not offset:
            _date.fromisoformat(day)
            return f"{day}T{clock}.{fraction[:6]:0<6}Z"
        moment = datetime.fromisoformat(f"{day}T{clock}.{fraction[:6]:0<6}{offset}").astimezone(UTC)
        return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    except (ValueError, OverflowError):
        raise ValueError("must be an existing moment in the years 0001-9999 (UTC)") from None


def decimal(value: str | int | float, scale: int) -> str:
    """A decimal with exactly `scale` decimals, never `-0`. Takes text such as `-12.50`, an int, or a float that is exact.

    Decimals beyond the scale must be zeros. Raises OutOfRange if it does not fit a 64-bit integer once scaled by 10^scale.
    """
    if isinstance(value, float):
        # A double holds any number of 15 digits faithfully; of a longer one nobody can tell what was written.
        value = f"{value:.15g}" if float(f"{value:.15g}") == value else ""
        value = _expand(value)
    elif isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise OutOfRange("must fit 64 bit", above=value > 0)
        value = str(value)
    match = _DECIMAL(value)
    if match is None:
        raise ValueError("must be a decimal number, best written as a string such as '12.50'")
    sign, whole, fraction = match[1], match[2], match[3] or ""
    if fraction[scale:].strip("0"):
        raise ValueError(f"must have at most {scale} decimals")
    digits = int(whole + f"{fraction[:scale]:0<{scale}}")
    number = -digits if sign else digits
    if not INT_MIN <= number <= INT_MAX:
        raise OutOfRange(f"must fit 64 bit when scaled by 10^{scale}", above=number > 0)
    return scaled(number, scale)


def scaled(number: int, scale: int) -> str:
    """The canonical decimal text of `number` / 10^scale."""
    text = f"{abs(number):0{scale + 1}d}"
    sign = "-" if number < 0 else ""
    return f"{sign}{text[:-scale]}.{text[-scale:]}" if scale else sign + text


def unscaled(text: str) -> int:
    """The integer behind a canonical decimal text: `-10.50` -> -1050. Decimals of one scale compare as these do."""
    return int(text.replace(".", ""))


def _expand(text: str) -> str:
    """Write a float's text out without an exponent; `1e+20` -> 100000000000000000000."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    power = int(exponent)
    if power >= 0:
        fraction = fraction.ljust(power, "0")
        return f"{sign}{whole}{fraction[:power]}" + (f".{fraction[power:]}" if fraction[power:] else "")
    digits = whole.rjust(-power + 1, "0")
    return f"{sign}{digits[: len(digits) + power]}.{digits[len(digits) + power :]}{fraction}"


def integer(text: str) -> int:
    """A whole number in decimal digits. Raises OutOfRange beyond 64 bit."""
    if not _INTEGER(text):
        raise ValueError("must be a whole number")
    number = int(text)
    if not INT_MIN <= number <= INT_MAX:
        raise OutOfRange("must fit 64 bit", above=number > 0)
    return number


def number(text: str) -> float:
    """A finite number."""
    value = float(text) if _NUMBER(text) else float("inf")
    if value in (float("inf"), float("-inf")):
        raise ValueError("must be a number")
    return value


def blob(text: str) -> str:
    """Base64 in the standard alphabet, padded, without whitespace: the one text of its bytes."""
    try:
        if base64.b64encode(base64.b64decode(text, validate=True)).decode() == text:
            return text
    except ValueError:
        pass
    raise ValueError("must be base64 (standard alphabet, padded)")


def is_storable(text: str) -> bool:
    """Whether both engines can keep a text: no NUL, no lone surrogate (hard-parts §1.5)."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def describe_length(count: int, unit: str = "character") -> str:
    """`1 character`, `5 characters`."""
    return f"{count} {unit}{'' if count == 1 else 's'}"


FORMS: dict[str, Callable[[str], Any]] = {"email": email, "url": url, "uuid": uuid}
"""The values of `validate.format`."""
