"""The channels of a node as one process sees them: its own connections and the members of other processes. No await here.

`channels` decides who may do what and calls; this module keeps the books and tells members and peers. Differences wait for PAUSE
so that many changes become one message; timers and clock are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from orjson import Fragment

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.realtime import channel_wire
from alyx.realtime.channel_wire import Name
from alyx.realtime.fanout import CallLater, Fanout
from alyx.realtime.peers import Relay
from alyx.realtime.presence import LISTED, Member, Presence

PAUSE = 0.05
"""Seconds that a change of a channel's members waits for others."""
_CHUNK = 32_768
"""Bytes of members after which the message to a new peer is cut in two: what is read of it in one go takes a few milliseconds."""
MOST_BYTES = 256 * 2**20
"""Bytes that the members of this process may take; each other process keeps a copy."""
_MEMBER = 1_024
"""Bytes that a member and its part of a channel take besides what is said of it."""
_STEP = 256
"""Members of a lost process that leave in one go."""


class Party(Protocol):
    """One connection, as channels see it. client_id: unique among all connections. ip: its address, for rules."""

    @property
    def client_id(self) -> str:
        """Unique among all connections."""
        ...

    @property
    def identity(self) -> Identity:
        """Who it is now."""
        ...

    @property
    def ip(self) -> str:
        """Its address, for rules."""
        ...

    def send(self, message: bytes) -> None:
        """Hand over one message: the text of a WebSocket frame. Returns at once, and does not raise."""
        ...

    def fail(self, id: str | None, error: AlyxError) -> None:
        """Answer a message by an error."""
        ...


@dataclass(slots=True, eq=False)
class Seat:
    """One connection in one channel. live: it has not left. fresh: it got a listing since the last difference. size: bytes of its
    state."""

    party: Party
    name: Name
    live: bool = True
    fresh: bool = True
    size: int = 0
    may_send: bool = False
    may_send_until: float = 0.0

    def send(self, text: bytes) -> None:
        """Hand a message to the connection."""
        self.party.send(text)


@dataclass(slots=True, eq=False)
class _Room:
    presence: Presence
    seats: dict[str, Seat] = field(default_factory=dict)
    due: bool = False


