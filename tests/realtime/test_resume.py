"""What a resume token is good for: exactly what was missed, or a snapshot that says that it starts over. Never silence."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.realtime.follower import Follower
from tests.realtime.remote import Http, Server, Socket, Stream, token, until

pytestmark = pytest.mark.slow

ADMIN = token("harness00000000", "admin")
SCHEMA = """\
version: 1
collections:
  notes:
    fields:
      id: { type: id, primary: true, default: auto }
      title: { type: string }
      owner_id: { type: string, nullable: true }
      team_id: { type: string, default: "red" }
    rules: { read: "doc.owner_id == null || auth.id == doc.owner_id" }
  shared:
    fields:
      id: { type: id, primary: true, default: auto }
      title: { type: string }
      team_id: { type: string, default: "red" }
    rules: { read: "collections.members.exists(m, m.team_id == doc.team_id && m.user_id == auth.id)" }
  roled:
    fields:
      id: { type: id, primary: true, default: auto }
      title: { type: string }
    rules: { read: "auth.role == 'editor' || doc.title == 'public'" }
  members:
    fields:
      id: { type: id, primary: true, default: auto }
      team_id: { type: string }
      user_id: { type: string }
  other:
    fields:
      id: { type: id, primary: true, default: auto }
      title: { type: string }
    rules: { read: "true" }
"""
ALL = {"collection": "notes"}
_TITLE = "      title: { type: string }\n      owner_id"
WITH_EXTRA = SCHEMA.replace(_TITLE, f"      extra: {{ type: int, default: 3 }}\n{_TITLE}")


class Stage:
    """A server with a few records, and one client of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = Http(server.port)
        self.socket = Socket(server.port)
        self.made = 0

    async def put(self, collection: str, key: str, **fields: Any) -> None:
        status, answer = await self.http.call(
            "PUT", f"/api/collections/{collection}/{key}?upsert=true", fields, token=ADMIN, admin=True
        )
        assert status in (200, 201), answer

    async def delete(self, collection: str, key: str) -> None:
        status, answer = await self.http.call("DELETE", f"/api/collections/{collection}/{key}", token=ADMIN, admin=True)
        assert status == 204, answer

    async def visit(
        self, payload: dict[str, Any], since: str | None = None, signed: str | None = None, known: Follower | None = None
    ) -> Follower:
        """Connect, subscribe, read the answer. The connection stays open."""
        await self.socket.connect(signed)
        follower = known or Follower(sort=tuple(payload.get("sort", "").split(",")) if payload.get("sort") else ())
        follower.limit = payload.get("limit")
        await self.socket.subscribe(follower, payload | ({"since": since} if since is not None else {}))
        return follower

    async def leave(self) -> None:
        await self.socket.drop()

    async def token(self, payload: dict[str, Any], signed: str | None = None) -> str:
        """A cursor of a question."""
        follower = await self.visit(payload, signed=signed)
        await self.leave()
        assert follower.ended is None, follower.ended
        return follower.cursor

    async def is_reset(self, payload: dict[str, Any], since: str, signed: str | None = None) -> Follower:
        """Whether the answer is a snapshot marked as a reset, and the follower then what the list gives."""
        follower = await self.visit(payload, since, signed)
        await self.leave()
        assert [each.kind for each in follower.received] == ["snapshot"], follower.received
        assert follower.received[0].payload.get("reset") is True, follower.received
        assert not follower.faults, follower.faults
        status, answer = await self.http.call("GET", f"/api/collections/{payload['collection']}?limit=1000", token=signed)
        assert status == 200
        if set(payload) == {"collection"}:
            assert follower.list() == answer["docs"]
        return follower

    def restart(self, schema: str | None = None) -> None:
        assert self.server.stop() == 0
        self.http.close()
        if schema is not None:
            self.server.write_schema(schema)
        self.server.start()


