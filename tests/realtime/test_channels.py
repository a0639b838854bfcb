"""Channels keep what contract §5 says of presence and broadcast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.database.work import Unavailable
from alyx.realtime import channels as module
from alyx.realtime import fanout, presence, rooms
from alyx.realtime.channel_wire import Name
from alyx.realtime.peers import Alone
from alyx.realtime.presence import LISTED, Member, Presence
from alyx.realtime.rooms import Rooms
from tests.realtime.talk import Client, Clock, World, run, turns


def test_whoever_joins_is_told_all_members_and_the_others_hear_of_it() -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1", "ann"), world.client("c2")
        await ann.say("join", "room:42", state={"name": "Ann"}, message_id="7")
        assert ann.take() == [
            {
                "id": "7",
                "type": "presence",
                "payload": {"channel": "room:42", "members": [{"id": "c1", "user_id": "ann", "state": {"name": "Ann"}}]},
            }
        ]
        await bob.say("join", "room:42")
        assert [item["id"] for item in bob.take("presence")[0]["members"]] == ["c1", "c2"]
        await world.settle()
        came = [{"id": "c2", "user_id": None, "state": None}]
        assert [item for item in ann.take("presence_diff")[0]["joins"] if item["id"] != "c1"] == came
        assert ann.shown == bob.shown == {"room:42": {"c1": {"name": "Ann"}, "c2": None}}

    run(body)


def test_a_lone_member_is_not_told_of_itself() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1")
        await ann.say("join", "room")
        ann.take()
        await world.settle()
        await ann.say("state", "room", state=1)
        await world.settle()
        assert ann.take() == []

    run(body)


def test_a_new_state_and_joining_twice_replace_the_state() -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1"), world.client("c2")
        await ann.say("join", "room", state=1)
        await bob.say("join", "room")
        await world.settle()
        ann.take()
        bob.take()
        await ann.say("state", "room", state=2)
        await world.settle()
        assert ann.take() == []
        member = {"id": "c1", "user_id": None, "state": 2}
        assert bob.take("presence_diff") == [{"channel": "room", "joins": [member], "leaves": []}]
        await ann.say("join", "room", state=3)
        assert len(ann.take("presence")[0]["members"]) == 2
        await world.settle()
        assert bob.shown["room"] == {"c1": 3, "c2": None}

    run(body)


def test_leaving_is_answered_and_the_others_hear_of_it_as_of_a_lost_connection() -> None:
    async def body(world: World) -> None:
        ann, bob, eve = (world.client(f"c{number}") for number in range(3))
        for each in (ann, bob, eve):
            await each.say("join", "room")
        await world.settle()
        for each in (ann, bob, eve):
            each.take()
        await bob.say("leave", "room", message_id="9")
        assert bob.take() == [{"id": "9", "type": "left", "payload": {"channel": "room"}}]
        world.channels.gone(eve)
        await world.settle()
        assert ann.take("presence_diff") == [{"channel": "room", "joins": [], "leaves": ["c1", "c2"]}]
        assert bob.take() == eve.take() == []
        assert world.channels.numbers()["channel_members"] == 1
        world.channels.gone(ann)
        assert world.channels.numbers()["channels"] == 0

    run(body)


def test_leaving_a_channel_that_one_is_not_in_is_answered_alike() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1")
        await ann.say("leave", "room", message_id="1")
        assert ann.take() == [{"id": "1", "type": "left", "payload": {"channel": "room"}}]

    run(body)


def test_changes_within_the_pause_become_one_message_and_what_came_and_went_vanishes() -> None:
    async def body(world: World) -> None:
        ann, bob, eve, zoe = (world.client(f"c{number}") for number in range(4))
        await ann.say("join", "room")
        await zoe.say("join", "room")
        await world.settle()
        ann.take()
        await bob.say("join", "room", state=1)
        await bob.say("state", "room", state=2)
        await eve.say("join", "room")
        await eve.say("leave", "room")
        await zoe.say("leave", "room")
        await world.clock.pass_(0.049)
        assert ann.take() == []
        await world.clock.pass_(0.002)
        bob_now = {"id": "c1", "user_id": None, "state": 2}
        assert ann.take("presence_diff") == [{"channel": "room", "joins": [bob_now], "leaves": ["c3"]}]

    run(body)


def test_a_newcomer_hears_of_the_going_of_one_who_came_within_the_same_pause() -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1"), world.client("c2")
        await ann.say("join", "room")
        await bob.say("join", "room")
        await ann.say("leave", "room")
        await world.settle()
        assert bob.shown["room"] == {"c2": None}

    run(body)


def test_a_broadcast_reaches_all_members_but_the_sender() -> None:
    async def body(world: World) -> None:
        ann, bob, eve, out = (world.client(f"c{number}") for number in range(4))
        for each in (ann, bob, eve):
            await each.say("join", "room:1")
        await out.say("join", "room:2")
        await world.settle()
        for each in (ann, bob, eve, out):
            each.take()
        await ann.say("broadcast", "room:1", event="wave", data={"a": [1, None]})
        told = {"type": "broadcast", "payload": {"channel": "room:1", "event": "wave", "data": {"a": [1, None]}, "from": "c0"}}
        assert bob.take() == eve.take() == [told]
        assert ann.take() == out.take() == []

    run(body)


def test_whoever_hears_a_newcomer_knows_it_already() -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1"), world.client("c2")
        await ann.say("join", "room")
        await world.settle()
        await bob.say("join", "room")
        await bob.say("broadcast", "room", event="hello", data=1)
        assert [told["type"] for told in ann.take()] == ["presence", "presence_diff", "broadcast"]

    run(body)


def test_broadcasts_of_one_member_arrive_in_their_order_in_a_channel_of_many() -> None:
    async def body(world: World) -> None:
        crowd = [world.client(f"c{number}") for number in range(300)]
        for each in crowd:
            await each.say("join", "room")
        await world.settle()
        for each in crowd:
            each.take()
        for number in range(5):
            await crowd[0].say("broadcast", "room", event="n", data=number)
        await crowd[9].say("leave", "room")
        await world.clock.pass_(0)
        for each in crowd[1:9] + crowd[10:]:
            assert [told["data"] for told in each.take("broadcast")] == [0, 1, 2, 3, 4]
        assert [told["type"] for told in crowd[9].take()] == ["left"]

    run(body)


@pytest.mark.parametrize("kind", ["state", "broadcast"])
def test_only_members_may_speak(kind: str) -> None:
    async def body(world: World) -> None:
        ann = world.client("c1")
        assert await ann.refused(kind, "room", **({"state": 1} if kind == "state" else {"event": "e", "data": 1})) == "FORBIDDEN"

    run(body)


def test_a_rule_that_refuses_and_a_kind_that_is_not_there_give_the_same_error() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        world.rules.refuse("ann", "room:1")
        answers = []
        for name in ("room:1", "nothing:1", "Room", "room.1"):
            with pytest.raises(AlyxError) as caught:
                await ann.say("join", name)
            answers.append((caught.value.code, caught.value.message, caught.value.hint))
        assert answers == [answers[0]] * 4
        assert answers[0][0] == "FORBIDDEN"
        await ann.say("join", "room:2")
        assert world.rules.asked == [("ann", "room", "room:1", "join"), ("ann", "room", "room:2", "join")]

    run(body)


def test_the_rule_for_sending_is_judged_at_each_broadcast() -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1", "ann"), world.client("c2", "bob")
        await ann.say("join", "room")
        await bob.say("join", "room")
        await ann.say("broadcast", "room", event="e", data=1)
        world.rules.refuse("ann", "room", "send")
        assert await ann.refused("broadcast", "room", event="e", data=2) == "FORBIDDEN"
        assert [told["data"] for told in bob.take("broadcast")] == [1]

    run(body)


def test_the_verdict_of_a_send_rule_that_asks_the_database_is_kept_for_a_second() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        await ann.say("join", "team")
        for _ in range(5):
            await ann.say("broadcast", "team", event="e", data=1)
        assert world.rules.asked.count(("ann", "team", "team", "send")) == 1
        world.rules.refuse("ann", "team", "send")
        await world.clock.pass_(1.0)
        assert await ann.refused("broadcast", "team", event="e", data=1) == "FORBIDDEN"
        assert await ann.refused("broadcast", "team", event="e", data=1) == "FORBIDDEN"
        assert world.rules.asked.count(("ann", "team", "team", "send")) == 2

    run(body)


def test_who_becomes_somebody_else_leaves_what_that_one_may_not_be_in_and_shows_as_that_one_elsewhere() -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1", "ann"), world.client("c2", "bob")
        for each in (ann, bob):
            await each.say("join", "room:1")
            await each.say("join", "room:2", state={"k": 1})
        await world.settle()
        ann.take()
        bob.take()
        world.rules.refuse("anna", "room:1")
        ann.identity = Identity({"id": "anna"})
        await world.channels.judge_again(ann)
        assert ann.take() == [{"type": "left", "payload": {"channel": "room:1", "code": "FORBIDDEN"}}]
        await world.settle()
        member = {"id": "c1", "user_id": "anna", "state": {"k": 1}}
        assert bob.take("presence_diff") == [
            {"channel": "room:1", "joins": [], "leaves": ["c1"]},
            {"channel": "room:2", "joins": [member], "leaves": []},
        ]
        assert await ann.refused("broadcast", "room:1", event="e", data=1) == "FORBIDDEN"

    run(body)


def test_members_are_judged_again_when_a_collection_changes_that_their_rule_looks_into() -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1", "ann"), world.client("c2", "bob")
        for each in (ann, bob):
            await each.say("join", "team")
            await each.say("join", "room")
        assert world.channels.watched == {"members"}
        world.rules.refuse("ann", "team")
        world.rules.refuse("ann", "room")
        world.rules.asked.clear()
        world.channels.elsewhere_changed({"posts"})
        await world.clock.pass_(1)
        assert world.rules.asked == []
        for _ in range(10):
            world.channels.elsewhere_changed({"members", "posts"})
        await world.clock.pass_(0.1)
        assert world.rules.asked == [("ann", "team", "team", "join"), ("bob", "team", "team", "join")]
        assert set(ann.shown) == {"room"}
        world.channels.elsewhere_changed({"members"})
        await world.clock.pass_(0.39)
        assert len(world.rules.asked) == 2
        await world.clock.pass_(0.02)
        assert len(world.rules.asked) == 3

    run(body)


def test_members_whose_rule_may_see_the_clock_are_judged_each_minute() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        await ann.say("join", "team")
        await ann.say("join", "room")
        world.rules.refuse("ann", "team")
        world.rules.refuse("ann", "room")
        await world.clock.pass_(61)
        assert set(ann.shown) == {"room"}

    run(body)


def test_a_member_that_cannot_be_judged_stays_until_it_can(caplog: pytest.LogCaptureFixture) -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        await ann.say("join", "team")
        world.rules.trouble = Unavailable("not now")
        world.rules.refuse("ann", "team")
        world.channels.elsewhere_changed({"members"})
        await world.clock.pass_(2)
        assert set(ann.shown) == {"team"}
        world.rules.trouble = RuntimeError("a fault")
        await world.clock.pass_(2)
        assert set(ann.shown) == {"team"}
        world.rules.trouble = None
        await world.clock.pass_(1)
        assert ann.shown == {}

    run(body)
    assert "could not be judged" in caplog.text


def test_a_right_that_goes_while_a_join_is_judged_is_noticed() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        world.rules.gate = asyncio.Event()
        joining = asyncio.ensure_future(ann.say("join", "team"))
        await turns()
        world.rules.refuse("ann", "team")
        world.channels.elsewhere_changed({"members"})
        await world.clock.pass_(0.1)
        world.rules.gate.set()
        world.rules.gate = None
        await joining
        await world.clock.pass_(1)
        assert ann.shown == {}

    run(body)


def test_a_sign_in_while_a_join_is_judged_counts() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        world.rules.refuse(None, "room")
        world.rules.gate = asyncio.Event()
        joining = asyncio.ensure_future(ann.refused("join", "room"))
        await turns()
        ann.identity = Identity({})
        world.rules.gate.set()
        assert await joining == "FORBIDDEN"

    run(body)


def test_a_connection_that_is_lost_while_its_join_is_judged_is_in_no_channel() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        world.rules.gate = asyncio.Event()
        joining = asyncio.ensure_future(ann.say("join", "room"))
        await turns()
        world.channels.gone(ann)
        world.rules.gate.set()
        await joining
        assert ann.take() == []
        assert world.channels.numbers()["channels"] == 0

    run(body)


def test_other_rules_are_judged_at_once_and_a_kind_that_is_gone_lets_nobody_stay() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1", "ann")
        for name in ("room:1", "room:2", "team"):
            await ann.say("join", name)
        world.rules.refuse("ann", "room:2")
        world.channels.adopt({"room": module.Kind()}, world.rules.judge)
        await world.clock.pass_(0.1)
        assert set(ann.shown) == {"room:1"}
        assert world.channels.watched == frozenset()

    run(body)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("join", {}),
        ("join", {"channel": 3}),
        ("join", {"channel": ""}),
        ("join", {"channel": ":a"}),
        ("join", {"channel": "room:"}),
        ("join", {"channel": "room:" + "ä" * 65}),
        ("join", {"channel": "r" * 64}),
        ("join", {"channel": "room:a\n"}),
        ("join", {"channel": "room:\x85"}),
        ("join", {"channel": "room:\ud800"}),
        ("join", {"channel": "room", "stat": 1}),
        ("join", {"channel": "room", "state": "x" * 4095}),
        ("join", {"channel": "room", "state": "\ud800"}),
        ("join", {"channel": "room", "state": 2**70}),
        ("leave", {"channel": "room", "state": 1}),
        ("state", {"channel": "room"}),
        ("broadcast", {"channel": "room", "data": 1}),
        ("broadcast", {"channel": "room", "event": "", "data": 1}),
        ("broadcast", {"channel": "room", "event": 1, "data": 1}),
        ("broadcast", {"channel": "room", "event": "e" * 65, "data": 1}),
        ("broadcast", {"channel": "room", "event": "e"}),
    ],
)
def test_a_payload_that_cannot_be_meant_is_refused(kind: str, payload: dict[str, Any]) -> None:
    async def body(world: World) -> None:
        ann = world.client("c1")
        with pytest.raises(AlyxError) as caught:
            await world.channels.receive(ann, kind, None, payload)
        assert caught.value.code == "INVALID_PAYLOAD"
        assert caught.value.message.isprintable()

    run(body)


def test_names_states_and_events_may_be_as_long_as_the_limits() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1")
        name = "room:" + "ä" * 64
        await ann.say("join", name, state="x" * 4094)
        await ann.say("broadcast", name, event="e" * 64, data=None)
        await ann.say("join", "room:a:b")
        assert set(ann.shown) == {name, "room:a:b"}

    run(body)


def test_a_connection_may_be_in_a_hundred_channels() -> None:
    async def body(world: World) -> None:
        ann = world.client("c1")
        for number in range(100):
            await ann.say("join", f"room:{number}")
        assert await ann.refused("join", "room:100") == "SUBSCRIPTION_LIMIT_REACHED"
        await ann.say("join", "room:99")
        await ann.say("leave", "room:0")
        await ann.say("join", "room:100")

    run(body)


def test_a_thousand_members_are_shown_and_the_next_moves_up_when_one_goes() -> None:
    async def body(world: World) -> None:
        crowd = [world.client(f"c{number}") for number in range(LISTED + 2)]
        for each in crowd:
            await each.say("join", "room")
        last = crowd[-1].take("presence")[0]
        assert (len(last["members"]), last["members"][-1]["id"], last["total"]) == (LISTED + 1, f"c{LISTED + 1}", LISTED + 2)
        await world.clock.pass_(1)
        assert len(crowd[0].shown["room"]) == LISTED
        crowd[0].take()
        world.channels.gone(crowd[1])
        await world.clock.pass_(1)
        difference = crowd[0].take("presence_diff")
        assert [(told["leaves"], [item["id"] for item in told["joins"]]) for told in difference] == [(["c1"], [f"c{LISTED}"])]
        await crowd[-1].say("broadcast", "room", event="e", data=1)
        await world.clock.pass_(1)
        assert crowd[0].take("broadcast")[0]["from"] == f"c{LISTED + 1}"

    run(body)


def test_the_states_of_a_channel_are_shown_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(world: World) -> None:
        crowd = [world.client(f"c{number}") for number in range(4)]
        for each in crowd:
            await each.say("join", "room", state="x" * 300)
        assert await crowd[0].refused("state", "room", state="x" * 700) == "RATE_LIMITED"
        assert await crowd[0].refused("join", "room", state="x" * 700) == "RATE_LIMITED"
        await crowd[0].say("state", "room", state="x" * 350)
        await world.settle()
        assert set(crowd[1].shown["room"]) == {"c0", "c1"}
        await crowd[3].say("state", "room", state="x" * 600)
        world.channels.gone(crowd[0])
        await world.settle()
        assert set(crowd[1].shown["room"]) == {"c1", "c2"}
        world.channels.gone(crowd[2])
        await world.settle()
        assert set(crowd[1].shown["room"]) == {"c1", "c3"}

    monkeypatch.setattr(presence, "LISTED_BYTES", 1000)
    run(body)


def test_whoever_joins_again_and_again_is_told_the_members_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1"), world.client("c2")
        await bob.say("join", "room", state="x" * 2_000)
        for _ in range(4):
            await ann.say("join", "room")
            await ann.say("leave", "room")
        assert await ann.refused("join", "room") == "RATE_LIMITED"
        await bob.say("state", "room", state=1)
        await world.clock.pass_(1.0)
        await ann.say("join", "room")
        assert ann.shown["room"] == {"c1": None, "c2": 1}

    monkeypatch.setattr(module, "LISTED_RATE", 2_000.0)
    run(body)


def test_the_states_of_a_connection_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(world: World) -> None:
        ann = world.client("c1")
        await ann.say("join", "room:1", state="x" * 600)
        assert await ann.refused("join", "room:2", state="x" * 600) == "SUBSCRIPTION_LIMIT_REACHED"
        await ann.say("join", "room:2")
        assert await ann.refused("state", "room:2", state="x" * 600) == "SUBSCRIPTION_LIMIT_REACHED"
        await ann.say("state", "room:1", state="y" * 700)
        await ann.say("leave", "room:1")
        await ann.say("state", "room:2", state="x" * 600)

    monkeypatch.setattr(module, "LARGEST_STATES", 1_000)
    run(body)


def test_the_members_of_a_process_take_no_more_memory_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(world: World) -> None:
        ann, bob = world.client("c1"), world.client("c2")
        for number in range(4):
            await ann.say("join", f"room:{number}")
        assert await bob.refused("join", "room:0") == "OVERLOADED"
        assert bob.take() == []
        await ann.say("state", "room:0", state=1)
        await ann.say("leave", "room:3")
        await bob.say("join", "room:0", state="x" * 500)
        assert await bob.refused("state", "room:0", state="x" * 2_000) == "OVERLOADED"
        assert await ann.refused("join", "room:3") == "OVERLOADED"
        world.channels.gone(bob)
        await ann.say("join", "room:3")
        world.channels.gone(ann)
        assert world.channels.numbers()["channel_bytes"] == world.channels.numbers()["channels"] == 0

    monkeypatch.setattr(rooms, "MOST_BYTES", 5_000)
    run(body)


def test_broadcasts_are_refused_while_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(world: World) -> None:
        crowd = [world.client(f"c{number}") for number in range(100)]
        for each in crowd:
            await each.say("join", "room")
        await world.settle()
        await crowd[0].say("broadcast", "room", event="e", data=1)
        await crowd[0].say("broadcast", "room", event="e", data=2)
        assert await crowd[0].refused("broadcast", "room", event="e", data=3) == "RATE_LIMITED"
        await world.settle()
        await crowd[0].say("broadcast", "room", event="e", data=4)

    monkeypatch.setattr(fanout, "MOST_WAITING", 198)
    run(body)


class Held:
    """The rooms of a process with a hundred members in one channel, whose texts leave only when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sending: list[Callable[[], None]] = []
        self.rooms = Rooms(Alone(), self._call_later, self.clock.now)
        world = World()
        self.crowd = [world.client(f"c{number}") for number in range(100)]
        for each in self.crowd:
            self.rooms.sit(each, Name("room", "room", ""), b"null", None)

    def _call_later(self, delay: float, call: Callable[[], None]) -> object:
        if delay:
            return self.clock.call_later(delay, call)
        self.sending.append(call)
        return None

    @property
    def waiting(self) -> float:
        return self.rooms.numbers()["channel_texts_waiting"]

    async def settle(self, *, send: bool) -> None:
        await self.clock.pass_(0.06)
        while send and self.sending:
            self.sending.pop()()


