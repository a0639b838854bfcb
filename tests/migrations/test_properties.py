"""Random schemas, edits and records: what is planned is what happens, and nothing is lost that was not named."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from alyx.base import clock
from alyx.database.migrations import Plan
from alyx.schema import convert, defaults
from alyx.schema.diff import diff
from alyx.schema.model import Field, Schema

from .conftest import World
from .schemas import Draft, drafts, edits, records

NOW = "2026-11-20T08:00:00.000000Z"
_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def often(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=_QUIET)


def randomly(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, suppress_health_check=_QUIET)


@pytest.fixture(autouse=True, scope="module")
def _pinned() -> Any:
    clock.pin(lambda: 1_795_161_600.0)
    yield
    clock.pin(None)


def structure_stands(draft: Draft) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world, schema = World(Path(folder)), draft.schema()
        assert world.migrator.apply(schema).ok
        assert world.migrator.plan(schema).empty
        assert world.migrator.drift(schema).found == ()
        assert world.migrator.drift(schema).remarks == ()
        assert not world.migrator.apply(schema).changed


def data_follows_the_model(data: st.DataObject, draft: Draft) -> None:
    old = draft.schema()
    new = data.draw(edits(draft)).schema()
    stored = data.draw(records(old))
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.migrator.apply(old)
        world.insert(old, stored)
        before, picture = world.records(old), world.picture()
        plan = world.migrator.plan(new)
        applied = world.migrator.apply(new, accept_data_loss=True)
        assert applied.ok is not plan.blocked
        if plan.blocked:
            assert world.picture() == picture
            return
        assert world.migrator.drift(new).found == ()
        assert world.migrator.plan(new).empty
        assert world.records(new) == sorted_rows(new, modelled(old, new, before))
        assert world.run("PRAGMA foreign_key_check") == []
        if applied.changed:
            world.migrator.rollback()
            assert world.records(old) == before
            assert world.migrator.drift(old).found == ()
            assert world.migrator.plan(old).empty


def there_and_back(data: st.DataObject, draft: Draft) -> None:
    old = draft.schema()
    new = data.draw(edits(draft, renames=False)).schema()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.migrator.apply(old)
        world.insert(old, data.draw(records(old)))
        before = world.records(old)
        there = world.migrator.plan(new)
        assume(not there.blocked)
        world.migrator.apply(new, accept_data_loss=True)
        back = world.migrator.plan(old)
        if back.blocked or not world.migrator.apply(old, accept_data_loss=True).ok:
            return
        after = world.records(old)
        for name, rows in before.items():
            if named(there, back, name, "id"):
                continue  # the records cannot be told apart any more
            for item in old.collections[name].fields.values():
                if name in new.collections and item.name in new.collections[name].fields:
                    compare(item, new.collections[name].fields[item.name], rows, after[name], named(there, back, name, item.name))


def named(there: Plan, back: Plan, collection: str, field: str) -> bool:
    """Whether a plan said that values of the field would not stay what they are."""
    label = f"{collection}.{field}"
    return any(
        finding.kind == "loses" and finding.field == label
        for plan in (there, back)
        for j in plan.changes
        for finding in j.findings
    )


def compare(item: Field, between: Field, before: list[dict[str, Any]], after: list[dict[str, Any]], loss_named: bool) -> None:
    assert len(before) == len(after)
    if loss_named:
        return
    for one, other in zip(before, after, strict=True):
        filled = one[item.name] is None and not between.nullable
        assert filled or convert.same(one[item.name], other[item.name])


def modelled(old: Schema, new: Schema, before: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """What the records must be after the migration, by the model's own conversion."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, collection in new.collections.items():
        was = name if name in old.collections else collection.renamed_from or ""
        rows = before.get(was, [])
        found[name] = [{key: modelled_value(old, was, item, row) for key, item in collection.fields.items()} for row in rows]
    return found


def modelled_value(old: Schema, collection: str, item: Field, row: dict[str, Any]) -> Any:
    fields = old.collections[collection].fields
    was = item.name if item.name in fields else item.renamed_from or ""
    if was not in fields:
        return defaults.maker(item, str, str)(NOW)
    value = convert.convert(fields[was], item, row[was])
    if value is None and not item.nullable:
        return defaults.maker(item, str, str)(NOW)
    return value


def sorted_rows(schema: Schema, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {name: sorted(each, key=lambda row: row[schema.collections[name].key.name]) for name, each in rows.items()}


@pytest.mark.slow
@given(drafts())
@often(60)
def test_a_schema_stands_in_the_database_as_it_was_planned_without_phantom_changes(draft: Draft) -> None:
    structure_stands(draft)


@pytest.mark.slow
@given(st.data(), drafts())
@often(60)
def test_migrated_records_are_what_the_model_says_and_a_rollback_gives_them_back(data: st.DataObject, draft: Draft) -> None:
    data_follows_the_model(data, draft)


@pytest.mark.slow
@given(st.data(), drafts())
@often(50)
def test_there_and_back_again_loses_only_what_the_plan_named(data: st.DataObject, draft: Draft) -> None:
    there_and_back(data, draft)


@given(st.data(), drafts())
@often(50)
def test_a_difference_leads_from_the_one_schema_to_the_other(data: st.DataObject, draft: Draft) -> None:
    from alyx.schema import operations

    old, new = draft.schema(), data.draw(edits(draft)).schema()
    reached = operations.evolve_all(old, [change.step for change in diff(old, new)])
    assert diff(reached, new) == []
    assert [operations.read(change.operation) for change in diff(old, new)] == [change.step for change in diff(old, new)]


@pytest.mark.torture
@given(drafts())
@randomly(500)
def test_torture_structure(draft: Draft) -> None:
    structure_stands(draft)


@pytest.mark.torture
@given(st.data(), drafts())
@randomly(1000)
def test_torture_records(data: st.DataObject, draft: Draft) -> None:
    data_follows_the_model(data, draft)


@pytest.mark.torture
@given(st.data(), drafts())
@randomly(1000)
def test_torture_there_and_back(data: st.DataObject, draft: Draft) -> None:
    there_and_back(data, draft)
