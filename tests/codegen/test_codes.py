"""The tables of codes and operators say what the server really does."""

from __future__ import annotations

from alyx.codegen import codes
from alyx.http import status
from alyx.records import query


def test_every_code_has_the_status_that_http_gives_it() -> None:
    assert {name: status.STATUS[name] for name in codes.ERRORS} == {name: found for name, (found, _) in codes.ERRORS.items()}


def test_the_operators_are_those_that_records_read() -> None:
    assert set(codes.OPERATORS) == set(query.OPERATORS)
