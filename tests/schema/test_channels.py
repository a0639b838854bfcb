"""The key `channels` of schema.yaml."""

from __future__ import annotations

import pytest

from alyx.base.errors import SourceError, SourceFault
from alyx.schema import load, snapshot
from alyx.schema.model import RuleText, Schema

COLLECTIONS = "collections:\n  notes:\n    fields: { id: { type: id, primary: true } }\n"


def read(channels: str) -> Schema:
    return load.loads(f"version: 1\n{channels}{COLLECTIONS}")


def faults_of(channels: str) -> list[SourceFault]:
    with pytest.raises(SourceError) as caught:
        read(channels)
    return caught.value.faults


def test_a_channel_has_a_rule_for_joining_and_one_for_sending() -> None:
    schema = read(
        "channels:\n  room:\n    join: auth.id != null\n    send: auth.role == 'writer'\n  lobby: { join: true, send: false }\n"
    )
    assert list(schema.channels) == ["room", "lobby"]
    room = schema.channels["room"]
    assert (room.name, room.join, room.send) == ("room", RuleText("auth.id != null"), RuleText("auth.role == 'writer'"))
    assert room.join is not None
    assert (room.join.place.line, room.place.line) == (4, 3)
    assert (schema.channels["lobby"].join, schema.channels["lobby"].send) == (RuleText("true"), RuleText("false"))


def test_a_rule_may_be_missing_and_so_may_all_channels() -> None:
    channel = read("channels: { room: {} }\n").channels["room"]
    assert (channel.join, channel.send) == (None, None)
    assert not read("").channels
    assert not read("channels:\n").channels


def test_every_fault_is_told_in_file_order() -> None:
    found = faults_of(
        "channels:\n  Room: {}\n  hall: { jion: 'true', send: 3 }\n  yard:\n  garden: open\n  attic: { join: }\n"
        + f"  {'a' * 64}: {{}}\n"
    )
    assert [(fault.line, fault.path, fault.message, fault.hint) for fault in found] == [
        (3, "channels.Room", "a name has only a-z, 0-9 and _, and starts with a letter", "for example `room`"),
        (4, "channels.hall.jion", "unknown key `jion`", "did you mean `join`?"),
        (4, "channels.hall.send", "must be a rule, not a whole number", 'a rule is text, such as "auth.id != null"'),
        (5, "channels.yard", "must be a map with `join` and `send`, not nothing", None),
        (6, "channels.garden", "must be a map with `join` and `send`, not text", None),
        (7, "channels.attic.join", "must be a rule, not nothing", "leave it out to allow admins only"),
        (8, f"channels.{'a' * 64}", "a name has at most 63 characters", None),
    ]


@pytest.mark.parametrize("value", ["[room]", "room", "3"])
def test_channels_must_be_a_map(value: str) -> None:
    found = faults_of(f"channels: {value}\n")
    assert [(fault.line, fault.path) for fault in found] == [(2, "channels")]
    assert found[0].message.startswith("must be a map, not ")


def test_channels_are_no_keys_without_effect_and_change_no_snapshot() -> None:
    with_channels, without = read("channels: { room: { join: 'true' } }\n"), read("")
    assert load.later_keys(with_channels) == []
    assert snapshot.write(with_channels) == snapshot.write(without)
