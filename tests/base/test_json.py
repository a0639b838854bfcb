"""Strict JSON: what is refused at the door, and that the rest comes through unchanged."""

from __future__ import annotations

import json as standard
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alyx.base import json


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nul",
        b'{"a":1,}',
        b'{"a":1 "b":2}',
        b'{"a":1,"a":2}',
        b'[{"x":{"a":1,"a":1}}]',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e400",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"1" * 5000,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[" * 100_000,
    ],
)
def test_what_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(json.InvalidJSON) as caught:
        json.parse(text)
    assert len(str(caught.value)) < 100


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    assert json.parse(b'["' + b"[{" * 100 + b'\\"[[["]') == ["[{" * 100 + '"[[[']


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=20,
    )
)
def test_every_json_value_comes_through_unchanged(value: Any) -> None:
    assert json.parse(standard.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), max_depth=64) == value
