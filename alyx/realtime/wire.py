"""The texts of messages: WebSocket frames and events of a stream (contract §5). Pure.

What all receivers of a delta share is made once; what is one receiver's own (subscription id, mark of the token) is spliced in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from alyx.base import json
from alyx.realtime.deltas import Delta


class Wire(Protocol):
    """How a session says things."""

    def snapshot(self, message_id: object, sub: str, texts: Sequence[str], total: int, cursor: str, *, reset: bool) -> bytes:
        """All documents of a view."""
        ...

    def resumed(self, message_id: object, sub: str, cursor: str) -> bytes:
        """A token was good; what was missed follows."""
        ...

    def delta(self, sub: bytes, delta: Delta, mark: bytes) -> bytes:
        """A change of a view."""
        ...

    def error(self, message_id: object, code: str, message: str, extra: Mapping[str, Any]) -> bytes:
        """What went wrong; extra: more members of the payload."""
        ...


def _snapshot(sub: str, texts: Sequence[str], total: int, cursor: str, *, reset: bool) -> str:
    again = ',"reset":true' if reset else ""
    return f'{{"subscription_id":"{sub}","docs":[{",".join(texts)}],"total":{total},"cursor":"{cursor}"{again}}}'


def _failure(code: str, message: str, extra: Mapping[str, Any]) -> bytes:
    return json.dumps({"code": code, "message": message, **extra})


def message(kind: str, payload: Mapping[str, Any] | None = None, message_id: object = None) -> bytes:
    """`{"id"?, "type", "payload"?}`."""
    whole: dict[str, Any] = {} if message_id is None else {"id": message_id}
    whole["type"] = kind
    if payload is not None:
        whole["payload"] = payload
    return json.dumps(whole)


class Frames:
    """Messages of a WebSocket."""

    def snapshot(self, message_id: object, sub: str, texts: Sequence[str], total: int, cursor: str, *, reset: bool) -> bytes:
        """See Wire."""
        return f'{_id(message_id)}"type":"snapshot","payload":{_snapshot(sub, texts, total, cursor, reset=reset)}}}'.encode()

    def resumed(self, message_id: object, sub: str, cursor: str) -> bytes:
        """See Wire."""
        return message("resumed", {"subscription_id": sub, "cursor": cursor}, message_id)

    def delta(self, sub: bytes, delta: Delta, mark: bytes) -> bytes:
        """See Wire."""
        return b'{"type":"delta","payload":{"subscription_id":"%b","changes":%b,"cursor":"%b%b"}}' % (
            sub,
            delta.body,
            delta.place.encode(),
            mark,
        )

    def error(self, message_id: object, code: str, message: str, extra: Mapping[str, Any]) -> bytes:
        """See Wire."""
        return f'{_id(message_id)}"type":"error","payload":'.encode() + _failure(code, message, extra) + b"}"


class Events:
    """Events of a stream (the HTML standard's server-sent events); `id` is the cursor, so that a browser resumes by itself."""

    def snapshot(self, message_id: object, sub: str, texts: Sequence[str], total: int, cursor: str, *, reset: bool) -> bytes:
        """See Wire."""
        data = _snapshot(sub, texts, total, cursor, reset=reset)
        return f"event: snapshot\nid: {cursor}\ndata: {data}\n\n".encode()

    def resumed(self, message_id: object, sub: str, cursor: str) -> bytes:
        """See Wire."""
        return f'event: resumed\nid: {cursor}\ndata: {{"subscription_id":"{sub}","cursor":"{cursor}"}}\n\n'.encode()

    def delta(self, sub: bytes, delta: Delta, mark: bytes) -> bytes:
        """See Wire."""
        cursor = delta.place.encode() + mark
        return b'event: delta\nid: %b\ndata: {"subscription_id":"%b","changes":%b,"cursor":"%b"}\n\n' % (
            cursor,
            sub,
            delta.body,
            cursor,
        )

    def error(self, message_id: object, code: str, message: str, extra: Mapping[str, Any]) -> bytes:
        """See Wire."""
        return b"event: error\ndata: " + _failure(code, message, extra) + b"\n\n"


def _id(message_id: object) -> str:
    return "{" if message_id is None else f'{{"id":{json.dumps(message_id).decode()},'
