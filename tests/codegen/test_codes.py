"""The table of operators says what a list really takes."""

from __future__ import annotations

import pytest

from alyx.base.errors import AlyxError
from alyx.codegen import codes
from alyx.records import query
from alyx.records.limits import Limits
from alyx.schema.model import Schema


def _applies(schema: Schema, name: str, field: str, operator: str) -> bool:
    """Whether a list takes the operator for the field, whatever it then thinks of the value."""
    text = f"filter={field}:{operator}" + ("" if operator in query.NULL_OPERATORS else ":x")
    try:
        query.parse_list(schema, schema.collections[name], text, Limits())
    except AlyxError as error:
        return "does not apply" not in error.message
    return True


@pytest.mark.parametrize("name", ["users", "posts", "values", "order"])
def test_the_operators_told_for_a_field_are_those_that_a_list_takes(schema: Schema, name: str) -> None:
    collection = schema.collections[name]
    for field in collection.public:
        taken = tuple(operator for operator in codes.OPERATORS if _applies(schema, name, field.name, operator))
        assert codes.operators(field) == taken, field.name


def test_every_operator_that_a_list_reads_is_told() -> None:
    assert set(codes.OPERATORS) == query.OPERATORS