class Rooms:
    """Who is where. Everything here is called on the event loop."""

    def __init__(self, relay: Relay, call_later: CallLater, now: Callable[[], float], listed: int = LISTED) -> None:
        """listed: members of a channel that are shown."""
        self._relay = relay
        self._call_later = call_later
        self._listed = listed
        self._rooms: dict[str, _Room] = {}
        self._remote: dict[str, dict[tuple[str, str], None]] = {}
        self._coming: dict[str, set[tuple[str, str]]] = {}
        self._leaving: dict[str, list[tuple[str, str]]] = {}
        self._fanout = Fanout(call_later, now)
        self._bytes = 0
        self._counts = {"members": 0, "diffs": 0, "broadcasts": 0, "dropped": 0}

    # Members of this process ------------------------------------------------------------------------------------------------

    def sit(self, party: Party, name: Name, state: bytes, message_id: str | None, seat: Seat | None = None) -> Seat:
        """Put a connection into a channel and answer it with who is there. seat: the one that it has there already, whose state
        is replaced. Raises what `restate` does, and then nothing has changed."""
        if seat is None:
            self._check_room_for(_MEMBER + len(state))
            room = self._room(name.whole)
            seat = room.seats[party.client_id] = Seat(party, name)
            self._counts["members"] += 1
            self._bytes += _MEMBER
        else:
            room = self._rooms[name.whole]
        self.restate(seat, state)
        seat.fresh = True
        listing = room.presence.listing(party.client_id)
        party.send(channel_wire.presence(message_id, name.whole, listing, len(room.presence)))
        return seat

    def restate(self, seat: Seat, state: bytes) -> None:
        """Give a member a new state. Raises AlyxError RATE_LIMITED where the states of a channel would become too large together,
        OVERLOADED where those of the process would."""
        self._check_room_for(len(state) - seat.size)
        member = channel_wire.member(seat.party.client_id, seat.party.identity.id, state)
        if not self._rooms[seat.name.whole].presence.fits(member):
            raise AlyxError("RATE_LIMITED", "The states of this channel's members are too large together.", retry_after=1)
        self._bytes += len(state) - seat.size
        seat.size = len(state)
        self._tell_all(seat, member)

    def _check_room_for(self, more: int) -> None:
        if more > 0 and self._bytes + more > MOST_BYTES:
            raise AlyxError("OVERLOADED", "The server has too many members in channels; try again later.", retry_after=5)

    def size(self, name: Name) -> int:
        """Bytes that whoever joins this channel now is told, about."""
        room = self._rooms.get(name.whole)
        return room.presence.size if room is not None else 0

    def rename(self, seat: Seat) -> None:
        """Its connection may be another user's now: show that."""
        member = self._rooms[seat.name.whole].presence.get(seat.party.client_id)
        if member is not None and member.user_id != seat.party.identity.id:
            state = json.dumps(json.loads(member.text)["state"])
            self._tell_all(seat, channel_wire.member(member.id, seat.party.identity.id, state))

    def leave(self, seat: Seat) -> None:
        """Take a connection out of a channel; the others hear of it."""
        seat.live = False
        whole, client_id = seat.name.whole, seat.party.client_id
        room = self._rooms[whole]
        del room.seats[client_id]
        self._counts["members"] -= 1
        self._bytes -= _MEMBER + seat.size
        room.presence.drop(client_id)
        self._relay.send({"drop": [whole, client_id]})
        self._changed(whole, room)

    def say(self, seat: Seat, event: str, data: bytes) -> None:
        """Send to all other members. Raises AlyxError RATE_LIMITED where so much waits already that it would be late anyway."""
        if self._fanout.full:
            raise AlyxError("RATE_LIMITED", "Too many messages wait to be delivered; try again later.", retry_after=1)
        self._speak(seat.name.whole, event, data, seat.party.client_id)
        self._relay.send({"say": [seat.name.whole, event, Fragment(data), seat.party.client_id]})

    def seats(self, kinds: set[str]) -> Iterator[Seat]:
        """The connections of this process that are in channels of these kinds."""
        for room in list(self._rooms.values()):
            for seat in list(room.seats.values()):
                if seat.name.kind in kinds:
                    yield seat

    # Members of other processes ---------------------------------------------------------------------------------------------

    def came(self, peer: str) -> None:
        """Tell a process who is here; it will do the same."""
        self._coming.pop(peer, None)
        self._leaving.pop(peer, None)
        rows: list[tuple[str, Fragment]] = []
        size = 0
        for whole, room in self._rooms.items():
            for client_id in room.seats:
                member = room.presence.get(client_id)
                if member is None:
                    continue
                rows.append((whole, Fragment(member.text)))
                size += len(whole) + len(member.text)
                if size >= _CHUNK:
                    self._relay.send({"here": rows, "more": True}, peer)
                    rows, size = [], 0
        self._relay.send({"here": rows, "more": False}, peer)

    def heard(self, peer: str, body: Any) -> None:
        """A message of another process. Raises ValueError for one that is none of ours."""
        match body:
            case {"put": [str(whole), dict(member)]}:
                self._put(peer, whole, _member(member, peer))
            case {"drop": [str(whole), str(client_id)]}:
                self._drop(peer, whole, client_id)
            case {"say": [str(whole), str(event), data, str(sender)]}:
                self._speak(whole, event, json.dumps(data), sender)
            case {"here": list(rows), "more": bool(more)}:
                self._take(peer, rows, more=more)
            case _:
                raise ValueError("no message of a channel")

    def lost(self, peer: str) -> None:
        """A process is gone, and so are its members, unless it comes again before all of them have left."""
        self._coming.pop(peer, None)
        self._leaving[peer] = list(self._remote.get(peer, ()))
        self._let_go(peer)

    def _let_go(self, peer: str) -> None:
        leaving = self._leaving.get(peer)
        if leaving is None:
            return
        for whole, client_id in leaving[-_STEP:]:
            self._drop(peer, whole, client_id)
        del leaving[-_STEP:]
        if leaving:
            self._call_later(0, lambda: self._let_go(peer))
        else:
            del self._leaving[peer]

    def _take(self, peer: str, rows: list[Any], *, more: bool) -> None:
        """A part of all members of a process; with the last part, those that it did not name are gone."""
        coming = self._coming.setdefault(peer, set())
        for row in rows:
            match row:
                case [str(whole), dict(member)]:
                    found = _member(member, peer)
                    coming.add((whole, found.id))
                    self._put(peer, whole, found)
                case _:
                    raise ValueError("no member of a channel")
        if not more:
            del self._coming[peer]
            for whole, client_id in [key for key in self._remote.get(peer, ()) if key not in coming]:
                self._drop(peer, whole, client_id)

    def _put(self, peer: str, whole: str, member: Member) -> None:
        room = self._room(whole)
        known = room.presence.get(member.id)
        if known is not None and (known.peer != peer or known == member):
            return  # ids are unique, so what another process says of a member that is not its own cannot be meant
        room.presence.put(member)
        self._remote.setdefault(peer, {})[whole, member.id] = None
        self._changed(whole, room)

    def _drop(self, peer: str, whole: str, client_id: str) -> None:
        remote = self._remote.get(peer, {})
        if (whole, client_id) not in remote:
            return
        del remote[whole, client_id]
        if not remote:
            del self._remote[peer]
        room = self._rooms[whole]
        room.presence.drop(client_id)
        self._changed(whole, room)

    # Telling ----------------------------------------------------------------------------------------------------------------

    def numbers(self) -> Mapping[str, float]:
        """Figures for metrics; those that end in _total only ever grow."""
        return {
            "channels": float(len(self._rooms)),
            "channel_members": float(self._counts["members"]),
            "channel_members_elsewhere": float(sum(len(remote) for remote in self._remote.values())),
            "channel_bytes": float(self._bytes),
            "channel_diffs_total": float(self._counts["diffs"]),
            "channel_broadcasts_total": float(self._counts["broadcasts"]),
            "channel_broadcasts_dropped_total": float(self._counts["dropped"]),
            "channel_texts_waiting": float(self._fanout.waiting),
            **self._relay.numbers(),
        }

    def _room(self, whole: str) -> _Room:
        room = self._rooms.get(whole)
        if room is None:
            room = self._rooms[whole] = _Room(Presence(self._listed))
        return room

    def _tell_all(self, seat: Seat, member: Member) -> None:
        whole = seat.name.whole
        room = self._rooms[whole]
        room.presence.put(member)
        self._relay.send({"put": [whole, Fragment(member.text)]})
        self._changed(whole, room)

    def _changed(self, whole: str, room: _Room) -> None:
        if not room.seats:
            room.presence.forget()
            if not len(room.presence):
                del self._rooms[whole]
        elif room.presence.changed and not room.due:
            room.due = True
            self._call_later(PAUSE, lambda: self._settle_due(whole, room))

    def _settle_due(self, whole: str, room: _Room) -> None:
        """The pause is over. A room that was left and made anew meanwhile has a timer of its own."""
        if room.presence.changed and self._fanout.overfull:
            self._call_later(PAUSE, lambda: self._settle_due(whole, room))  # until then more is gathered, and costs nothing more
            return
        room.due = False
        if room.presence.changed:
            self._settle(whole, room)

    def _settle(self, whole: str, room: _Room) -> None:
        """Send what has gathered."""
        known, fresh = room.presence.settle()
        self._counts["diffs"] += 1
        groups: tuple[list[Seat], list[Seat]] = ([], [])
        for seat in room.seats.values():
            groups[seat.fresh].append(seat)
            seat.fresh = False
        for difference, seats in zip((known, fresh), groups, strict=True):
            told = [seat for seat in seats if not difference.concerns_only(seat.party.client_id)]
            if told and (difference.joins or difference.leaves):
                self._fanout.push(channel_wire.presence_diff(whole, difference), told)

    def _speak(self, whole: str, event: str, data: bytes, sender: str) -> None:
        room = self._rooms.get(whole)
        if room is None or not room.seats:
            return
        if self._fanout.full:  # it came from another process, which cannot know what waits here
            self._counts["dropped"] += 1
            return
        if room.presence.is_untold(sender):
            self._settle(whole, room)  # whoever hears a member knows that it is there
        self._counts["broadcasts"] += 1
        text = channel_wire.broadcast(whole, event, data, sender)
        self._fanout.push(text, [seat for seat in room.seats.values() if seat.party.client_id != sender])


def _member(value: Mapping[str, Any], peer: str) -> Member:
    """A member as another process tells of it. Raises ValueError."""
    match value:
        case {"id": str(client_id), "user_id": str() | None as user_id, "state": state}:
            return channel_wire.member(client_id, user_id, json.dumps(state), peer)
    raise ValueError("no member of a channel")
