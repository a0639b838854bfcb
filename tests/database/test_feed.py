"""Promises of the feed's statements: what a line says, and when history is lost."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from alyx.database import feed
from alyx.database.feed import HistoryLost, Mark, Position
from alyx.database.sqlite import upkeep
from alyx.database.work import Statement
from tests.database import following, made


@pytest.fixture
def blog(tmp_path: Path) -> apsw.Connection:
    """The blog with users u1 to u5, on a connection of its own."""
    connection = made.create(tmp_path / "blog.db")
    for number in range(1, 6):
        connection.execute("INSERT INTO users VALUES (?, ?)", (f"u{number}", f"n{number}"))
    return connection


# ---- what a change and a position say


def test_a_line_says_what_was_done_and_carries_a_nonce_of_its_own(blog: apsw.Connection) -> None:
    blog.execute("UPDATE users SET name = 'new' WHERE id = 'u5'")
    _, lines = following.on(blog, feed.follow(Mark(4), 10))
    assert [(line.seq, line.collection, line.op, line.doc_id) for line in lines] == [
        (5, "users", "insert", "u5"),
        (6, "users", "update", "u5"),
    ]
    assert (lines[1].before, lines[1].after) == ('{"id":"u5","name":"n5"}', '{"id":"u5","name":"new"}')
    nonces = {line.nonce for line in following.on(blog, feed.follow(Mark(0), 10))[1]}
    assert len(nonces) == 6
    assert all(-(2**63) <= nonce < 2**63 for nonce in nonces)


def test_a_position_says_where_the_log_stands(blog: apsw.Connection) -> None:
    position = following.on(blog, feed.read_position())
    ((epoch,),) = blog.execute("SELECT epoch FROM _alyx_feed").fetchall()
    assert position == Position(epoch, 5, following.on(blog, feed.read_nonce(5)), 0, 0)


def test_the_generation_moves_with_that_of_any_collection(blog: apsw.Connection) -> None:
    before = following.on(blog, feed.read_position()).generation
    blog.execute("INSERT INTO _alyx_generations VALUES ('posts', 1), ('users', 2)")
    assert following.on(blog, feed.read_position()).generation == before + 3


def test_a_new_log_has_position_0(tmp_path: Path) -> None:
    connection = made.create(tmp_path / "a.db")
    position = following.on(connection, feed.read_position())
    assert (position.seq, position.nonce, position.low_water) == (0, 0, 0)
    assert following.on(connection, feed.follow(Mark(0), 10)) == (position, [])


def test_the_nonce_of_a_line_that_is_not_there_is_none(blog: apsw.Connection) -> None:
    assert [following.on(blog, feed.read_nonce(seq)) for seq in (0, 6)] == [None, None]


def test_the_history_of_one_collection_leaves_the_others_out(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO posts (id, title) VALUES ('p1', 'a'); UPDATE users SET name = 'x' WHERE id = 'u1'")
    blog.execute("UPDATE posts SET title = 'b'")
    assert following.numbers(following.on(blog, feed.read_history("posts", 0, 10))) == [6, 8]
    assert following.numbers(following.on(blog, feed.read_history("posts", 6, 10))) == [8]
    assert following.numbers(following.on(blog, feed.read_history("users", 3, 2))) == [4, 5]


def test_a_short_history_is_light_and_a_long_one_is_not(blog: apsw.Connection) -> None:
    def asked(after: int, last: int) -> Statement:
        work = feed.read_history("users", after, 10)
        next(work)
        return work.send([(last,)])

    assert asked(0, feed.NEAR).light
    assert not asked(0, feed.NEAR + 1).light


# ---- when history is lost


def _lost(connection: apsw.Connection, mark: Mark) -> str:
    with pytest.raises(HistoryLost) as caught:
        following.on(connection, feed.follow(mark, 10))
    return caught.value.reason


def _mark(connection: apsw.Connection, seq: int) -> Mark:
    return Mark(seq, following.on(connection, feed.read_position()).epoch, following.on(connection, feed.read_nonce(seq)))


def test_following_a_good_mark_gives_what_came_after(blog: apsw.Connection) -> None:
    for mark in (Mark(2), _mark(blog, 2)):
        assert following.numbers(following.on(blog, feed.follow(mark, 2))[1]) == [3, 4]
    assert following.on(blog, feed.follow(_mark(blog, 5), 2))[1] == []


def test_a_mark_beyond_the_end_is_forked(blog: apsw.Connection) -> None:
    assert _lost(blog, Mark(6)) == "forked"


def test_another_epoch_is_forked(blog: apsw.Connection) -> None:
    assert _lost(blog, _mark(blog, 2)._replace(epoch="another")) == "forked"


@pytest.mark.parametrize("seq", [2, 5])
def test_another_nonce_at_the_marks_own_line_is_forked(blog: apsw.Connection, seq: int) -> None:
    mark = _mark(blog, seq)
    blog.execute("UPDATE _alyx_changes SET nonce = nonce + 1 WHERE seq = ?", (seq,))
    assert _lost(blog, mark) == "forked"


@pytest.mark.parametrize("hole", ["seq = 3", "seq = 4", "seq >= 3", "seq = 2"])
def test_a_line_that_somebody_removed_is_forked(blog: apsw.Connection, hole: str) -> None:
    blog.execute(f"DELETE FROM _alyx_changes WHERE {hole}")
    assert _lost(blog, Mark(2)) == "forked"


def test_a_hole_at_the_end_is_noticed_by_the_next_read(blog: apsw.Connection) -> None:
    mark = _mark(blog, 3)
    blog.execute("DELETE FROM _alyx_changes WHERE seq >= 4")
    assert _lost(blog, mark) == "forked"


def test_a_mark_that_retention_has_passed_is_trimmed(blog: apsw.Connection) -> None:
    blog.execute("UPDATE _alyx_changes SET at = seq")
    marks = [_mark(blog, seq) for seq in range(6)]
    following.on(blog, upkeep.trim(4))
    assert [_lost(blog, mark) for mark in marks[:3]] == ["trimmed"] * 3
    assert [following.numbers(following.on(blog, feed.follow(mark, 10))[1]) for mark in marks[3:]] == [[4, 5], [5], []]


def test_a_mark_at_the_end_stays_good_when_everything_is_trimmed(blog: apsw.Connection) -> None:
    mark = _mark(blog, 5)
    following.on(blog, upkeep.trim(2**60))
    assert following.on(blog, feed.follow(mark, 10))[1] == []
    blog.execute("INSERT INTO users VALUES ('u6', 'n6')")
    assert following.numbers(following.on(blog, feed.follow(mark, 10))[1]) == [6]


def test_a_read_never_gives_more_than_its_limit(blog: apsw.Connection) -> None:
    blog.execute("UPDATE _alyx_changes SET at = seq")
    following.on(blog, upkeep.trim(3))  # the mark's own line is gone
    for after in (2, 3):
        assert len(following.on(blog, feed.follow(Mark(after), 2))[1]) == 2


def test_a_read_of_large_lines_ends_early(blog: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "ENOUGH", 20)
    monkeypatch.setattr(feed, "PIECE", 2)
    assert following.numbers(following.on(blog, feed.follow(Mark(1), 10))[1]) == [2]
