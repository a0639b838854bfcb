"""Reads the payloads of channel messages and writes their answers (contract §5). Pure.

Reading raises AlyxError INVALID_PAYLOAD that names the member which is missing, mistyped, too large or unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from orjson import Fragment

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.realtime import wire
from alyx.realtime.presence import Difference, Member
from alyx.records import query

LONGEST_KIND = 63
"""Bytes: that of every name in schema.yaml."""
LONGEST_TOPIC = 128
"""Bytes of what stands behind the colon."""
LARGEST_STATE = 4_096
"""Bytes of a member's state as compact JSON."""
LONGEST_EVENT = 64
"""Bytes of a broadcast's event."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]").search


class Name(NamedTuple):
    """A channel's name: `whole` is `kind` or `kind:topic`; topic is empty where there is none."""

    whole: str
    kind: str
    topic: str


def split(whole: str) -> Name:
    """A channel's name in its parts."""
    kind, _, topic = whole.partition(":")
    return Name(whole, kind, topic)


def read_name(payload: Mapping[str, Any], *others: str) -> Name:
    """The member `channel`. others: what else may stand in the payload."""
    for key in payload:
        if key != "channel" and key not in others:
            raise _invalid(f"unknown member {query.quote(key)}; known: {', '.join(('channel', *others))}")
    whole = payload.get("channel")
    if not isinstance(whole, str):
        raise _invalid("channel must be a text")
    name = split(whole)
    if not 1 <= _length(name.kind, "channel") <= LONGEST_KIND or _CONTROL(whole):
        raise _invalid("channel must be the name of a channel, such as room or room:42")
    if ":" in whole and not 1 <= _length(name.topic, "channel") <= LONGEST_TOPIC:
        raise _invalid(f"channel must have a topic of 1 to {LONGEST_TOPIC} bytes behind the colon")
    return name


def read_state(payload: Mapping[str, Any], *, required: bool) -> bytes:
    """The member `state` as JSON, `null` if it is not required and not there."""
    if required and "state" not in payload:
        raise _invalid("state is missing")
    state = _encode(payload.get("state"), "state")
    if len(state) > LARGEST_STATE:
        raise _invalid(f"state must have at most {LARGEST_STATE:,} bytes, and has {len(state):,}")
    return state


def read_broadcast(payload: Mapping[str, Any]) -> tuple[str, bytes]:
    """The members `event` and `data`, the latter as JSON."""
    event = payload.get("event")
    if not isinstance(event, str) or not 1 <= _length(event, "event") <= LONGEST_EVENT:
        raise _invalid(f"event must be a text of 1 to {LONGEST_EVENT} bytes")
    if "data" not in payload:
        raise _invalid("data is missing")
    return event, _encode(payload["data"], "data")


def member(member_id: str, user_id: str | None, state: bytes, peer: str = "") -> Member:
    """A member with its text. state: JSON."""
    text = json.dumps({"id": member_id, "user_id": user_id, "state": Fragment(state)})
    return Member(member_id, user_id, text, peer)


def presence(message_id: str | None, channel: str, members: Iterable[Member], total: int) -> bytes:
    """The answer to `join`. total: of all members; it stands in the text if not all are listed."""
    texts = [Fragment(item.text) for item in members]
    more = {"total": total} if total > len(texts) else {}
    return wire.message("presence", {"channel": channel, "members": texts, **more}, message_id)


def presence_diff(channel: str, difference: Difference) -> bytes:
    """Who came, or has a new state, and who went."""
    joins = [Fragment(item.text) for item in difference.joins]
    return wire.message("presence_diff", {"channel": channel, "joins": joins, "leaves": difference.leaves})


def left(message_id: str | None, channel: str) -> bytes:
    """The answer to `leave`."""
    return wire.message("left", {"channel": channel}, message_id)


def expelled(channel: str) -> bytes:
    """To a member that the channel's rule no longer lets in."""
    return wire.message("left", {"channel": channel, "code": "FORBIDDEN"})


def broadcast(channel: str, event: str, data: bytes, sender: str) -> bytes:
    """What the other members get. data: JSON. sender: the member's id."""
    payload = {"channel": channel, "event": event, "data": Fragment(data), "from": sender}
    return wire.message("broadcast", payload)


def _encode(value: Any, name: str) -> bytes:
    try:
        return json.dumps(value)
    except TypeError:  # a lone surrogate, or an integer beyond 64 bit
        raise _invalid(f"{name} holds what JSON cannot carry: a lone surrogate, or an integer beyond 64 bit") from None


def _length(text: str, name: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise _invalid(f"{name} holds a lone surrogate") from None


def _invalid(message: str) -> AlyxError:
    return AlyxError("INVALID_PAYLOAD", message[0].upper() + message[1:] + ".")