@pytest.fixture
def play(tmp_path: Path):
    """Run a story with a fresh server that has three notes."""

    def run(story: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
        server = Server(tmp_path, SCHEMA, **options)

        async def whole() -> None:
            stage = Stage(server)
            for number in range(3):
                await stage.put("notes", f"n{number:014d}", title=f"note {number}")
            await story(stage)
            await stage.leave()
            stage.http.close()

        try:
            server.start()
            asyncio.run(whole())
            assert not server.complaints()
        finally:
            server.end()

    return run


def test_a_good_token_brings_exactly_what_was_missed(play):
    async def story(stage: Stage) -> None:
        follower = await stage.visit(ALL)
        await stage.leave()
        await stage.put("notes", "n00000000000000", title="changed")
        await stage.delete("notes", "n00000000000001")
        await stage.put("notes", "n00000000000009", title="new")
        await stage.put("notes", "n00000000000008", title="not seen", owner_id="somebody")
        await stage.put("notes", "n00000000000007", title="came")
        await stage.delete("notes", "n00000000000007")
        await stage.put("other", "o00000000000001", title="of no concern")
        await stage.visit(ALL, follower.cursor, known=follower)
        await until(lambda: len(follower.docs) == 3 and "n00000000000009" in follower.docs, "what was missed")
        kinds = [each.kind for each in follower.received]
        assert kinds[:2] == ["snapshot", "resumed"]
        assert set(kinds[2:]) == {"delta"}
        assert [each["title"] for each in follower.list()] == ["changed", "note 2", "new"]
        seen = {doc["id"] for each in follower.received[2:] for docs in list(each.payload["changes"].values())[:2] for doc in docs
                if isinstance(doc, dict)}  # fmt: skip
        assert "n00000000000008" not in seen
        assert not follower.faults + follower.tolerated
        await stage.put("notes", "n00000000000009", title="later")
        await until(lambda: follower.docs["n00000000000009"]["title"] == "later", "what came after the resume")

    play(story)


def test_a_token_is_good_again_and_again_also_after_a_restart(play):
    async def story(stage: Stage) -> None:
        follower = await stage.visit(ALL)
        for number in range(4):
            await stage.leave()
            await stage.put("notes", "n00000000000000", title=f"round {number}")
            if number == 2:
                await asyncio.to_thread(stage.restart)
            await stage.visit(ALL, follower.cursor, known=follower)
            await until(
                lambda n=number: follower.docs["n00000000000000"]["title"] == f"round {n}", f"what was missed in round {number}"
            )
        assert follower.counts["resumed"] == 4
        assert follower.resets == 0
        assert not follower.faults + follower.tolerated

    play(story)


def test_a_resume_that_missed_nothing_says_so(play):
    async def story(stage: Stage) -> None:
        follower = await stage.visit(ALL)
        await stage.leave()
        await stage.visit(ALL, follower.cursor, known=follower)
        assert [each.kind for each in follower.received] == ["snapshot", "resumed"]
        assert len(follower.docs) == 3

    play(story)


def test_a_token_of_a_window_is_good_while_nothing_of_it_has_changed(play):
    async def story(stage: Stage) -> None:
        question = ALL | {"sort": "-title", "limit": 2}
        follower = await stage.visit(question)
        await stage.leave()
        await stage.put("other", "o00000000000001", title="of no concern")
        await stage.visit(question, follower.cursor, known=follower)
        assert follower.received[-1].kind == "resumed"
        await stage.leave()
        await stage.put("notes", "n00000000000009", title="note 9")
        again = await stage.visit(question, follower.cursor)
        await stage.leave()
        assert again.resets == 1
        assert [doc["title"] for doc in again.list()] == ["note 9", "note 2"]

    play(story)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "....",
        "a.b.c.d",
        "0.0.0.0",
        "-1.-1.-1.-1",
        "e.99999999999999999999.0.h",
        "\u00fc.1.2.3",
        "a" * 5000,
        "1." * 400,
        "\\\"'",
    ],
)
def test_what_is_no_token_of_ours_starts_over(play, text):
    async def story(stage: Stage) -> None:
        await stage.is_reset(ALL, text)

    play(story)


def test_a_token_of_the_future_starts_over(play):
    async def story(stage: Stage) -> None:
        epoch, seq, nonce, mark = (await stage.token(ALL)).split(".")
        for forged in (
            f"{epoch}.{int(seq) + 1000}.{nonce}.{mark}",
            f"{epoch}.{int(seq) - 1}.{nonce}.{mark}",
            f"x{epoch}.{seq}.{nonce}.{mark}",
        ):
            await stage.is_reset(ALL, forged)

    play(story)


def test_a_since_that_is_no_text_is_an_invalid_payload(play):
    async def story(stage: Stage) -> None:
        for value in (5, {}, ["x"], True):
            follower = await stage.visit(ALL, value)  # type: ignore[arg-type]  # that is the point
            assert follower.ended == "INVALID_PAYLOAD"
            await stage.leave()

    play(story)


