"""Judges who may be in a channel and who may speak there, by the rules of schema.yaml (contract §5).

Made by `app` for each schema that is served, and given to channels. A rule that does not look into collections is judged in
Python; one that does is asked of the database, in a read of its own, as it stands at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeVar

from alyx.base.identity import Identity
from alyx.database.work import Statement, Work
from alyx.realtime.channels import Kind
from alyx.records.access import Access
from alyx.records.plan import Planner
from alyx.rules.book import ChannelRules, channel_record

T = TypeVar("T")


class Database(Protocol):
    """What judging needs of the engine."""

    async def read(self, work: Callable[[], Work[T]]) -> T:
        """Run work in one read transaction. Raises DatabaseError."""
        ...


class Admission:
    """The rules of all kinds of channels of one schema."""

    def __init__(self, planner: Planner, database: Database) -> None:
        """planner: of the schema that is served."""
        self._planner = planner
        self._database = database
        self._rules: dict[str, ChannelRules] = {}
        for name in planner.schema.channels:
            rules = planner.book.channel(name)
            if rules is not None:
                self._rules[name] = rules
        self.kinds: Mapping[str, Kind] = {name: _kind(rules) for name, rules in self._rules.items()}

    async def judge(self, identity: Identity, ip: str, kind: str, name: str, rule: Literal["join", "send"]) -> bool:
        """Whether a rule holds for a channel. kind: one of `kinds`. name: whole. Raises DatabaseError."""
        found = self._rules[kind][rule]
        access = Access(identity, ip=ip)
        if not found.looks_elsewhere:
            return access.judge(found, channel_record(name))
        query = self._planner.plan_rule(found, access)
        statement = query.bind(access.binds(found) | found.channel_binds(name))
        return bool(await self._database.read(lambda: _rows(statement)))


def _rows(statement: Statement) -> Work[int]:
    return len((yield statement))


def _kind(rules: ChannelRules) -> Kind:
    join = rules.join
    return Kind(
        watched=join.elsewhere,
        timed=join.looks_elsewhere or join.uses_time,
        keep_send=rules.send.looks_elsewhere,
    )
