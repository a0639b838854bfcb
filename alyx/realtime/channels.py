"""Channels: presence and messages between clients, which nobody keeps (contract §5).

Called by sessions with the messages `join`, `leave`, `state` and `broadcast`, and by Live when an identity, a collection or the
schema changes. It judges, and asks `rooms` to do what is allowed; it never reads or writes a table itself.

Who is in a channel stays allowed to be there: it is judged again when its identity changes, when a collection changes that the
join rule looks into, and once a minute. Judging awaits, and in the meantime connections end and rights change; so whatever was
judged is looked at once more before it counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from alyx.base.bucket import Bucket
from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.database.work import DatabaseError
from alyx.realtime import channel_wire
from alyx.realtime.channel_wire import Name
from alyx.realtime.fanout import CallLater
from alyx.realtime.peers import Alone, Relay
from alyx.realtime.rooms import Party, Rooms, Seat

__all__ = ["Channels", "Judge", "Kind", "Party"]

MOST_CHANNELS = 100
"""Channels that one connection may be in."""
LARGEST_STATES = 65_536
"""Bytes of all states of one connection."""
LISTED_RATE = 262_144.0
"""Bytes of members that one connection is told per second because it joins, and four times that at once: a join of a few bytes is
answered by up to a megabyte."""
AGAIN = 0.5
"""Seconds that lie at least between two rounds of judging members again."""
BEAT = 60.0
"""Seconds after which members are judged again though nothing is known to have changed, where the rule may see the clock."""
SEND_KEPT = 1.0
"""Seconds that the verdict of a `send` rule that looks into collections is kept."""
_STEP = 16

Judge: TypeAlias = Callable[[Identity, str, str, str, Literal["join", "send"]], Awaitable[bool]]
"""(identity, ip, kind, whole name, rule) -> whether the rule holds. Raises DatabaseError where it cannot be judged now."""

_log = logging.getLogger("alyx.realtime")


@dataclass(frozen=True, slots=True)
class Kind:
    """What there is to know of the rules of one kind. watched: collections that `join` looks into. timed: `join` is to be judged
    again each minute. keep_send: `send` looks into collections, so that its verdict is kept for a second."""

    watched: frozenset[str] = frozenset()
    timed: bool = False
    keep_send: bool = False


@dataclass(slots=True, eq=False)
class _Holder:
    """One connection that has sent a message about channels. gone: it is lost. listing: bytes of members that it may be told."""

    party: Party
    seats: dict[str, Seat] = field(default_factory=dict)
    gone: bool = False
    listing: Bucket = field(default_factory=lambda: Bucket(LISTED_RATE, 4 * LISTED_RATE))


class Channels:
    """All channels of a process. Everything is called on one event loop."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        judge: Judge,
        relay: Relay | None = None,
        *,
        call_later: CallLater | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """kinds, judge: see `admission`. relay: the way to the other processes of the node, None if there are none. call_later
        and now: the loop's, where tests do not give their own."""
        self._kinds = kinds
        self._judge = judge
        self._relay = relay or Alone()
        self._now = now
        self._call_later = call_later or _loops_call_later
        self._rooms = Rooms(self._relay, self._call_later, now)
        self._holders: dict[str, _Holder] = {}
        self._again: set[str] = set()
        self._generation = 0
        self._round: asyncio.Task[None] | None = None
        self._due = False
        self._last_round = -AGAIN
        self._running = False

    @property
    def watched(self) -> frozenset[str]:
        """The collections whose changes `elsewhere_changed` wants to hear of."""
        return frozenset().union(*(kind.watched for kind in self._kinds.values()))

    async def start(self) -> None:
        """Look for the other processes, and begin to judge by the clock."""
        self._running = True
        await self._relay.start(self._rooms)
        self._call_later(BEAT, self._beat)

    async def stop(self) -> None:
        """Leave the other processes; nothing is judged any more."""
        self._running = False
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
        await self._relay.stop()

    def numbers(self) -> Mapping[str, float]:
        """Figures for metrics."""
        return self._rooms.numbers()

    # What clients say -------------------------------------------------------------------------------------------------------

    async def receive(self, party: Party, kind: str, message_id: str | None, payload: Mapping[str, Any]) -> None:
        """One message of a client; the next one of the same client must wait for it. kind: `join, leave, state, broadcast`.

        Raises AlyxError INVALID_PAYLOAD, FORBIDDEN, SUBSCRIPTION_LIMIT_REACHED, RATE_LIMITED or OVERLOADED, and DatabaseError.
        """
        holder = self._holders.get(party.client_id)
        if holder is None:
            holder = self._holders[party.client_id] = _Holder(party)
        if kind == "join":
            await self._join(holder, message_id, payload)
        elif kind == "leave":
            self._leave(holder, message_id, payload)
        elif kind == "state":
            name, state = channel_wire.read_name(payload, "state"), channel_wire.read_state(payload, required=True)
            seat = _seat(holder, name)
            _check_states(holder, name, state)
            self._rooms.restate(seat, state)
        elif kind == "broadcast":
            await self._broadcast(holder, payload)
        else:
            raise ValueError(kind)

    def gone(self, party: Party) -> None:
        """A connection is lost: it leaves all its channels."""
        holder = self._holders.pop(party.client_id, None)
        if holder is not None:
            holder.gone = True
            for seat in holder.seats.values():
                self._rooms.leave(seat)

    async def _join(self, holder: _Holder, message_id: str | None, payload: Mapping[str, Any]) -> None:
        name, state = channel_wire.read_name(payload, "state"), channel_wire.read_state(payload, required=False)
        if name.whole not in holder.seats and len(holder.seats) >= MOST_CHANNELS:
            raise AlyxError("SUBSCRIPTION_LIMIT_REACHED", f"A connection may be in {MOST_CHANNELS} channels at once.")
        _check_states(holder, name, state)
        generation = self._generation
        allowed = await self._admits(holder, name)
        if holder.gone:
            return
        seat = holder.seats.get(name.whole)
        if not allowed:
            if seat is not None:
                self._expel(holder, seat)
            raise _forbidden()
        self._check_listing(holder, name)
        holder.seats[name.whole] = self._rooms.sit(holder.party, name, state, message_id, seat)
        if generation != self._generation:
            self._judge_later({name.kind})  # what changed while this was judged came too early for the member to be found

    def _check_listing(self, holder: _Holder, name: Name) -> None:
        """Count what a connection is told by a join. Raises AlyxError RATE_LIMITED."""
        if not holder.listing.take(self._now(), self._rooms.size(name)):
            raise AlyxError("RATE_LIMITED", "You join too many large channels; try again later.", retry_after=1)

    def _leave(self, holder: _Holder, message_id: str | None, payload: Mapping[str, Any]) -> None:
        name = channel_wire.read_name(payload)
        seat = holder.seats.pop(name.whole, None)
        if seat is not None:
            self._rooms.leave(seat)
        holder.party.send(channel_wire.left(message_id, name.whole))

    async def _broadcast(self, holder: _Holder, payload: Mapping[str, Any]) -> None:
        name = channel_wire.read_name(payload, "event", "data")
        event, data = channel_wire.read_broadcast(payload)
        seat = _seat(holder, name)
        if not await self._may_send(seat):
            raise _forbidden()
        if seat.live:
            self._rooms.say(seat, event, data)
        elif not holder.gone:
            raise _forbidden()

    # Who may ----------------------------------------------------------------------------------------------------------------

    async def _admits(self, holder: _Holder, name: Name) -> bool:
        """Whether the join rule lets the connection in, as whoever it is when the verdict is there."""
        while True:
            identity = holder.party.identity
            allowed = await self._judged(holder.party, identity, name, "join")
            if not allowed or holder.gone or holder.party.identity is identity:
                return allowed

    async def _may_send(self, seat: Seat) -> bool:
        kind = self._kinds.get(seat.name.kind)
        if kind is not None and kind.keep_send and self._now() < seat.may_send_until:
            return seat.may_send
        while True:
            identity = seat.party.identity
            seat.may_send = await self._judged(seat.party, identity, seat.name, "send")
            if seat.party.identity is identity:
                seat.may_send_until = self._now() + SEND_KEPT
                return seat.may_send

    async def _judged(self, party: Party, identity: Identity, name: Name, rule: Literal["join", "send"]) -> bool:
        return name.kind in self._kinds and await self._judge(identity, party.ip, name.kind, name.whole, rule)

    async def judge_again(self, party: Party) -> None:
        """The identity of a connection has changed: it leaves the channels that it may no longer be in, and is told so."""
        holder = self._holders.get(party.client_id)
        if holder is None:
            return
        for seat in list(holder.seats.values()):
            seat.may_send_until = 0.0
            await self._judge_seat(seat)
            if seat.live:
                self._rooms.rename(seat)

    def elsewhere_changed(self, collections: Iterable[str]) -> None:
        """Collections have changed: members whose join rule looks into one of them are judged again, at most each half second."""
        changed = frozenset(collections)
        kinds = {name for name, kind in self._kinds.items() if not changed.isdisjoint(kind.watched)}
        if kinds:
            self._judge_later(kinds)

    def adopt(self, kinds: Mapping[str, Kind], judge: Judge) -> None:
        """Go on by other rules: the schema was edited. All members are judged again; a kind that is gone lets nobody stay."""
        former = set(self._kinds)
        self._kinds, self._judge = kinds, judge
        for holder in self._holders.values():
            for seat in holder.seats.values():
                seat.may_send_until = 0.0
        self._judge_later(former | set(kinds))

    def _beat(self) -> None:
        if not self._running:
            return
        self._call_later(BEAT, self._beat)
        kinds = {name for name, kind in self._kinds.items() if kind.timed}
        if kinds:
            self._judge_later(kinds)

    def _judge_later(self, kinds: set[str]) -> None:
        self._generation += 1
        self._again |= kinds
        if not self._due and self._round is None:
            self._due = True
            self._call_later(max(0.0, self._last_round + AGAIN - self._now()), self._begin_round)

    def _begin_round(self) -> None:
        self._due = False
        if not self._running:
            return
        self._last_round = self._now()
        kinds, self._again = self._again, set()
        self._round = asyncio.ensure_future(self._judge_all(kinds))
        self._round.add_done_callback(self._end_round)

    def _end_round(self, task: asyncio.Task[None]) -> None:
        self._round = None
        if self._again and self._running and not task.cancelled():
            self._judge_later(set())

    async def _judge_all(self, kinds: set[str]) -> None:
        failed = 0
        for number, seat in enumerate(list(self._rooms.seats(kinds))):
            if seat.live:
                failed += not await self._judge_seat(seat)
            if number % _STEP == _STEP - 1:
                await asyncio.sleep(0)  # verdicts are fast, so that awaiting one need not let anybody else in
        if failed:
            _log.warning("%d members of channels could not be judged; they will be again", failed)

    async def _judge_seat(self, seat: Seat) -> bool:
        """Take a member out that may no longer be there. False if it cannot be judged now: it is judged in the next round."""
        holder = self._holders.get(seat.party.client_id)
        if holder is None:
            return True
        try:
            allowed = await self._admits(holder, seat.name)
        except Exception as error:  # whatever it is, it must not end the round for the others
            if not isinstance(error, DatabaseError):
                _log.exception("a rule of the channels `%s` failed", seat.name.kind)
            self._judge_later({seat.name.kind})
            return False
        if not allowed and seat.live:
            self._expel(holder, seat)
        return True

    def _expel(self, holder: _Holder, seat: Seat) -> None:
        del holder.seats[seat.name.whole]
        self._rooms.leave(seat)
        holder.party.send(channel_wire.expelled(seat.name.whole))


def _check_states(holder: _Holder, name: Name, state: bytes) -> None:
    """Raises AlyxError where a new state in this channel makes all of a connection too large."""
    others = sum(seat.size for whole, seat in holder.seats.items() if whole != name.whole)
    if others + len(state) > LARGEST_STATES:
        raise AlyxError("SUBSCRIPTION_LIMIT_REACHED", f"The states of a connection may have {LARGEST_STATES} bytes together.")


def _seat(holder: _Holder, name: Name) -> Seat:
    seat = holder.seats.get(name.whole)
    if seat is None:
        raise AlyxError("FORBIDDEN", "Join the channel first.")
    return seat


def _forbidden() -> AlyxError:
    """The same for a rule that refuses and for a channel that does not exist."""
    return AlyxError("FORBIDDEN", "You may not do this in this channel.")


def _loops_call_later(delay: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(delay, call)