def test_a_trimmed_history_starts_over(play):
    async def story(stage: Stage) -> None:
        cursor = await stage.token(ALL)
        await stage.put("notes", "n00000000000001", title="while away")
        await stage.put("notes", "n00000000000002", title="while away")
        await asyncio.to_thread(trim, stage.server)
        await stage.is_reset(ALL, cursor)
        fresh = await stage.token(ALL)
        await stage.put("notes", "n00000000000001", title="after the trim")
        await stage.is_reset(ALL, fresh)  # no line was left that could tell this history from another
        follower = await stage.visit(ALL)
        cursor = follower.cursor
        await stage.leave()
        await stage.put("notes", "n00000000000002", title="after the trim")
        await stage.visit(ALL, cursor, known=follower)
        assert follower.counts["resumed"] == 1
        await until(lambda: follower.docs["n00000000000002"]["title"] == "after the trim", "what was missed")

    play(story)


def test_running_subscriptions_do_not_notice_that_the_history_is_trimmed(play):
    async def story(stage: Stage) -> None:
        follower = await stage.visit(ALL)
        await stage.put("notes", "n00000000000001", title="before")
        await until(lambda: follower.docs["n00000000000001"]["title"] == "before", "the first change")
        await asyncio.to_thread(trim, stage.server)
        await stage.put("notes", "n00000000000001", title="after")
        await until(lambda: follower.docs["n00000000000001"]["title"] == "after", "a change after the trim")
        assert not follower.faults

    play(story)


def trim(server: Server) -> None:
    """What retention does, in a process of its own and at once."""
    script = (
        "import asyncio, sys\n"
        "from alyx.database.sqlite.engine import Engine, Settings\n"
        "async def main():\n"
        "    engine = Engine.open(Settings(sys.argv[1], retention=-60.0))\n"
        "    await engine.start()\n"
        "    assert await engine.trim() > 0\n"
        "    await engine.stop()\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", script, str(server.database)], check=True, capture_output=True)


def test_a_history_that_was_forked_by_a_restored_copy_starts_over(play):
    async def story(stage: Stage) -> None:
        server = stage.server
        assert await asyncio.to_thread(server.stop) == 0
        stage.http.close()
        shutil.copytree(server.folder / "data", server.folder / "copy")
        await asyncio.to_thread(server.start)
        await stage.put("notes", "n00000000000001", title="in the history that is given up")
        await stage.put("notes", "n00000000000002", title="in the history that is given up")
        cursor = await stage.token(ALL)
        assert await asyncio.to_thread(server.stop) == 0
        stage.http.close()
        shutil.rmtree(server.folder / "data")
        shutil.copytree(server.folder / "copy", server.folder / "data")
        await asyncio.to_thread(server.start)
        await stage.is_reset(ALL, cursor)  # the token is of the future of this history
        await stage.put("notes", "n00000000000000", title="in the new history")
        await stage.is_reset(ALL, cursor)
        for number in range(5):
            await stage.put("notes", f"n{number + 20:014d}", title="in the new history")
        await stage.is_reset(ALL, cursor)  # and now its number is one of another change

    play(story)


@pytest.mark.parametrize(
    "other",
    [
        {"collection": "notes", "filter": {"team_id": "red"}},
        {"collection": "notes", "where": "doc.team_id == 'red'"},
        {"collection": "notes", "sort": "-title"},
        {"collection": "notes", "limit": 2},
        {"collection": "notes", "fields": "title"},
        {"collection": "other"},
    ],
)
def test_a_token_of_another_question_starts_over(play, other):
    async def story(stage: Stage) -> None:
        cursor = await stage.token(ALL)
        follower = await stage.visit(other, cursor)
        assert follower.received[0].kind == "snapshot"
        assert follower.received[0].payload.get("reset") is True
        await stage.leave()
        await stage.is_reset(ALL, await stage.token(other))

    play(story)


def test_a_token_of_another_caller_starts_over(play):
    async def story(stage: Stage) -> None:
        await stage.put("notes", "n00000000000004", title="of one", owner_id="one")
        await stage.put("notes", "n00000000000005", title="of two", owner_id="two")
        one, two = token("one"), token("two")
        cursor = await stage.token(ALL, one)
        mine = await stage.is_reset(ALL, cursor, two)
        assert "n00000000000004" not in mine.docs
        await stage.is_reset(ALL, cursor)
        follower = await stage.visit(ALL, cursor, token("one"))  # another token of the same caller
        assert follower.received[0].kind == "resumed"

    play(story)


def test_a_role_that_was_taken_away_meanwhile_starts_over(play):
    async def story(stage: Stage) -> None:
        await stage.put("roled", "r00000000000001", title="public")
        await stage.put("roled", "r00000000000002", title="secret")
        question = {"collection": "roled"}
        cursor = await stage.token(question, token("one", "editor"))
        follower = await stage.is_reset(question, cursor, token("one", "user"))
        assert [doc["title"] for doc in follower.list()] == ["public"]

    play(story)


