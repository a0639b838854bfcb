"""What a client says over a WebSocket, as far as its form goes (contract §5): text -> message. Pure.

Called by the session, which knows what messages mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alyx.base import json
from alyx.base.errors import AlyxError

_DEPTH = 32
_LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class Message:
    """A message as read. id: a text or a number, given back in the answer."""

    id: Any
    kind: str
    payload: Mapping[str, Any]


class Unreadable(Exception):
    """A message that means nothing. id: of the message, as far as it has one. error: INVALID_MESSAGE or INVALID_PAYLOAD."""

    def __init__(self, message_id: object, error: AlyxError) -> None:
        super().__init__(error.message)
        self.id = message_id
        self.error = error


def read_message(text: str) -> Message:
    """Read one message. Raises Unreadable."""
    try:
        given = json.parse(text.encode(), max_depth=_DEPTH)
    except (json.InvalidJSON, UnicodeEncodeError) as error:
        raise Unreadable(_id_of(text), AlyxError("INVALID_MESSAGE", f"The message cannot be read: {_why(error)}.")) from None
    if not isinstance(given, dict):
        raise Unreadable(None, AlyxError("INVALID_MESSAGE", "A message is an object."))
    message_id = given.get("id")
    if not _is_id(message_id):
        text = f"The id of a message is a text of at most {_LONGEST_ID} characters, or a number."
        raise Unreadable(None, AlyxError("INVALID_MESSAGE", text))
    if not isinstance(given.get("type"), str):
        raise Unreadable(message_id, AlyxError("INVALID_MESSAGE", "A message has a type, which is a text."))
    payload = given.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise Unreadable(message_id, AlyxError("INVALID_PAYLOAD", "The payload of a message is an object."))
    return Message(message_id, given["type"], payload or {})


def _id_of(text: str) -> object:
    """The id of a message whose numbers are too large, so that its sender hears of it."""
    try:
        given = json.parse(text.encode(), max_depth=_DEPTH, big_integers=True)
    except (json.InvalidJSON, UnicodeEncodeError):
        return None
    message_id = given.get("id") if isinstance(given, dict) else None
    return message_id if _is_id(message_id) else None


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, json.InvalidJSON) else "not valid text"


def _is_id(value: Any) -> bool:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and json.INT_MIN <= value <= json.INT_MAX):
        return True
    if not isinstance(value, str) or len(value) > _LONGEST_ID:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
