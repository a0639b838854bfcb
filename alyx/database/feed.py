"""The change feed, said without a database: what a change is, the statements that read the log, and when its history is lost.

Called by an engine's reader (`database/sqlite/feed.py`) and by realtime, which reads the position inside the transaction of a
snapshot. It never waits, and it keeps nothing between two calls.

A history is known by its epoch, which is made with the database, and by the random nonce of each line: two files that share
an epoch, because one is a copy of the other, differ in the nonce of every line that each has written by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from alyx.database.work import Row, Statement, Work

PIECE = 16
"""Lines asked for by one statement, so that each is short enough for the event loop."""
ENOUGH = 1_000_000
"""Characters of images after which a read ends, whatever its limit: a line may have megabytes."""
NEAR = 256
"""Lines behind the end of the log up to which those of one collection may be looked for on the event loop."""

_COLUMNS = "seq, collection, op, doc_id, before, after, hidden_before, hidden_after, at, nonce"
# A range and no bound LIMIT, with which one line was measured to cost three times as much (7 µs against 2).
_LINES = f"SELECT {_COLUMNS} FROM _alyx_changes WHERE seq BETWEEN ? AND ? ORDER BY seq"
_HISTORY = f"SELECT {_COLUMNS} FROM _alyx_changes WHERE seq > ? AND collection = ? ORDER BY seq LIMIT ?"
_LAST = Statement("SELECT last_seq FROM _alyx_feed", (), light=True)
_NONCE = "SELECT nonce FROM _alyx_changes WHERE seq = ?"
_POSITION = Statement(
    "SELECT epoch, last_seq, coalesce((SELECT nonce FROM _alyx_changes WHERE seq = last_seq), 0), low_water,"
    " (SELECT coalesce(sum(generation), 0) FROM _alyx_generations) FROM _alyx_feed",
    (),
    light=True,
)


class Change(NamedTuple):
    """A line of the change log, in the order of its columns.

    seq: its number, one more than that of the line before; the order of commits. op: `insert`, `update` or `delete`. doc_id: the
    record's key as text. The images are JSON text of the API's form (see `database/sqlite/changes.py`): `after` the whole row,
    `before` what changed and what rules read, of a delete the whole row; hidden_before and hidden_after the internal fields that
    rules read, which are shown to nobody. at: Unix milliseconds. nonce: a random 64-bit number; 0 in lines that release 0.1.0
    wrote.
    """

    seq: int
    collection: str
    op: str
    doc_id: str
    before: str | None
    after: str | None
    hidden_before: str | None
    hidden_after: str | None
    at: int
    nonce: int


class Position(NamedTuple):
    """Where the log stands in one snapshot.

    epoch: random text, made with the database. seq: the last number given. nonce: that of line `seq`, 0 if it is trimmed or there
    was none yet. low_water: the highest number that retention has removed. generation: the sum over all collections, which grows
    with every migration that changes a collection that was there and still is, and never goes back.
    """

    epoch: str
    seq: int
    nonce: int
    low_water: int
    generation: int


class Mark(NamedTuple):
    """What a reader knows of the last line that it has handed out: all that has to be kept to go on from there later.

    epoch, nonce: those of the line; None where they are not known, and then nothing tells another history from this one.
    """

    seq: int
    epoch: str | None = None
    nonce: int | None = None


class HistoryLost(Exception):
    """The lines after a cursor cannot be had without a gap; whoever follows them must start over from a snapshot.

    reason: `trimmed`: retention has removed some of them. `forked`: they belong to another history (a restored copy, another
    database), or somebody has removed lines by hand.
    """

    def __init__(self, reason: Literal["trimmed", "forked"]) -> None:
        super().__init__(reason)
        self.reason = reason


def read_position() -> Work[Position]:
    """Where the log stands. One light statement; meant to run in the transaction of a snapshot."""
    ((epoch, seq, nonce, low_water, generation),) = yield _POSITION
    return Position(epoch, seq, nonce, low_water, generation)


def read_history(collection: str, after: int, limit: int) -> Work[list[Change]]:
    """The lines of one collection after number `after` in order, at most `limit`.

    All lines after `after` are looked at, so it is light only while these are at most NEAR.
    """
    ((last,),) = yield _LAST
    rows = yield Statement(_HISTORY, (after, collection, limit), light=last - after <= NEAR)
    return list(map(Change._make, rows))


def read_nonce(seq: int) -> Work[int | None]:
    """The nonce of one line, None if it is not there (trimmed, or not written yet). Light."""
    rows = yield Statement(_NONCE, (seq,), light=True)
    return int(rows[0][0]) if rows else None


def follow(mark: Mark, limit: int) -> Work[tuple[Position, list[Change]]]:
    """The lines after a mark in order, at most `limit` and about ENOUGH characters, and where the log stands. Light.

    Raises HistoryLost where one of them is left out. The line of the mark itself is read too, to see that it is still the same.
    """
    position = yield from read_position()
    if mark.epoch not in (None, position.epoch):
        raise HistoryLost("forked")
    if mark.seq == position.seq and mark.nonce in (None, position.nonce):
        return position, []
    lines = yield from _read_lines(mark.seq, min(mark.seq + limit, position.seq))
    own = lines.pop(0) if lines and lines[0].seq == mark.seq else None
    _judge(mark, position, own, lines)
    return position, lines


def _judge(mark: Mark, position: Position, own: Change | None, lines: Sequence[Change]) -> None:
    """Whether `lines` are those that follow a mark. own: the mark's own line as it stands now. Raises HistoryLost."""
    if own is not None and mark.nonce not in (None, own.nonce):
        raise HistoryLost("forked")
    if position.low_water > mark.seq:
        raise HistoryLost("trimmed")
    if own is None and mark.seq > position.low_water:  # removed, or not written yet
        raise HistoryLost("forked")
    if position.seq > mark.seq and not lines:
        raise HistoryLost("forked")
    if any(line.seq != mark.seq + place for place, line in enumerate(lines, 1)):
        raise HistoryLost("forked")


def _read_lines(first: int, last: int) -> Work[list[Change]]:
    """The lines of these numbers, in pieces that are short each; it ends early when they are large."""
    lines: list[Change] = []
    size = 0
    while first <= last and size < ENOUGH:
        rows = yield Statement(_LINES, (first, min(first + PIECE - 1, last)), light=True)
        lines += map(Change._make, rows)
        first += PIECE
        size += _size(rows)
    return lines


def _size(rows: Sequence[Row]) -> int:
    return sum(len(image) for row in rows for image in row[4:8] if image)
