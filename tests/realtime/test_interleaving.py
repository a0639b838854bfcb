"""What happens while the database is asked is not lost, whatever it is and whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alyx.database.work import Overloaded
from tests.realtime.stage import Gate, Stage
from tests.realtime.test_live import SCHEMA

TEAM, OTHER = "t" * 15, "u" * 15


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(SCHEMA, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("question", [{"sort": "id", "limit": 10}, {}, {"sort": "-views", "limit": 2}])
def test_a_change_during_the_first_snapshot_is_told(stage: Stage, question: dict[str, Any]) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", [{"id": number, "title": "t", "status": "published"} for number in range(1, 4)])
        gate = Gate(stage, hold=["snapshot"])
        person = stage.person()
        person.say("subscribe", collection="posts", **question)
        await gate.reached.wait()
        await stage.write("DELETE", "/posts/3")
        await stage.write("PATCH", "/posts/1", {"views": 5})
        await stage.live._pump.reached(await stage.seq())
        gate.release()
        await person.line.until(lambda: len(person.line.messages) > 1)
        sub = person.line.messages[1]["payload"]["subscription_id"]
        await person.until(sub, lambda view: set(view) == {1, 2} and view[1]["views"] == 5)

    stage.run(story)


def test_an_expanded_record_that_changes_during_the_first_snapshot_is_told(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/teams", {"id": TEAM, "name": "old"})
        member = await stage.write("POST", "/members", {"team": TEAM, "user": "ann"})
        gate = Gate(stage, hold=["snapshot"])
        person = stage.person()
        person.say("subscribe", collection="members", expand="team")
        await gate.reached.wait()
        await stage.write("PATCH", f"/teams/{TEAM}", {"name": "new"})
        await stage.live._pump.reached(await stage.seq())
        gate.release()
        await person.line.until(lambda: len(person.line.messages) > 1)
        sub = person.line.messages[1]["payload"]["subscription_id"]
        await person.until(sub, lambda view: view[member["id"]]["expand"]["team"]["name"] == "new")

    stage.run(story)


def test_what_may_no_longer_be_seen_goes_also_if_that_came_during_the_first_snapshot(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/teams", [{"id": TEAM, "name": "one"}, {"id": OTHER, "name": "two"}])
        await stage.write("POST", "/members", {"team": TEAM, "user": "ann"})
        await stage.write("POST", "/notes", {"id": 1, "team": TEAM, "text": "secret"})
        gate = Gate(stage, hold=["snapshot"])
        ann = stage.person("ann")
        ann.say("subscribe", collection="notes")
        await gate.reached.wait()
        await stage.write("PATCH", "/notes/1", {"team": OTHER}, user="ann")
        await stage.live._pump.reached(await stage.seq())
        gate.release()
        await ann.line.until(lambda: len(ann.line.messages) > 1)
        await ann.until(ann.line.messages[1]["payload"]["subscription_id"], lambda view: not view)

    stage.run(story)


@pytest.mark.parametrize("work", ["audience", "stored", "snapshot"])
def test_a_database_that_cannot_answer_for_a_moment_loses_no_change(stage: Stage, work: str) -> None:
    async def story() -> None:
        await stage.write("POST", "/teams", {"id": TEAM, "name": "one"})
        await stage.write("POST", "/members", {"team": TEAM, "user": "ann"})
        ann = stage.person("ann")
        sub, posts = await ann.subscribe("notes"), await ann.subscribe("posts")
        Gate(stage, fail={work: [Overloaded("too many slow reads wait")]})
        await stage.write("POST", "/notes", {"id": 1, "team": TEAM, "text": "one"})
        await stage.write("POST", "/posts", {"id": 1, "title": "t", "status": "published", "body": "x" * 5000})
        await stage.write("POST", "/notes", {"id": 2, "team": TEAM, "text": "two"})
        await ann.until(sub, lambda view: set(view) == {1, 2})
        await ann.until(posts, lambda view: set(view) == {1})

    stage.run(story)


def test_a_fault_while_asking_anew_ends_the_subscription_in_the_open(stage: Stage) -> None:
    async def story() -> None:
        reader = stage.person()
        sub = await reader.subscribe("posts", sort="id", limit=5)
        Gate(stage, fail={"snapshot": [RuntimeError("a fault of ours")]})
        await stage.write("POST", "/posts", {"id": 1, "title": "t", "status": "published"})
        await reader.line.until(lambda: reader.line.messages[-1]["type"] == "error")
        assert reader.line.messages[-1]["payload"]["subscription_id"] == sub
        again = await reader.subscribe("posts", sort="id", limit=5)
        assert set(reader.shown(again)) == {1}

    stage.run(story)


def test_who_joins_a_set_that_has_just_grown_too_large_is_answered(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", [{"id": number, "title": "t", "status": "published"} for number in range(1000)])
        first = stage.person()
        await first.subscribe("posts")
        gate = Gate(stage, hold=["snapshot"])
        late = stage.person()
        asked = late.say("subscribe", collection="posts")
        await gate.reached.wait()
        await stage.write("POST", "/posts", {"id": 5000, "title": "t", "status": "published"})
        await first.line.until(lambda: first.line.messages[-1]["type"] == "error")
        gate.release()
        await late.line.until(lambda: any(each.get("id") == asked for each in late.line.messages))

    stage.run(story)


def test_nothing_is_sent_by_former_rights_once_a_client_is_somebody_else(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person("ann")
        subs = [
            await person.subscribe("posts"),
            await person.subscribe("posts", sort="id", limit=5),
            await person.subscribe("posts", where="doc.id > 0"),
        ]
        gate = Gate(stage, hold=["both", "snapshot"])
        asked = person.say("auth", token=None)
        await gate.reached.wait()
        await stage.write("POST", "/posts", {"id": 1, "title": "a draft", "author": "ann"})
        await stage.write("POST", "/posts", {"id": 2, "title": "open", "status": "published"})
        await stage.live._pump.reached(await stage.seq())
        gate.release()
        for sub in subs:
            await person.until(sub, lambda view: set(view) == {2})
        said = [each.get("id") for each in person.line.messages].index(asked)
        assert "a draft" not in str(person.line.messages[said:])

    stage.run(story)


def test_signing_in_as_oneself_holds_nothing_up(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person("ann")
        sub, window = await person.subscribe("posts"), await person.subscribe("posts", sort="id", limit=5)
        for number in range(1, 4):
            person.say("auth", token=stage.token("ann", ttl=60 + number))
            await stage.write("POST", "/posts", {"id": number, "title": "a draft", "author": "ann"})
        await person.until(sub, lambda view: set(view) == {1, 2, 3})
        await person.until(window, lambda view: set(view) == {1, 2, 3})

    stage.run(story)


def test_another_schema_while_a_snapshot_is_told_is_told_too(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", {"id": 1, "title": "t", "status": "published"})
        person = stage.person()
        window = await person.subscribe("posts", sort="id", limit=5)
        gate = Gate(stage, hold=["snapshot"])
        asked = person.say("subscribe", collection="posts", sort="id", limit=5)
        await gate.reached.wait()
        stage.serve(SCHEMA.replace("doc.status == 'published' ||", "true ||"))
        gate.release()
        await stage.write("POST", "/posts", {"id": 2, "title": "a draft", "author": "x"})
        await person.line.until(lambda: any(each.get("id") == asked for each in person.line.messages))
        other = next(each for each in person.line.messages if each.get("id") == asked)["payload"]["subscription_id"]
        await person.until(window, lambda view: set(view) == {1, 2})
        await person.until(other, lambda view: set(view) == {1, 2})

    stage.run(story)


def test_a_moment_that_is_none_stops_nothing(stage: Stage) -> None:
    async def story() -> None:
        reader = stage.person()
        sub = await reader.subscribe("planned")
        await stage.outside("INSERT INTO planned (id, at) VALUES (1, '2999-99-99')")
        await stage.write("POST", "/planned", {"id": 2, "at": "2020-01-01T00:00:00Z"})
        await reader.until(sub, lambda view: set(view) == {2})

    stage.run(story)


def test_a_record_that_was_read_ahead_of_its_changes_is_not_resumed_behind_them(stage: Stage) -> None:
    async def story() -> None:
        reader = stage.person()
        sub = await reader.subscribe("posts")
        gate = Gate(stage, before=["stored"])
        await stage.write("POST", "/posts", {"id": 1, "title": "t", "author": "ann", "body": "x" * 5000})
        await gate.reached.wait()
        await stage.write("PATCH", "/posts/1", {"status": "published"}, user="ann")
        gate.release()
        await reader.until(sub, lambda view: set(view) == {1})
        cursors = [each["payload"]["cursor"] for each in reader.line.messages if each["type"] == "delta"]
        reader.session.lost()
        await stage.write("PATCH", "/posts/1", {"status": "draft"}, user="ann")
        for cursor in cursors:
            again = stage.person()
            answer = await again.ask("subscribe", collection="posts", since=cursor)
            resumed = answer["payload"]["subscription_id"]
            if answer["type"] == "resumed":
                again.views[resumed] = {1: {"id": 1}}
            await again.until(resumed, lambda view: not view)

    stage.run(story)


def test_a_large_internal_value_is_judged_as_what_it_is(stage: Stage) -> None:
    async def story() -> None:
        reader = stage.person()
        sub = await reader.subscribe("sealed")
        await stage.outside("INSERT INTO sealed (id, seal) VALUES (1, ?)", "open " + "x" * 5000)
        await stage.outside("INSERT INTO sealed (id, seal) VALUES (2, ?)", "shut " + "x" * 5000)
        await reader.until(sub, lambda view: set(view) == {1})
        await stage.outside("UPDATE sealed SET seal = ? WHERE id = 1", "shut " + "y" * 5000)
        await reader.until(sub, lambda view: not view)

    stage.run(story)
