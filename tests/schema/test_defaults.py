"""What a record gets in a field that has no value."""

from __future__ import annotations

from typing import Any

import pytest

from alyx.schema import defaults, model
from alyx.schema.model import Field, Type

NOW = "2026-11-20T10:00:00.000000Z"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Field("f", Type.STRING), None),
        (Field("f", Type.STRING, default="x"), "x"),
        (Field("f", Type.STRING, default=None, nullable=True), None),
        (Field("f", Type.TIMESTAMP, default=model.NOW), NOW),
        (Field("f", Type.DATE, default=model.NOW), "2026-11-20"),
        (Field("f", Type.RELATION, default=model.NOW, target_type=Type.DATE), "2026-11-20"),
        (Field("f", Type.TIMESTAMP, on_update_now=True), NOW),
        (Field("f", Type.TIMESTAMP, on_update_now=True, nullable=True), None),
        (Field("f", Type.UUID, default=model.AUTO, primary=True), "a uuid"),
        (Field("f", Type.ID, default=model.AUTO, primary=True), "an id"),
        (Field("f", Type.INT, default=model.AUTO, primary=True), None),
        (Field("f", Type.STRING, default="auto"), "auto"),
    ],
)
def test_a_missing_value_is_the_default_the_moment_a_new_id_or_nothing(field: Field, value: Any) -> None:
    assert defaults.maker(field, lambda: "a uuid", lambda: "an id")(NOW) == value


def test_no_two_records_share_a_list_or_map() -> None:
    make = defaults.maker(Field("f", Type.JSON, default={"a": []}), str, str)
    one = make(NOW)
    one["a"].append(1)
    assert make(NOW) == {"a": []}
