"""Live queries keep their promise: snapshot and stream without a gap, in order, and only what the caller may see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.realtime.stage import Stage, text

SCHEMA = """
version: 1
collections:
  posts:
    fields:
      id: { type: int, primary: true }
      title: { type: string, maxLength: 200 }
      status: { type: select, select: { values: [draft, published] }, default: draft }
      author: { type: string, nullable: true, maxLength: 50 }
      views: { type: int, default: 0 }
      body: { type: text, nullable: true }
    rules:
      create: "true"
      read: "doc.status == 'published' || auth.id == doc.author"
      update: "true"
      delete: "true"
  teams:
    fields:
      id: { type: id, primary: true }
      name: { type: string, maxLength: 50 }
    rules: { create: "true", read: "true", update: "true", delete: "true" }
  members:
    fields:
      id: { type: id, primary: true, default: auto }
      team: { type: relation, relation: { collection: teams, onDelete: cascade } }
      user: { type: string, maxLength: 50 }
    rules: { create: "true", read: "true", update: "true", delete: "true" }
  notes:
    fields:
      id: { type: int, primary: true }
      team: { type: relation, relation: { collection: teams, onDelete: cascade } }
      text: { type: string, maxLength: 100 }
    rules:
      create: "true"
      read: "collections.members.exists(m, m.team == doc.team && m.user == auth.id)"
      update: "true"
      delete: "true"
  sealed:
    fields:
      id: { type: int, primary: true }
      seal: { type: text, internal: true, nullable: true }
    rules: { create: "true", read: "doc.seal.startsWith('open')", update: "true", delete: "true" }
  odd:
    fields:
      id: { type: int, primary: true }
      meta: { type: json, nullable: true }
    rules: { create: "true", read: "true", update: "true", delete: "true" }
  planned:
    fields:
      id: { type: int, primary: true }
      at: { type: timestamp }
    rules: { create: "true", read: "doc.at <= request.time", update: "true", delete: "true" }
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(SCHEMA, tmp_path)
    yield made
    made.close()


