"""The rules of channels: who may join, who may speak (contract §5)."""

from __future__ import annotations

from typing import Any

import apsw
import pytest
import sqlalchemy as sa

from alyx.base.errors import SourceError
from alyx.database import tables
from alyx.rules.book import ChannelRules, Rule, RuleBook, channel_record
from alyx.schema.model import Channel, Place, RuleText, Schema, Type
from tests.rules.conftest import collection
from tests.rules.differential import DIALECT, run

MEMBERS = collection("members", team={"type": Type.STRING, "nullable": True}, user=Type.UUID, level=Type.INT)
REQUEST = {"ip": "::1", "time": "2026-11-20T10:00:00.000000Z"}
USER = "0190c2d1-5b1e-7c3a-9f00-0123456789ab"


def text(rule: str | None, line: int) -> RuleText | None:
    return None if rule is None else RuleText(rule, Place("schema.yaml", line, 11))


def book(join: str | None = None, send: str | None = None) -> RuleBook:
    channel = Channel("room", text(join, 20), text(send, 21), Place("schema.yaml", 19, 3))
    made = Schema(1, {"members": MEMBERS}, channels={"room": channel})
    return RuleBook.load(made, tables.build(made))


def rules(join: str | None = None, send: str | None = None) -> ChannelRules:
    found = book(join, send).channel("room")
    assert found is not None
    return found


def joins(rule: str, name: str, **auth: Any) -> bool:
    return rules(rule).join.judge(auth, channel_record(name), REQUEST)


@pytest.mark.parametrize(
    ("rule", "name", "expected"),
    [
        ("channel.name == 'room:42'", "room:42", True),
        ("channel.name == 'room'", "room", True),
        ("channel.topic == '42'", "room:42", True),
        ("channel.topic == 'a:b'", "room:a:b", True),
        ("channel.topic == ''", "room", True),
        ("channel.topic == ''", "room:", True),
        ("channel.topic.startsWith('team-')", "room:team-1", True),
        ("channel.topic == auth.id", f"room:{USER}", True),
        ("channel.topic == auth.id", "room:other", False),
        ("request.ip == '::1' && request.time > timestamp('2026-01-01T00:00:00Z')", "room:1", True),
        ("has(channel.topic)", "room", True),
        ("auth.claims.rooms.exists(channel, channel == 'a')", "room", False),
    ],
)
def test_a_rule_sees_the_whole_name_and_what_follows_the_first_colon(rule: str, name: str, expected: bool) -> None:
    if "exists(channel" in rule:
        with pytest.raises(SourceError, match="`channel` is taken"):
            rules(rule)
        return
    assert joins(rule, name, id=USER) is expected


def test_joining_and_speaking_have_rules_of_their_own() -> None:
    found = rules("auth.id != null", "auth.role == 'speaker'")
    assert found["join"].judge({"id": "a"}, channel_record("room:1"), REQUEST)
    assert not found["send"].judge({"id": "a"}, channel_record("room:1"), REQUEST)
    assert found["send"].judge({"id": "a", "role": "speaker"}, channel_record("room:1"), REQUEST)


def test_a_rule_that_is_not_written_is_the_admin_rule() -> None:
    found = rules("true").send
    assert found.missing
    assert found.judge({"role": "admin"}, channel_record("room:1"), REQUEST)
    assert not found.judge({"role": "user"}, channel_record("room:1"), REQUEST)


def test_a_kind_that_is_not_declared_has_no_rules() -> None:
    assert book("true", "true").channel("hall") is None


def test_a_caller_without_an_id_owns_no_channel() -> None:
    assert not joins("channel.topic == auth.id", "room")
    assert not joins("channel.topic != auth.id", "room")


def asked(rule: Rule, auth: dict[str, Any], name: str, members: list[tuple[str | None, str, int]]) -> bool:
    table = tables.build(Schema(1, {"members": MEMBERS})).tables["members"]
    connection = apsw.Connection(":memory:")
    connection.execute(str(sa.schema.CreateTable(table).compile(dialect=DIALECT)))
    for number, (team, user, level) in enumerate(members):
        connection.execute("INSERT INTO members VALUES (?, ?, ?, ?)", [str(number), team, user, level])
    return bool(run(connection, rule.holds_for_values(auth), rule.binds(auth, REQUEST) | rule.channel_binds(name)))