def test_a_membership_that_ended_meanwhile_starts_over(play):
    async def story(stage: Stage) -> None:
        await stage.put("members", "m00000000000001", team_id="red", user_id="one")
        await stage.put("members", "m00000000000002", team_id="red", user_id="two")
        await stage.put("shared", "s00000000000001", title="of the reds")
        question, one = {"collection": "shared"}, token("one")
        follower = await stage.visit(question, signed=one)
        await stage.leave()
        await stage.visit(question, follower.cursor, one, follower)
        assert follower.received[-1].kind == "resumed"
        await stage.leave()
        await stage.delete("members", "m00000000000001")
        again = await stage.is_reset(question, follower.cursor, one)
        assert again.list() == []

    play(story)


def test_rules_that_were_edited_start_over(play):
    async def story(stage: Stage) -> None:
        cursor = await stage.token(ALL)
        await asyncio.to_thread(
            stage.restart, SCHEMA.replace("doc.owner_id == null ||", "doc.owner_id == null && doc.title != 'note 1' ||")
        )
        follower = await stage.is_reset(ALL, cursor)
        assert [doc["title"] for doc in follower.list()] == ["note 0", "note 2"]

    play(story)


def test_a_schema_that_was_edited_starts_over(play):
    async def story(stage: Stage) -> None:
        cursor = await stage.token(ALL)
        await asyncio.to_thread(stage.restart, WITH_EXTRA)
        follower = await stage.is_reset(ALL, cursor)
        assert [doc["extra"] for doc in follower.list()] == [3, 3, 3]

    play(story)


def test_a_migration_while_the_server_runs_gives_running_subscriptions_a_reset(play):
    async def story(stage: Stage) -> None:
        follower = await stage.visit(ALL)
        stage.server.write_schema(WITH_EXTRA)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "alyx", "migrate", "apply"],
            cwd=stage.server.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        await until(lambda: follower.resets == 1, "a snapshot with reset")
        assert [doc["extra"] for doc in follower.list()] == [3, 3, 3]
        await stage.put("notes", "n00000000000001", title="after", extra=4)
        await until(lambda: follower.docs["n00000000000001"].get("extra") == 4, "a change after the migration")
        assert not follower.faults

    play(story)


def test_a_stream_resumes_by_its_last_event_id_and_starts_over_with_any_other(play):
    async def story(stage: Stage) -> None:
        follower = Follower()
        stream = Stream(stage.server.port, follower)
        await stream.connect("notes", [])
        await stream.drop()
        await stage.put("notes", "n00000000000000", title="while away")
        await stage.delete("notes", "n00000000000001")
        await stream.connect("notes", [], since=stream.last_event)
        await until(lambda: len(follower.docs) == 2, "what was missed")
        assert follower.counts["resumed"] == 1
        assert follower.docs["n00000000000000"]["title"] == "while away"
        assert not follower.faults + follower.tolerated
        good = stream.last_event
        await stream.drop()
        for since, query in [("nonsense", []), (good, [("filter", "team_id:eq:red")]), (good, [("sort", "-title")])]:
            other = Follower(sort=("-title",) if query[:1] == [("sort", "-title")] else ())
            again = Stream(stage.server.port, other)
            await again.connect("notes", query, since=since)
            assert other.received[0].payload.get("reset") is True, other.received
            assert not other.faults
            await again.drop()
        third = Follower()
        by_url = Stream(stage.server.port, third)
        await by_url.connect("notes", [("since", good)])
        await by_url.drop()
        assert [each.kind for each in third.received] == ["resumed"]

    play(story)


def test_a_stream_of_a_trimmed_history_starts_over(play):
    async def story(stage: Stage) -> None:
        follower = Follower()
        stream = Stream(stage.server.port, follower)
        await stream.connect("notes", [])
        await stream.drop()
        await stage.put("notes", "n00000000000000", title="while away")
        await stage.put("notes", "n00000000000000", title="while away still")
        await asyncio.to_thread(trim, stage.server)
        await stream.connect("notes", [], since=stream.last_event)
        assert follower.resets == 1
        assert follower.docs["n00000000000000"]["title"] == "while away still"
        assert not follower.faults
        await stream.drop()

    play(story)


def test_other_workers_take_each_others_tokens(play):
    async def story(stage: Stage) -> None:
        follower = await stage.visit(ALL)
        for number in range(12):
            await stage.leave()
            await stage.put("notes", "n00000000000000", title=f"round {number}")
            await stage.visit(ALL, follower.cursor, known=follower)
            await until(lambda n=number: follower.docs["n00000000000000"]["title"] == f"round {n}", "what was missed")
        assert follower.resets == 0
        assert not follower.faults + follower.tolerated

    play(story, workers=2)
