"""The judges of live queries themselves: what they must notice."""

from __future__ import annotations

import pytest

from tests.realtime.follower import Follower, Received, order
from tests.realtime.ledger import Line, View, judge

CURSOR = "e.{}.0.h"
ALL = View("notes", lambda doc, tables: doc["open"])


def snapshot(seq, *docs, **more):
    return {"subscription_id": "s", "docs": list(docs), "total": len(docs), "cursor": CURSOR.format(seq)} | more


def delta(seq, **changes):
    return {"subscription_id": "s", "changes": changes, "cursor": CURSOR.format(seq)}


def doc(key, *, is_open=True, n=0):
    return {"id": key, "open": is_open, "n": n}


LINES = [
    Line(1, "notes", "insert", "a", doc("a")),
    Line(2, "notes", "insert", "b", doc("b", is_open=False)),
    Line(3, "notes", "update", "a", doc("a", n=1)),
    Line(4, "notes", "insert", "c", doc("c")),
    Line(5, "notes", "delete", "a", None),
]
TRUE = [("snapshot", snapshot(1, doc("a"))), ("delta", delta(3, updates=[doc("a", n=1)]))]


def told(*messages):
    follower = Follower("f")
    follower.received = [Received(kind, payload) for kind, payload in messages]
    return judge(LINES, {}, ALL, follower)


def test_the_truth_has_no_fault_however_it_is_cut():
    assert told(*TRUE, ("delta", delta(4, inserts=[doc("c")])), ("delta", delta(5, deletes=["a"]))) == []
    assert told(TRUE[0], ("delta", delta(5, inserts=[doc("c")], deletes=["a"]))) == []
    assert told(TRUE[0], ("resumed", {"cursor": CURSOR.format(2)}), TRUE[1]) == []


@pytest.mark.parametrize(
    "messages",
    [
        [("snapshot", snapshot(3, doc("a")))],
        [("snapshot", snapshot(1, doc("a"))), ("delta", delta(4, inserts=[doc("c")]))],
        [*TRUE, ("delta", delta(4, inserts=[doc("c"), doc("b", is_open=False)]))],
        [*TRUE, ("delta", delta(5, inserts=[doc("c")]))],
        [*TRUE, ("delta", delta(4, inserts=[doc("c")])), ("delta", delta(5, inserts=[doc("c")], deletes=["a"]))],
        [*TRUE, ("delta", delta(5, inserts=[doc("c")], deletes=["a", "b"]))],
        [TRUE[0], ("resumed", {"cursor": CURSOR.format(4)})],
    ],
    ids=["old snapshot", "a change is missed", "a body leaks", "a delete is missed", "double", "an id leaks", "a gap at resume"],
)
def test_the_log_shows_every_lie(messages):
    assert told(*messages)


@pytest.mark.parametrize(
    "messages",
    [
        [("delta", delta(1, inserts=[doc("a")]))],
        [("snapshot", snapshot(2, doc("b"), doc("a")))],
        [("snapshot", snapshot(2, doc("a"), reset=True))],
        [("snapshot", snapshot(2, doc("a"))), ("snapshot", snapshot(3, doc("a")))],
        [("snapshot", snapshot(2, doc("a"))), ("delta", delta(1, updates=[doc("a")]))],
        [("snapshot", snapshot(2, doc("a"))), ("delta", delta(3, updates=[doc("a")], deletes=["a"]))],
        [("snapshot", snapshot(2, doc("a"))), ("delta", delta(3, updates=[doc("a")], inserts=[]))],
        [("snapshot", snapshot(2, doc("a"))), ("resumed", {"subscription_id": "s", "cursor": CURSOR.format(2)})],
    ],
    ids=[
        "no snapshot",
        "order",
        "reset at first",
        "no reset",
        "cursor goes back",
        "an id twice",
        "an empty list",
        "unasked resume",
    ],
)
def test_a_follower_notes_every_broken_rule(messages):
    follower = Follower()
    follower.begin()
    for kind, payload in messages:
        follower.take(kind, payload)
    assert follower.faults


def test_a_follower_notes_apart_what_clients_must_put_up_with():
    follower = Follower()
    follower.begin()
    follower.take("snapshot", snapshot(1, doc("a")))
    follower.take("delta", delta(2, inserts=[doc("a", n=1)]))
    follower.take("delta", delta(3, updates=[doc("b")]))
    follower.take("delta", delta(4, deletes=["c"]))
    assert not follower.faults
    assert len(follower.tolerated) == 3
    assert follower.unasked == ["c"]
    assert [each["id"] for each in follower.list()] == ["a", "b"]


def test_nulls_come_first_ascending_and_last_descending_and_ids_follow_the_last_key():
    docs = [{"id": key, "n": n} for key, n in [("a", 1), ("b", None), ("c", 1), ("d", 0)]]
    assert [d["id"] for d in sorted(docs, key=order(["n"]))] == ["b", "d", "a", "c"]
    assert [d["id"] for d in sorted(docs, key=order(["-n"]))] == ["c", "a", "d", "b"]
