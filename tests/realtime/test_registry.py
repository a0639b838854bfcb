"""The views that a change may concern are found without asking each of them, and none is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alyx.database.feed import Change
from alyx.realtime import question
from alyx.realtime.images import Image
from alyx.realtime.registry import Registry
from alyx.realtime.views import View
from alyx.records.access import Access
from alyx.rules.audience import Audience
from tests.realtime.stage import Stage
from tests.realtime.test_live import SCHEMA

VALUES = st.sampled_from([0, 1, 2])
STATUS = st.sampled_from(["draft", "published"])
FILTERS = st.one_of(
    st.just({}),
    st.builds(lambda value: {"views": value}, VALUES),
    st.builds(lambda value: {"status": value}, STATUS),
    st.builds(lambda value, other: {"views": value, "status": other}, VALUES, STATUS),
    st.builds(lambda values: {"views": {"$in": values}}, st.lists(VALUES, max_size=3)),
    st.builds(lambda value: {"views": {"$gt": value}}, VALUES),
    st.builds(lambda one, two: {"$or": [{"views": one}, {"views": two}]}, VALUES, VALUES),
    st.builds(lambda one, two: {"$or": [{"views": one}, {"status": two}]}, VALUES, STATUS),
    st.builds(lambda value: {"$not": {"views": value}}, VALUES),
)
DOCS = st.builds(
    lambda views, status: {"id": 1, "title": "t", "status": status, "author": None, "views": views, "body": None}, VALUES, STATUS
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Stage(SCHEMA, Path(tmp_path_factory.mktemp("registry")))
    yield made
    made.close()


def _view(stage: Stage, number: int, asked: dict[str, Any]) -> View:
    planner = stage.records.planner
    found = question.parse(planner.schema, {"collection": "posts", "filter": asked}, stage.limits)
    prepared = planner.prepare_list(found.collection, found.asked)
    return View((number,), found, prepared, (), (Audience(()),), (), ())


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(FILTERS, max_size=12), st.none() | DOCS, DOCS, st.sets(st.integers(0, 11)))
def test_every_view_that_a_change_means_something_to_is_found(
    stage: Stage, filters: list[dict[str, Any]], old: dict[str, Any] | None, new: dict[str, Any], gone: set[int]
) -> None:
    registry, views = Registry(), [_view(stage, number, asked) for number, asked in enumerate(filters)]
    for view in views:
        registry.add(view)
    for number in gone & set(range(len(views))):
        registry.remove(views[number])
    before = json.dumps(old) if old is not None else None
    change = Change(1, "posts", "insert" if old is None else "update", "1", before, json.dumps(new), None, None, 0, 0)
    image = Image(change, "id")
    found = list(registry.find(image))
    assert len(found) == len(set(found))
    standing = [view for number, view in enumerate(views) if number not in gone]
    assert set(found) <= set(standing)
    assert {view for view in standing if view.judge(image) is not None} <= set(found)


def test_a_thousand_filters_by_value_cost_a_change_only_its_own(stage: Stage) -> None:
    registry = Registry()
    for number in range(1000):
        registry.add(_view(stage, number, {"views": number}))
    new = {"id": 1, "title": "t", "status": "draft", "author": None, "views": 7, "body": None}
    image = Image(Change(1, "posts", "insert", "1", None, json.dumps(new), None, None, 0, 0), "id")
    assert [view.key for view in registry.find(image)] == [(7,)]


def test_a_registry_without_views_remembers_nothing(stage: Stage) -> None:
    registry = Registry()
    view = _view(stage, 1, {"views": 1})
    registry.add(view)
    assert registry.concerns("posts")
    registry.remove(view)
    registry.remove(view)
    assert not registry.concerns("posts")
    assert not registry.views


def test_access_of_a_later_moment_has_the_same_rights() -> None:
    first = Access(ip="192.0.2.1")
    assert first.request()["ip"] == first.again().request()["ip"]
