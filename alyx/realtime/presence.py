"""Who is in one channel, and what those who listen here have been told of it. Pure: no clock, no loop.

`channels` puts members in and takes them out as things happen, and settles from time to time: what changed since the last time
becomes one difference. A join and a leave in between vanish, and of several states the last one stands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

LISTED = 1_000
"""Members of a channel that are shown. Those who come later are in it as well; they move up as others leave."""
LISTED_BYTES = 1_048_576
"""Bytes of those who are shown, together: what a newcomer has to be told at once."""


@dataclass(frozen=True, slots=True)
class Member:
    """One connection in a channel. text: `{"id","user_id","state"}` as JSON. peer: the process that it is connected to, "" for
    this one."""

    id: str
    user_id: str | None
    text: bytes
    peer: str = ""


class Difference(NamedTuple):
    """What a listener does to the list it holds: take out `leaves` (ids), then put in `joins`, each replacing its former self."""

    joins: list[Member]
    leaves: list[str]

    def concerns_only(self, member_id: str) -> bool:
        """Whether it holds nobody else."""
        return len(self.joins) + len(self.leaves) == 1 and member_id in (*self.leaves, *(item.id for item in self.joins))


class Presence:
    """The members of one channel, in the order in which they came."""

    def __init__(self, listed: int = LISTED) -> None:
        """listed: how many are shown at most."""
        self._listed = listed
        self._shown: dict[str, Member] = {}
        self._waiting: OrderedDict[str, Member] = OrderedDict()
        self._told: dict[str, Member | None] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._shown) + len(self._waiting)

    def __iter__(self) -> Iterator[Member]:
        """All members, those that are not shown last."""
        yield from self._shown.values()
        yield from self._waiting.values()

    def get(self, member_id: str) -> Member | None:
        """A member, shown or not."""
        return self._shown.get(member_id) or self._waiting.get(member_id)

    def fits(self, member: Member) -> bool:
        """Whether somebody who is shown may have this new state; a newcomer always may, for it can wait."""
        former = self._shown.get(member.id)
        return former is None or len(member.text) <= len(former.text) or self._bytes_with(member) <= LISTED_BYTES

    def put(self, member: Member) -> None:
        """Somebody came, or has a new state."""
        if member.id in self._shown or (member.id not in self._waiting and not self._waiting and self._has_place(member)):
            self._show(member)
        else:
            self._waiting[member.id] = member

    def drop(self, member_id: str) -> None:
        """Somebody went; whoever waits longest is shown instead. Nothing happens if there is no such member."""
        if self._waiting.pop(member_id, None) is not None or member_id not in self._shown:
            return
        self._note(member_id)
        self._bytes -= len(self._shown.pop(member_id).text)
        while self._waiting:
            first = next(iter(self._waiting.values()))
            if not self._has_place(first):
                break
            del self._waiting[first.id]
            self._show(first)

    def listing(self, member_id: str) -> list[Member]:
        """What a newcomer is told: those who are shown, and itself."""
        own = self._waiting.get(member_id)
        return [*self._shown.values(), own] if own is not None else list(self._shown.values())

    @property
    def size(self) -> int:
        """Bytes of those who are shown."""
        return self._bytes

    @property
    def changed(self) -> bool:
        """Whether there is something to settle."""
        return bool(self._told)

    def is_untold(self, member_id: str) -> bool:
        """Whether somebody came since the last settling, so that those who listen do not know of them yet."""
        return member_id in self._told and self._told[member_id] is None

    def settle(self) -> tuple[Difference, Difference]:
        """The difference for those who were told everything up to the last settling, and that for those who got a listing since.

        The second also takes out those who came and went in between: a listing may have shown them. One text serves all
        newcomers, so it may tell of what some of them know already.
        """
        known, fresh = Difference([], []), Difference([], [])
        for member_id, before in self._told.items():
            now = self._shown.get(member_id)
            if now is not None:
                fresh.joins.append(now)
                if now != before:
                    known.joins.append(now)
            else:
                fresh.leaves.append(member_id)
                if before is not None:
                    known.leaves.append(member_id)
        self._told.clear()
        return known, fresh

    def forget(self) -> None:
        """Nobody listens: there is nothing to tell."""
        self._told.clear()

    def _has_place(self, member: Member) -> bool:
        return len(self._shown) < self._listed and self._bytes_with(member) <= LISTED_BYTES

    def _bytes_with(self, member: Member) -> int:
        former = self._shown.get(member.id)
        return self._bytes + len(member.text) - (len(former.text) if former is not None else 0)

    def _show(self, member: Member) -> None:
        self._note(member.id)
        self._bytes = self._bytes_with(member)
        self._shown[member.id] = member

    def _note(self, member_id: str) -> None:
        self._told.setdefault(member_id, self._shown.get(member_id))
