"""The fast path never takes what the slow one refuses, and gives the same values; cleaning and forms are stable."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alyx.base.errors import AlyxError
from alyx.schema import richtext, text
from alyx.schema.readers import reader
from alyx.schema.values import Validator
from tests.schema.test_values import ALL, TAKEN, UUID

CHECK = Validator(ALL)
NAMES = [*ALL.fields, "nope"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.integers(-10, 10),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.text(st.sampled_from('ab"\\\0\u00e9\ud800\U0001f600<>&/'), max_size=6),
    st.sampled_from(
        ["a", "aa", "abc", "2026-03-01T08:00:00Z", "2026-03-01", UUID, UUID.upper(), "a@b.org", "https://a.b", "AA==", "1.5"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3) | st.just("$inc"), inner, max_size=3)
    ),
    max_leaves=6,
)
GOOD = st.sampled_from([(name, value) for name, value, _ in TAKEN])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON texts: mostly of known fields, with good and bad values, all kinds of escapes, and now and then a key twice."""
    pairs = draw(st.lists(GOOD | st.tuples(st.sampled_from(NAMES), VALUES), max_size=5))
    if draw(st.booleans()):
        pairs = list(dict(pairs).items())
    pairs = [("need", "abc"), *pairs] if draw(st.booleans()) else pairs
    ascii_only = draw(st.booleans())
    members = [
        _key(draw, name) + draw(st.sampled_from([":", " : "])) + json.dumps(value, ensure_ascii=ascii_only)
        for name, value in pairs
    ]
    return ("{" + ",".join(members) + "}").encode("utf-8", "surrogatepass")


def _key(draw: st.DrawFn, name: str) -> str:
    return '"' + (f"\\u{ord(name[0]):04x}{name[1:]}" if draw(st.integers(0, 9)) == 0 else name) + '"'


def outcome(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except AlyxError as error:
        return error.code, error.details


@settings(max_examples=400, deadline=None, derandomize=True)
@given(bodies())
def test_the_fast_path_takes_only_what_the_slow_path_takes_and_as_the_same_values(body: bytes) -> None:
    for decoder, slow in (
        (CHECK._create, CHECK.check_create),
        (CHECK._patch, CHECK.check_patch),
        (CHECK._replace, CHECK.check_replace),
    ):
        fast = CHECK._fast(decoder, body)
        if fast is not None:
            expected = outcome(lambda slow=slow: slow(CHECK._parse(body)))
            assert repr(fast) == repr(expected)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(bodies(), max_size=3))
def test_many_records_are_judged_as_one_by_one(records: list[bytes]) -> None:
    fast = CHECK._fast(CHECK._create_all, b"[" + b",".join(records) + b"]")
    if fast is not None:
        assert repr(fast) == repr([outcome(CHECK.create, record) for record in records])


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, _ in TAKEN])
def test_a_good_body_without_odd_escapes_takes_the_fast_path(name: str, value: Any) -> None:
    body = json.dumps({"need": "abc", name: value}, ensure_ascii=False).encode()
    # Backslashes and integers that only a double can hold are left to the slow path.
    if b"\\\\" not in body:
        assert CHECK._fast(CHECK._patch, body) is not None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(bodies())
def test_what_a_record_was_kept_as_is_taken_again_unchanged(body: bytes) -> None:
    kept = outcome(CHECK.create, body)
    if isinstance(kept, dict):
        assert CHECK.create(json.dumps(kept).encode()) == kept


MARKUP = st.lists(
    st.sampled_from(
        [
            "<b>",
            "</b>",
            "<p>",
            "</p>",
            "<a href='/x?a=1&b=2'>",
            "</a>",
            "<ul>",
            "<li>",
            "</ul>",
            "<pre>",
            "</pre>",
            "<h1>",
            "</h1>",
            "<br>",
            "<script>",
            "</script>",
            "<img src=x onerror=alert(1)>",
            "<svg/onload=x>",
            "<!--",
            "-->",
            "<b a='",
            '"',
            "'",
            ">",
            "<",
            "&lt;",
            "&",
            "\n",
            " ",
            "x",
            "y",
            "<a href=javascript:x>",
            "<a href='java\nscript:x'>",
            "<style>",
            "</style>",
            "<table><td>",
            "<blockquote>",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MARKUP)
def test_cleaned_text_holds_allowed_tags_only_and_cleaning_it_again_changes_nothing(markup: str) -> None:
    tags = richtext.resolve("full", (), ())
    clean = richtext.cleaner(tags)
    once = clean(markup)
    assert clean(once) == once
    found = [part.split(">")[0] for part in once.split("<")[1:]]
    assert all(tag.lstrip("/").split(" ")[0] in tags for tag in found)
    assert all(" " not in tag or tag.startswith('a href="') for tag in found)
    assert "script:" not in once.lower().replace("\n", "")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 18))
def test_a_decimal_s_text_is_exact_both_ways(number: int, scale: int) -> None:
    written = text.scaled(number, scale)
    assert text.unscaled(written) == number
    assert text.decimal(written, scale) == written


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.datetimes(), st.integers(-23 * 60, 23 * 60))
def test_a_timestamp_of_any_offset_is_the_same_moment_in_utc(moment: Any, minutes: int) -> None:
    from datetime import UTC, datetime, timedelta, timezone

    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    try:
        expected = local.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="0001-9999"):
            text.timestamp(local.isoformat())
        return
    canonical = text.timestamp(local.isoformat())
    assert len(canonical) == 27
    assert datetime.fromisoformat(canonical) == expected


def test_every_public_field_has_a_reader() -> None:
    assert all(callable(reader(field)) for field in ALL.public)