def test_a_snapshot_is_followed_by_what_changes(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", {"id": 1, "title": "a", "status": "published"})
        reader = stage.person()
        sub = await reader.subscribe("posts")
        assert set(reader.shown(sub)) == {1}
        await stage.write("POST", "/posts", {"id": 2, "title": "b", "status": "published"})
        await reader.until(sub, lambda view: set(view) == {1, 2})
        await stage.write("PATCH", "/posts/1", {"title": "c"})
        await reader.until(sub, lambda view: view[1]["title"] == "c")
        await stage.write("DELETE", "/posts/2")
        await reader.until(sub, lambda view: set(view) == {1})
        assert list(reader.shown(sub).values()) == await stage.listed("/posts")

    stage.run(story)


def test_a_draft_is_told_to_its_author_alone(stage: Stage) -> None:
    async def story() -> None:
        people = {name: stage.person(name) for name in ("ann", "bob")} | {None: stage.person()}
        subs = {name: await person.subscribe("posts") for name, person in people.items()}
        await stage.write("POST", "/posts", {"id": 1, "title": "draft", "author": "ann"})
        await stage.write("POST", "/posts", {"id": 2, "title": "open", "status": "published"})
        for name, person in people.items():
            await person.until(subs[name], lambda view: 2 in view)
        assert set(people["ann"].shown(subs["ann"])) == {1, 2}
        assert set(people["bob"].shown(subs["bob"])) == set(people[None].shown(subs[None])) == {2}
        await stage.write("PATCH", "/posts/2", {"status": "draft", "author": "bob"})
        await people["ann"].until(subs["ann"], lambda view: set(view) == {1})
        await people[None].until(subs[None], lambda view: not view)
        assert set(people["bob"].shown(subs["bob"])) == {2}
        assert "open" not in str([m for m in people[None].line.messages if "delete" in str(m)])

    stage.run(story)


def test_a_window_stays_true_as_rows_enter_and_leave(stage: Stage) -> None:
    async def story() -> None:
        for number in range(10):
            await stage.write("POST", "/posts", {"id": number, "title": "t", "status": "published", "views": number})
        reader = stage.person()
        sub = await reader.subscribe("posts", sort="-views", limit=3)
        assert set(reader.shown(sub)) == {9, 8, 7}
        await stage.write("PATCH", "/posts/0", {"views": 100})
        await reader.until(sub, lambda view: set(view) == {0, 9, 8})
        await stage.write("DELETE", "/posts/9")
        await reader.until(sub, lambda view: set(view) == {0, 8, 7})
        await stage.write("PATCH", "/posts/8", {"views": -1})
        await reader.until(sub, lambda view: set(view) == {0, 7, 6})

    stage.run(story)


def test_a_membership_opens_and_closes_what_it_guards(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/teams", {"id": "t" * 15, "name": "one"})
        await stage.write("POST", "/teams", {"id": "u" * 15, "name": "two"})
        await stage.write("POST", "/notes", {"id": 1, "team": "t" * 15, "text": "secret"})
        ann, bob = stage.person("ann"), stage.person("bob")
        sub, other = await ann.subscribe("notes"), await bob.subscribe("notes")
        assert not ann.shown(sub)
        member = await stage.write("POST", "/members", {"team": "t" * 15, "user": "ann"})
        await ann.until(sub, lambda view: set(view) == {1})
        await stage.write("POST", "/notes", {"id": 2, "team": "t" * 15, "text": "more"})
        await ann.until(sub, lambda view: set(view) == {1, 2})
        await stage.write("PATCH", "/notes/2", {"team": "u" * 15}, user="ann")
        await ann.until(sub, lambda view: set(view) == {1})
        await stage.write("DELETE", f"/members/{member['id']}")
        await ann.until(sub, lambda view: not view)
        assert not [each for each in bob.line.messages if each["type"] == "delta"]
        assert not bob.shown(other)

    stage.run(story)


def test_signing_in_and_out_sends_the_difference(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", {"id": 1, "title": "mine", "author": "ann"})
        await stage.write("POST", "/posts", {"id": 2, "title": "open", "status": "published"})
        person = stage.person()
        sub = await person.subscribe("posts")
        window = await person.subscribe("posts", sort="id", limit=5)
        assert set(person.shown(sub)) == set(person.shown(window)) == {2}
        assert (await person.ask("auth", token=stage.token("ann")))["payload"] == {"user_id": "ann"}
        await person.until(sub, lambda view: set(view) == {1, 2})
        await person.until(window, lambda view: set(view) == {1, 2})
        refused = await person.ask("auth", token="nonsense")
        assert refused["payload"]["code"] == "UNAUTHORIZED"
        assert set(person.shown(sub)) == {1, 2}
        await person.ask("auth", token=None)
        await person.until(sub, lambda view: set(view) == {2})
        await person.until(window, lambda view: set(view) == {2})

    stage.run(story)


@pytest.mark.parametrize("question", [{}, {"filter": {"views": {"$gte": 5}}}, {"where": "doc.views > 3"}])
def test_a_token_brings_what_was_missed_and_nothing_else(stage: Stage, question: dict[str, Any]) -> None:
    async def story() -> None:
        for number in range(10):
            await stage.write("POST", "/posts", {"id": number, "title": "t", "status": "published", "views": number})
        first = stage.person()
        sub = await first.subscribe("posts", **question)
        seen = dict(first.shown(sub))
        cursor = first.cursors[sub]
        first.session.lost()
        await stage.write("PATCH", "/posts/9", {"views": 1})
        await stage.write("PATCH", "/posts/1", {"views": 50})
        await stage.write("DELETE", "/posts/7")
        await stage.write("POST", "/posts", {"id": 20, "title": "new", "status": "published", "views": 7})
        await stage.write("POST", "/posts", {"id": 21, "title": "gone", "status": "published", "views": 7})
        await stage.write("DELETE", "/posts/21")
        again = stage.person()
        answer = await again.ask("subscribe", collection="posts", since=cursor, **question)
        assert answer["type"] == "resumed"
        resumed = answer["payload"]["subscription_id"]
        again.views[resumed] = seen
        wanted = {doc["id"]: doc for doc in await stage.listed("/posts") if doc["id"] in {20, 1, 8, 6, 5, 4, 0, 2, 3, 9}}
        keep = {"{}": lambda d: True, "f": lambda d: d["views"] >= 5, "w": lambda d: d["views"] > 3}
        test = keep["{}" if not question else "f" if "filter" in question else "w"]
        await again.until(resumed, lambda view: view == {key: doc for key, doc in wanted.items() if test(doc)})
        assert "gone" not in str(again.line.messages)

    stage.run(story)


def test_large_values_are_read_from_the_table(stage: Stage) -> None:
    async def story() -> None:
        reader = stage.person()
        sub = await reader.subscribe("posts")
        await stage.write("POST", "/posts", {"id": 1, "title": "long", "status": "published", "body": "x" * 10_000})
        await reader.until(sub, lambda view: 1 in view)
        assert reader.shown(sub)[1]["body"] == "x" * 10_000
        await stage.write("PATCH", "/posts/1", {"body": "y" * 9_000})
        await reader.until(sub, lambda view: view[1]["body"] == "y" * 9_000)
        await stage.write("PATCH", "/posts/1", {"status": "draft"})
        await reader.until(sub, lambda view: not view)

    stage.run(story)


def test_an_event_stream_tells_the_same(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", {"id": 1, "title": "a", "status": "published"})
        line, stream = await stage.stream("posts", "filter=views:gte:0")
        await stage.write("POST", "/posts", {"id": 2, "title": "b", "status": "published"})
        await line.until(lambda: len(line.messages) == 2)
        assert [each["type"] for each in line.messages] == ["snapshot", "delta"]
        stream.lost()
        await stage.write("POST", "/posts", {"id": 3, "title": "c", "status": "published"})
        again, _ = await stage.stream("posts", "filter=views:gte:0", since=line.messages[-1]["cursor"])
        await again.until(lambda: len(again.messages) == 2)
        assert [each["type"] for each in again.messages] == ["resumed", "delta"]
        assert [doc["id"] for doc in again.messages[1]["payload"]["changes"]["inserts"]] == [3]

    stage.run(story)


def test_time_alone_opens_what_a_rule_holds_back_until_a_moment(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/planned", {"id": 0, "at": text(stage.moment() + 0.05)})
        reader = stage.person()
        sub, window = await reader.subscribe("planned"), await reader.subscribe("planned", sort="-at", limit=1)
        await stage.write("POST", "/planned", {"id": 1, "at": text(stage.moment() + 0.06)})
        await stage.write("POST", "/planned", {"id": 2, "at": text(stage.moment() + 3600)})
        stage.tick(1)
        await reader.until(sub, lambda view: set(view) == {0, 1})
        await reader.until(window, lambda view: set(view) == {1})

    stage.run(story)


def test_time_alone_changes_what_is_shown_though_nobody_writes(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/planned", {"id": 0, "at": text(stage.moment() + 0.05)})
        reader = stage.person()
        sub, window = await reader.subscribe("planned"), await reader.subscribe("planned", sort="-at", limit=1)
        assert not reader.shown(sub)
        stage.tick(1)
        await reader.until(sub, lambda view: set(view) == {0})
        await reader.until(window, lambda view: set(view) == {0})

    stage.run(story)


def test_a_line_break_in_the_json_of_another_program_ends_no_event(stage: Stage) -> None:
    async def story() -> None:
        line, _ = await stage.stream("odd")
        await stage.outside("INSERT INTO odd (id, meta) VALUES (1, ?)", '{"a":1,\n\n"b":\r\n2}')
        await line.until(lambda: len(line.messages) == 2)
        assert line.messages[1]["payload"]["changes"]["inserts"] == [{"id": 1, "meta": {"a": 1, "b": 2}}]

    stage.run(story)
