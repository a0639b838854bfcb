"""Values through a change of type: one definition for plans, migrations and tests."""

from __future__ import annotations

from typing import Any

import pytest

from alyx.database import tables
from alyx.database.migrations.values import Passage
from alyx.schema import convert, richtext
from alyx.schema.model import Field, Type


def field(kind: str, **more: Any) -> Field:
    return Field("f", Type(kind), **more)


TAGS = ("a", "b", "7")


@pytest.mark.parametrize(
    ("old", "new", "value", "expected"),
    [
        (field("int"), field("string"), 2**63 - 1, "9223372036854775807"),
        (field("string"), field("int"), "-12", -12),
        (field("string"), field("float"), "1e3", 1000.0),
        (field("string"), field("bool"), "true", True),
        (field("int"), field("bool"), 0, False),
        (field("bool"), field("string"), True, "true"),
        (field("bool"), field("int"), True, 1),
        (field("float"), field("string"), 0.1, "0.1"),
        (field("float"), field("int"), 2.5, 2),
        (field("float"), field("int"), 3.5, 4),
        (field("int"), field("decimal", scale=2), -7, "-7.00"),
        (field("decimal", scale=3), field("decimal", scale=1), "-0.049", "0.0"),
        (field("decimal", scale=1), field("decimal", scale=3), "1.5", "1.500"),
        (field("decimal", scale=2), field("int"), "2.50", 2),
        (field("string"), field("decimal", scale=2), "3", "3.00"),
        (field("timestamp"), field("date"), "2026-03-01T08:00:00.000001Z", "2026-03-01"),
        (field("date"), field("timestamp"), "2026-03-01", "2026-03-01T00:00:00.000000Z"),
        (field("string"), field("timestamp"), "2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00.000000Z"),
        (field("string"), field("uuid"), "0190C2D1-5B1E-7C3A-9F00-0123456789AB", "0190c2d1-5b1e-7c3a-9f00-0123456789ab"),
        (field("string"), field("select", select_values=TAGS), "b", "b"),
        (field("select", select_values=TAGS), field("select", select_values=TAGS, max_select=2), "a", ["a"]),
        (field("select", select_values=TAGS, max_select=2), field("select", select_values=TAGS), ["b", "a"], "b"),
        (field("select", select_values=TAGS, max_select=2), field("select", select_values=TAGS), [], None),
        (field("select", select_values=TAGS, max_select=2), field("json"), ["b"], ["b"]),
        (field("json"), field("string"), {"a": 1}, '{"a":1}'),
        (field("json"), field("int"), 5, 5),
        (field("json"), field("int"), "5", 5),
        (field("string"), field("json"), "x", "x"),
        (field("uuid"), field("int"), "0190c2d1-5b1e-7c3a-9f00-0123456789ab", None),
        (field("string"), field("blob"), "AAE=", "AAE="),
    ],
)
def test_a_value_becomes_what_it_should(old: Field, new: Field, value: Any, expected: Any) -> None:
    assert convert.same(convert.convert(old, new, value), expected)
    assert convert.convert(old, new, None) is None


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        (field("string"), field("int"), "1.5"),
        (field("string"), field("int"), "9223372036854775808"),
        (field("string"), field("int"), " 1"),
        (field("string"), field("float"), "nan"),
        (field("string"), field("float"), "1_000"),
        (field("int"), field("float"), 2**53 + 1),
        (field("int"), field("decimal", scale=2), 2**62),
        (field("string"), field("bool"), "yes"),
        (field("string"), field("date"), "2026-02-30"),
        (field("string"), field("timestamp"), "2026-03-01T10:00:00"),
        (field("string"), field("email"), "nobody"),
        (field("string"), field("select", select_values=TAGS), "z"),
        (field("int"), field("bool"), 2),
        (field("json"), field("int"), [1]),
        (field("string"), field("blob"), "%"),
        (field("float"), field("int"), 1e300),
    ],
)
def test_a_value_without_counterpart_is_refused(old: Field, new: Field, value: Any) -> None:
    with pytest.raises(convert.Unconvertible):
        convert.convert(old, new, value)


def test_text_that_becomes_richtext_is_cleaned() -> None:
    new = field("richtext", richtext=richtext.resolve("minimal", (), ()))
    cleaned = convert.convert(field("text"), new, "<script>alert(1)</script><b>x</b><u>y</u>")
    assert cleaned == "<b>x</b>y"


@pytest.mark.parametrize(
    ("old", "new", "value", "lost"),
    [
        (field("string"), field("int"), "007", True),
        (field("string"), field("int"), "7", False),
        (field("float"), field("int"), 1.0, False),
        (field("float"), field("int"), 1.5, True),
        (field("json"), field("string"), True, True),
        (field("timestamp"), field("date"), "2026-03-01T00:00:00.000000Z", False),
        (field("decimal", scale=2), field("float"), "0.10", False),
    ],
)
def test_what_cannot_be_had_back_counts_as_lost(old: Field, new: Field, value: Any, lost: bool) -> None:
    assert Passage(old, new, "2026-11-20T10:00:00.000000Z").loses(tables.stored(old, value)) is lost
