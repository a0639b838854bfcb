"""A page as rows is the page that a list shows, with what realtime must know of each row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.realtime import question
from alyx.records import order, selecting
from alyx.records.access import Access
from alyx.records.selecting import Selection

SCHEMA = """
version: 1
collections:
  users:
    fields: { id: { type: uuid, primary: true, default: auto }, name: { type: string } }
    rules: { create: "true", read: "doc.name != 'hidden'" }
  notes:
    fields:
      id: { type: int, primary: true, default: auto }
      n: { type: decimal, scale: 1, nullable: true }
      open: { type: bool, default: true }
      author: { type: relation, relation: { collection: users }, nullable: true, unchecked: true }
    rules: { create: "true", read: "doc.open" }
"""


@pytest.fixture
def notes(backend: Any) -> Any:
    api = backend(SCHEMA)
    seen, hidden = (api.post("/users", {"name": name}).json()["id"] for name in ("anna", "hidden"))
    for number, author in (("10.0", seen), ("9.5", hidden), (None, None)):
        api.post("/notes", {"n": number, "author": author})
    api.post("/notes", {"open": False})
    return api


def select(api: Any, payload: dict[str, Any], rows: int = 1000) -> Selection:
    asked = question.parse(api.schema, {"collection": "notes"} | payload, api.limits)
    prepared = api.records.planner.prepare_list(asked.collection, asked.asked)
    access = Access(Identity({"id": "u", "role": "user"}))
    found: Selection = api._runner.run(api.engine.read(lambda: selecting.select(api.records.planner, prepared, access, rows)))
    return found


def test_a_selection_holds_the_documents_of_the_list_in_its_order(notes: Any) -> None:
    for payload, text in (({}, ""), ({"sort": "-n", "expand": "author"}, "sort=-n&expand=author"), ({"fields": "n"}, "fields=n")):
        found = select(notes, payload)
        shown = notes.list(f"/notes?{text}")["docs"]
        assert [json.loads(each) for each in found.texts] == shown
        assert found.keys == [doc["id"] for doc in shown]
        assert found.more is False


def test_more_says_that_there_is_a_row_beyond_the_limit(notes: Any) -> None:
    assert (select(notes, {"limit": 2}).keys, select(notes, {"limit": 2}).more) == ([1, 2], True)
    assert (select(notes, {"limit": 3}).keys, select(notes, {"limit": 3}).more) == ([1, 2, 3], False)


def test_the_sort_values_of_a_row_stand_where_its_document_stands(notes: Any) -> None:
    asked = question.parse(notes.schema, {"collection": "notes", "sort": ["-n"]}, notes.limits).asked
    found = select(notes, {"sort": ["-n"]})
    position, place = order.position(asked.sort), order.place(asked.sort)
    assert found.sorts == [(100, 1), (95, 2), (None, 3)]
    assert position is not None
    assert [place(row) for row in found.sorts] == [position(json.loads(text)) for text in found.texts]


def test_links_lead_to_expansions_also_where_the_target_may_not_be_read(notes: Any) -> None:
    found = select(notes, {"expand": ["author"]})
    assert [len(link) for link in found.links] == [1, 1, 1]
    assert [link[0] for link in found.links] == [json.loads(text)["author"] for text in found.texts]
    assert ["author" in json.loads(text)["expand"] for text in found.texts] == [True, False, False]
    assert select(notes, {}).links == [(), (), ()]


def test_an_expand_that_brings_too_much_is_refused(notes: Any) -> None:
    with pytest.raises(AlyxError) as refused:
        select(notes, {"expand": "author"}, rows=0)
    assert refused.value.code == "INVALID_QUERY"


def test_a_selection_is_as_light_as_its_list(notes: Any) -> None:
    def light(payload: dict[str, Any]) -> bool:
        asked = question.parse(notes.schema, {"collection": "notes"} | payload, notes.limits)
        prepared = notes.records.planner.prepare_list(asked.collection, asked.asked)
        page: bool = notes.records.planner.plan_list(prepared, Access())[0].page.light
        return page

    assert light({"limit": 100, "filter": {"$or": [{"n": "1"}, {"open": True}]}})
    assert not light({"limit": 101})
    assert not light({"limit": 10, "filter": {"$not": {"author": {"$like": "a%"}}}})
