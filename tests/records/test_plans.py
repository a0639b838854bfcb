"""SQLite's own plans: the rules of the example schemas and the usual lists are found through indexes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from alyx.base.identity import ANONYMOUS, Identity
from alyx.records import query
from alyx.records.access import Access
from alyx.records.limits import Limits
from tests.backend import Backend

ROOT = Path(__file__).parents[2]
EXAMPLES = [ROOT / "schema.yaml", *sorted((ROOT / "alyx/cli/templates").glob("*/schema.yaml"))]
USER = Identity({"id": "0192d3a4-1111-7222-8333-444455556666", "role": "user", "email": "a@example.com", "verified": True})
CALLERS = {"anonymous": ANONYMOUS, "user": USER}


def plan_of(api: Backend, collection: str, text: str, identity: Identity) -> list[str]:
    """The lines of the query plan of a list's page."""
    planner = api.records.planner
    asked = query.parse_list(api.schema, api.schema.collections[collection], text, Limits())
    prepared = planner.prepare_list(api.schema.collections[collection], asked)
    plan, values = planner.plan_list(prepared, Access(identity))
    statement = plan.page.bind(values)
    connection = api.engine._loop_reader._connection  # type: ignore[union-attr]  # started by the fixture
    return [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement.sql, statement.params)]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_rule_looks_into_other_collections_by_an_index(backend: Any, example: Path, caller: str) -> None:
    api = backend(example.read_text())
    for collection in api.schema.collections:
        lines = plan_of(api, collection, "", CALLERS[caller])
        aliases = {match[1] for line in lines if (match := re.match(r"(?:SCAN|SEARCH) (\S+)", line))}
        inner = [line for line in lines if re.match(r"SCAN (?!CONSTANT)", line) and f"SCAN {collection}" not in line]
        assert not inner, (collection, lines, aliases)
        assert not any("AUTOMATIC" in line for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "filter=author_id:eq:0192d3a4-1111-7222-8333-444455556666&sort=-created_at",
        "filter=status:eq:published&sort=-created_at&limit=20",
        "filter=author_id:in:0192d3a4-1111-7222-8333-444455556666",
        "filter=id:gt:0192d3a4-1111-7222-8333-444455556666",
    ],
)
def test_a_filter_on_an_indexed_field_is_a_search(backend: Any, text: str) -> None:
    api = backend((ROOT / "schema.yaml").read_text())
    lines = plan_of(api, "posts", text, USER)
    assert any(line.startswith("SEARCH posts") for line in lines), lines
    assert not any(line.startswith("SCAN posts") for line in lines), lines


def test_an_order_that_an_index_gives_needs_no_sorting(backend: Any) -> None:
    api = backend((ROOT / "schema.yaml").read_text())
    lines = plan_of(api, "posts", "filter=status:eq:published&sort=-created_at", USER)
    assert not any("TEMP B-TREE" in line for line in lines), lines