def test_what_another_process_sends_while_too_much_waits_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        held = Held()
        await held.settle(send=True)
        for number in range(5):
            held.rooms.heard("peer", {"say": ["room", "e", number, "elsewhere"]})
        assert (held.waiting, held.rooms.numbers()["channel_broadcasts_dropped_total"]) == (200, 3)
        await held.settle(send=True)
        held.rooms.heard("peer", {"say": ["room", "e", "later", "elsewhere"]})
        await held.settle(send=True)
        assert [told["data"] for told in held.crowd[7].take("broadcast")] == [0, 1, "later"]

    monkeypatch.setattr(fanout, "MOST_WAITING", 200)
    asyncio.run(body())


def test_differences_gather_while_too_much_waits_and_none_is_missing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        held = Held()
        await held.settle(send=True)
        for number in range(50):
            held.rooms.heard("peer", {"put": ["room", {"id": "elsewhere", "user_id": None, "state": number}]})
            held.rooms.heard("peer", {"say": ["room", "e", number, "elsewhere"]})
            await held.settle(send=False)
        assert held.waiting == 400
        await held.settle(send=True)
        await held.settle(send=True)
        assert all(each.shown["room"]["elsewhere"] == 49 for each in held.crowd)
        assert held.waiting == 0

    monkeypatch.setattr(fanout, "MOST_WAITING", 200)
    asyncio.run(body())


