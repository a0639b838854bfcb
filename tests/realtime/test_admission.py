"""The rules of channels are judged as every rule is: in Python, or by the database as it stands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from alyx.base.identity import ANONYMOUS, Identity
from alyx.database import tables
from alyx.realtime.admission import Admission
from alyx.realtime.channels import Channels, Kind
from alyx.records.plan import Planner
from alyx.rules.book import RuleBook
from tests.backend import Backend
from tests.realtime.talk import Client, Clock

SCHEMA = """
version: 1
channels:
  lobby: { join: true, send: auth.id != null }
  closed: {}
  local: { join: "request.ip == '192.0.2.7' && request.time > timestamp('2026-01-01T00:00:00Z')", send: false }
  own: { join: "channel.topic == auth.id", send: "channel.name == 'own:ann'" }
  team:
    join: "collections.members.exists(m, m.team == channel.topic && m.person == auth.id)"
    send: "auth.role == 'writer' || collections.members.exists(m, m.team == channel.topic && m.person == auth.id && m.loud)"
collections:
  members:
    fields:
      id: { type: id, primary: true, default: auto }
      team: { type: string, index: true }
      person: { type: string }
      loud: { type: bool, default: false }
    rules: { create: true, read: true, delete: true }
"""
ANN, BOB = Identity({"id": "ann"}), Identity({"id": "bob", "role": "writer"})
ADMIN = Identity({"id": "root", "role": "admin"})


class House(Backend):
    """A backend with the judge of its channels."""

    def __init__(self, folder: Path) -> None:
        super().__init__(SCHEMA, folder)
        metadata = tables.build(self.schema)
        planner = Planner(self.schema, RuleBook.load(self.schema, metadata), metadata)
        self.admission = Admission(planner, self.engine)

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def judge(self, who: Identity, name: str, rule: Any = "join") -> bool:
        found: bool = self.run(self.admission.judge(who, "192.0.2.7", name.partition(":")[0], name, rule))
        return found


def test_rules_are_judged_for_the_caller_and_the_channel(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        assert house.judge(ANONYMOUS, "lobby")
        assert (house.judge(ANONYMOUS, "lobby", "send"), house.judge(ANN, "lobby", "send")) == (False, True)
        assert (house.judge(ANN, "closed"), house.judge(ADMIN, "closed"), house.judge(ADMIN, "closed", "send")) == (
            False,
            True,
            True,
        )
        assert (house.judge(ANN, "local"), house.judge(ANN, "local", "send")) == (True, False)
        assert (house.judge(ANN, "own:ann"), house.judge(ANN, "own:bob"), house.judge(ANONYMOUS, "own")) == (True, False, False)
        assert (house.judge(ANN, "own:ann", "send"), house.judge(ANN, "own", "send")) == (True, False)
        assert house.admission.kinds == {
            "lobby": Kind(),
            "closed": Kind(),
            "local": Kind(timed=True),
            "own": Kind(),
            "team": Kind(frozenset({"members"}), timed=True, keep_send=True),
        }
    finally:
        house.close()


def test_rules_that_look_elsewhere_see_the_records_as_they_are_now(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        assert not house.judge(ANN, "team:1")
        made = house.post("/members", {"team": "1", "person": "ann"}).json()
        assert (house.judge(ANN, "team:1"), house.judge(ANN, "team:2"), house.judge(ANONYMOUS, "team:1")) == (True, False, False)
        assert (house.judge(ANN, "team:1", "send"), house.judge(BOB, "team:1", "send")) == (False, True)
        house.delete(f"/members/{made['id']}")
        assert not house.judge(ANN, "team:1")
    finally:
        house.close()


def test_who_is_no_member_of_the_team_any_more_leaves_its_channel(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        made = house.post("/members", {"team": "1", "person": "ann"}).json()

        async def body() -> None:
            clock = Clock()
            channels = Channels(house.admission.kinds, house.admission.judge, call_later=clock.call_later, now=clock.now)
            await channels.start()
            ann = Client(channels, "c1", ANN)
            assert await ann.refused("join", "team:2") == "FORBIDDEN"
            await ann.say("join", "team:1")
            assert await ann.refused("broadcast", "team:1", event="e", data=1) == "FORBIDDEN"
            await house.client.send("DELETE", f"/api/collections/members/{made['id']}", headers={}, body=None)
            channels.elsewhere_changed({"members"})
            while ann.shown:
                await clock.pass_(0.6)
                await asyncio.sleep(0.01)
            assert ann.take()[-1]["payload"] == {"channel": "team:1", "code": "FORBIDDEN"}
            await channels.stop()

        house.run(body())
    finally:
        house.close()