@pytest.mark.parametrize(
    ("name", "auth", "expected"),
    [
        ("room:t1", {"id": USER}, True),
        ("room:t2", {"id": USER}, False),
        ("room:t1", {"id": "0190c2d1-5b1e-7c3a-9f00-000000000000"}, False),
        ("room:t1", {}, False),
        ("room", {"id": USER}, False),
    ],
)
def test_a_rule_may_look_into_a_collection(name: str, auth: dict[str, Any], expected: bool) -> None:
    rule = rules("collections.members.exists(m, m.team == channel.topic && m.user == auth.id)").join
    assert rule.looks_elsewhere
    assert asked(rule, auth, name, [("t1", USER, 1), (None, USER, 1)]) is expected


def test_an_error_below_a_negation_refuses() -> None:
    rule = rules("!collections.members.exists(m, m.user == auth.id && m.level > 3)").join
    assert asked(rule, {"id": USER}, "room", [("t", USER, 1)])
    assert not asked(rule, {"id": USER}, "room", [("t", USER, 9)])
    assert not asked(rule, {}, "room", [("t", USER, 9)])
    assert asked(rule, {}, "room", [("t", USER, 1)])


def test_what_a_channel_reads_of_a_collection_is_observed() -> None:
    found = book("collections.members.exists(m, m.team == channel.topic && m.level > 1)", "true")
    assert found.observed("members") == {"team", "level"}
    assert found.observed("channel") == frozenset()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("doc.id == 'a'", "schema.yaml:20: channels.room.join: unknown name `doc` (known: channel, auth, request, collections)"),
        ("channel.kind == 'a'", "schema.yaml:20: channels.room.join: `channel` has no field `kind` (known: name, topic)"),
        ("channel.topic == 1", "schema.yaml:20: channels.room.join: string cannot be compared with int"),
        (
            "channel == 'a'",
            "schema.yaml:20: channels.room.join: `channel` is a record, not a value (name a field: `channel.name`)",
        ),
        ("request.method == 'GET'", "schema.yaml:20: channels.room.join: `request.method` cannot be used here"),
        ("collections.members.exists(doc, doc.level > 1)", "schema.yaml:20: channels.room.join: `doc` is taken"),
        ("collections.members.exists(channel, true)", "schema.yaml:20: channels.room.join: `channel` is taken"),
        ("collections.member.exists(m, true)", "schema.yaml:20: channels.room.join: there is no collection `member`"),
        ("channel.topic", "schema.yaml:20: channels.room.join: needs a bool, found string"),
        ("true &&", "schema.yaml:20: channels.room.join: expected a value, found the end (at column 8 of the rule)"),
        (
            "collections.members.exists(m, channel.topic.split(':')[0] == m.team)",
            "schema.yaml:20: channels.room.join: split() of string, string cannot be used here",
        ),
    ],
)
def test_a_fault_has_its_file_line_and_path(rule: str, said: str) -> None:
    with pytest.raises(SourceError) as raised:
        rules(rule, "true")
    assert said in str(raised.value)


def test_the_faults_of_collections_and_channels_come_together_in_the_order_of_the_file() -> None:
    bad = collection("members", {"read": "doc.x"}, level=Type.INT)
    channel = Channel("room", text("nobody", 20), text("channel.x == 1", 21), Place("schema.yaml", 19, 3))
    made = Schema(1, {"members": bad}, channels={"room": channel})
    with pytest.raises(SourceError) as raised:
        RuleBook.load(made, tables.build(made))
    assert [fault.path for fault in raised.value.faults] == [
        "collections.members.rules.read",
        "channels.room.join",
        "channels.room.send",
    ]


def test_channel_means_nothing_in_the_rules_of_a_collection() -> None:
    made = Schema(1, {"members": collection("members", {"read": "channel.topic == 'a'"}, level=Type.INT)})
    with pytest.raises(SourceError, match="unknown name `channel`"):
        RuleBook.load(made, tables.build(made))