def test_the_loop_is_let_go_while_a_text_goes_to_many() -> None:
    class Ear:
        live = True

        def send(self, text: bytes) -> None:
            nonlocal time
            time += 0.0001

    time = 0.0
    steps: list[Any] = []
    fan = fanout.Fanout(lambda _, call: steps.append(call), lambda: time)
    fan.push(b"x", [Ear() for _ in range(1000)])
    longest = 0.0
    while steps:
        before = time
        steps.pop()()
        longest = max(longest, time - before)
    assert fan.waiting == 0
    assert time == pytest.approx(0.1)
    assert longest < 0.005


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "state", "gone", "broadcast", "wait", "wait a little"]),
        st.integers(0, 5),
        st.sampled_from(["room:1", "room:2"]),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_after_any_history_every_member_shows_the_true_members(operations: list[tuple[str, int, str, int]]) -> None:
    async def body(world: World) -> None:
        clients: dict[int, Client] = {}
        truth: dict[str, dict[str, int]] = {"room:1": {}, "room:2": {}}
        for number, (kind, who, room, state) in enumerate(operations):
            client = clients.setdefault(who, world.client(f"c{who}-{number}"))
            match kind:
                case "join":
                    await client.say("join", room, state=state)
                    truth[room][client.client_id] = state
                case "leave":
                    await client.say("leave", room)
                    truth[room].pop(client.client_id, None)
                case "state" if client.client_id in truth[room]:
                    await client.say("state", room, state=state)
                    truth[room][client.client_id] = state
                    client.shown[room][client.client_id] = state
                case "broadcast" if client.client_id in truth[room]:
                    await client.say("broadcast", room, event="e", data=1)
                case "gone":
                    world.channels.gone(clients.pop(who))
                    for members in truth.values():
                        members.pop(client.client_id, None)
                case "wait":
                    await world.settle()
                case "wait a little":
                    await world.clock.pass_(0.02)
        await world.settle()
        for client in clients.values():
            inside = {room for room, members in truth.items() if client.client_id in members}
            assert client.shown == {room: truth[room] for room in inside}

    run(body)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "settle", "list"]), st.integers(0, 9), st.integers(0, 2)), max_size=80))
def test_differences_lead_to_what_is_shown_also_where_not_all_are(operations: list[tuple[str, int, int]]) -> None:
    members = Presence(listed=4)
    steady: dict[str, Member] = {}
    fresh: dict[str, Member] | None = None
    truth: set[str] = set()
    for kind, who, state in operations:
        name = f"c{who}"
        if kind == "put":
            members.put(Member(name, None, b"%d" % state))
            truth.add(name)
        elif kind == "drop":
            members.drop(name)
            truth.discard(name)
        elif kind == "list":
            fresh = {item.id: item for item in members.listing("nobody")}
        else:
            for view, difference in zip((steady, fresh), members.settle(), strict=True):
                if view is not None:
                    for gone in difference.leaves:
                        view.pop(gone, None)
                    view.update({item.id: item for item in difference.joins})
            shown = {item.id: item for item in members.listing("nobody")}
            assert steady == shown
            assert fresh in (None, shown)
            assert len(shown) == min(4, len(truth))
            fresh = None
        assert {item.id for item in members} == truth
