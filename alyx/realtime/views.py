"""Who asks the same, and what a change means to them (design «Realtime», hard-parts §2.1, §2.2). Pure.

A View is one question as asked by all whose rights have the same shape; a Group are those among them whose auth values that occur
in it are the same too, so they see the very same documents. A change is judged once per view with nobody's values, and then
only for the groups whose values stand in the old or the new document. A view that images cannot decide keeps, per group, what its
members hold (see windows.py), and asks the database again.

Made and filled by `live`, asked by the pump. Awaits nothing and knows no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.database import tables
from alyx.realtime import tokens
from alyx.realtime.deltas import Batch, Delta, Kind, Step
from alyx.realtime.images import Document, Image
from alyx.realtime.question import Question
from alyx.realtime.windows import Window
from alyx.records import judging, order
from alyx.records.access import Access
from alyx.records.plan import PreparedList
from alyx.rules.audience import Audience
from alyx.rules.book import Rule
from alyx.schema.model import Field, Type


class Receiver(Protocol):
    """Who holds subscriptions: a session."""

    def deliver(self, subscription: Subscription, delta: Delta) -> None:
        """Take a delta that is not empty."""
        ...


class Subscription:
    """One client's question.

    parse: reads the question by the schema of now. floor: changes up to this one are in what the client has. pending: what came
    while its snapshot is being made, None when it takes deltas. waiting: deltas that its client is too slow for. closed: nobody
    wants it any more. unsaid: what was made by rights that are no longer those of the client, None while there is no such thing.
    """

    __slots__ = ("closed", "floor", "group", "id", "id_bytes", "owner", "parse", "pending", "question", "unsaid", "waiting")

    def __init__(self, subscription_id: str, owner: Receiver, parse: Callable[[], Question]) -> None:
        self.id = subscription_id
        self.id_bytes = subscription_id.encode()
        self.owner = owner
        self.parse = parse
        self.question: Question | None = None
        self.group: Group | None = None
        self.floor = 0
        self.pending: list[Batch] | None = None
        self.unsaid: list[Delta] | None = None
        self.waiting: list[Delta] = []
        self.closed = False

    @property
    def mark(self) -> bytes:
        """The end of its tokens."""
        return self.group.mark if self.group is not None else b""

    def take(self, batch: Batch) -> None:
        """What became of the view in one batch of changes."""
        if self.pending is not None:
            self.pending.append(batch)
            return
        delta = batch.for_floor(self.floor)
        if delta is not None:
            self.owner.deliver(self, delta)

    def hear(self, delta: Delta) -> None:
        """What a question that was asked anew came to. Who has no snapshot yet gets it after this one."""
        if self.pending is None:
            self.owner.deliver(self, delta)
        elif self.unsaid is not None:
            self.unsaid.append(delta)

    def hold_back(self, waiting: Iterable[Delta]) -> None:
        """Say nothing more by the rights of now: others are about to be in force. waiting: what was not sent yet."""
        if self.unsaid is None:
            self.unsaid = list(waiting)
            self.pending = self.pending or []

    def unsaid_steps(self) -> list[Step]:
        """What was made by former rights and not said."""
        return [step for delta in self.unsaid or () for step in delta.steps]

    def settle(self, seq: int) -> None:
        """The client has everything up to this change; what came meanwhile follows."""
        pending, self.pending, self.unsaid = self.pending, None, None
        self.floor = seq
        for batch in pending or ():
            self.take(batch)

    def missed(self, seq: int) -> list[Step]:
        """The steps after a change among what came while the snapshot was made."""
        return [step for batch in self.pending or () for step in batch.steps if step.is_for(seq)]


class Group:
    """Members of a view who see the same.

    access: the rights of any of them. mark: of their tokens. count: rows of the view as of change `counted` and later, None while
    nobody knows. since: what came while they are being counted. window: what they hold, in a view that images cannot decide.
    """

    __slots__ = ("__weakref__", "access", "count", "counted", "mark", "members", "since", "values", "view", "window")

    def __init__(self, view: View, access: Access, values: tuple[Any, ...]) -> None:
        self.view = view
        self.access = access
        self.values = values
        self.members: dict[Subscription, None] = {}
        self.count: int | None = None
        self.counted = 0
        self.since: list[Step] | None = None
        self.window: Window | None = None if view.by_images else Window(view.place)
        self.mark = tokens.mark((*view.identity, view.shape, values)).encode()

    @property
    def seems_too_large(self) -> bool:
        """Whether it has more rows than it may, by the count that is kept."""
        return self.count is not None and self.count > self.view.question.asked.limit

    def recount(self, rows: int, seq: int, since: Iterable[Step]) -> None:
        """The view had so many rows as of a change; since: the steps that came after it."""
        self.count, self.counted = rows, seq
        self.add_up(since)

    def add_up(self, steps: Iterable[Step]) -> None:
        """Keep count of the rows."""
        steps = list(steps)
        if self.since is not None:
            self.since += steps
        if self.count is not None:
            for step in steps:
                if step.is_for(self.counted):
                    self.count += (step.kind is Kind.INSERT) - (step.kind is Kind.DELETE)


class View:
    """One question, asked by people whose rights have one shape.

    key: how it is found. fixed: column -> the only values of it that can pass. by_images: whether a change's old and new document
    alone decide. audiences: of the read rule with `where`, then of the read rule of each collection that is expanded. identity:
    what a token is bound to besides shape and values.
    """

    def __init__(
        self,
        key: tuple[object, ...],
        question: Question,
        prepared: PreparedList,
        rules: Sequence[Rule],
        audiences: Sequence[Audience],
        shape: Hashable,
        identity: tuple[object, ...],
    ) -> None:
        """rules: the read rule unless it is bypassed, and the client's `where`; those that are always true left out."""
        self.key = key
        self.question = question
        self.prepared = prepared
        self.rules = tuple(rules)
        self.audience = audiences[0]
        self.audiences = tuple(audiences)
        fixed = {**self.audience.fixed, **judging.equalities(question.asked.filters)}
        self.fixed = {name: values for name, values in fixed.items() if not any(map(_is_long, values))}
        self.shape = shape
        self.identity = identity
        self.groups: dict[tuple[Any, ...], Group] = {}
        self.collection = question.collection
        self._passes = judging.judge(question.asked.filters)
        self._shown = question.asked.fields
        self._names = tuple(field.name for field in self._shown or self.collection.public)
        self._read = judging.columns(question.asked.filters) | frozenset[str]().union(*(rule.doc_fields for rule in rules))
        self._shows_or_reads = self._read | frozenset(self._names)
        self.by_images = is_decided_by_images(question, self.audience, self._read)
        self.position = order.position(question.asked.sort)
        self.place = order.place(question.asked.sort)
        self.uses_time = any(audience.uses_time for audience in audiences)
        self.times = frozenset[str]() if self.audience.times is None else self.audience.times
        self._by_value: dict[str, dict[Any, dict[Group, None]]] = {name: {} for name in self._index_fields()}
        self._nobody: Mapping[str, Any] = {}
        self._request: Mapping[str, Any] = {}

    def _index_fields(self) -> list[str]:
        return list(dict.fromkeys(name for audience in self.audiences for name in audience.indexed_fields))

    # --- members

    def values(self, auth: Mapping[str, Any]) -> tuple[Any, ...]:
        """What tells groups of this view apart."""
        return tuple(auth.get(name) for name in self._by_value)

    def join(self, subscription: Subscription, access: Access) -> Group:
        """The group of this caller, made if it is the first of it, with the subscription in it."""
        values = self.values(access.auth)
        group = self.groups.get(values)
        if group is None:
            group = self.groups[values] = Group(self, access, values)
            for name, value in zip(self._by_value, values, strict=True):
                if value is not None:
                    self._by_value[name].setdefault(value, {})[group] = None
        if len(self.groups) == 1:  # nobody's values and the address are the same for all of one shape
            self._nobody = self.audience.nobody(access.auth)
            self._request = {"ip": access.ip}
        group.members[subscription] = None
        subscription.group = group
        return group

    def leave(self, subscription: Subscription) -> None:
        """Take a subscription out, and its group if nobody else is in it."""
        group = subscription.group
        if group is None:
            return
        subscription.group = None
        group.members.pop(subscription, None)
        if group.members:
            return
        self.groups.pop(group.values, None)
        for name, value in zip(self._by_value, group.values, strict=True):
            found = self._by_value[name].get(value)
            if found is not None:
                found.pop(group, None)
                if not found:
                    del self._by_value[name][value]

    def groups_of(self, field: str, value: Any) -> Iterable[Group]:
        """The groups whose auth field has this value."""
        try:
            return self._by_value[field].get(value, ())
        except TypeError:  # a list or an object, which no auth value is
            return ()

    @property
    def nobody(self) -> Mapping[str, Any]:
        """The auth values of a caller whose own stand nowhere. There must have been a member."""
        return self._nobody

    # --- changes

    def needs(self, image: Image) -> bool:
        """Whether the record must be read from the table before this change can be judged or shown."""
        return bool(image.holes) and not image.holes.isdisjoint(self._shows_or_reads)

    def passes(self, document: Document | None) -> bool:
        """Whether a document fits the question's filter, whoever asks."""
        return document is not None and self._passes(document)

    def judge(self, image: Image) -> tuple[Kind | None, list[tuple[Group, Kind | None]]] | None:
        """What a change means to everybody, and the groups to which it means something else. None: nothing to anybody."""
        old = image.old if self.passes(image.old) else None
        new = image.new if self.passes(image.new) else None
        if old is None and new is None:
            return None
        if not self.rules:
            return _kind(old is not None, new is not None), []
        default = self._verdict(self._nobody, old, new)
        odd: list[tuple[Group, Kind | None]] = []
        for group in self._occurring(old, new):
            kind = self._verdict(group.access.auth, old, new)
            if kind is not default:
                odd.append((group, kind))
        return (default, odd) if odd or default is not None else None

    def kind_for(self, auth: Mapping[str, Any], image: Image) -> Kind | None:
        """What a change means to one caller."""
        old = image.old if self.passes(image.old) else None
        return self._verdict(auth, old, image.new if self.passes(image.new) else None)

    def is_unknown(self, image: Image) -> bool:
        """Whether something that decides about the old document is gone; never so in a view that images decide."""
        return not self._read.isdisjoint(image.lost)

    def occurring(self, image: Image) -> Iterator[Group]:
        """The groups whose values stand in the columns that the caller is compared with."""
        return self._occurring(image.old, image.new)

    def _occurring(self, old: Document | None, new: Document | None) -> Iterator[Group]:
        seen: set[Group] = set()
        for document in (old, new):
            if document is None:
                continue
            for field, values in self.audience.occurring(document).items():
                index = self._by_value[field]
                for value in values:
                    for group in index.get(value, ()):
                        if group not in seen:
                            seen.add(group)
                            yield group

    def _verdict(self, auth: Mapping[str, Any], old: Document | None, new: Document | None) -> Kind | None:
        return _kind(old is not None and self._holds(auth, old), new is not None and self._holds(auth, new))

    def _holds(self, auth: Mapping[str, Any], document: Document) -> bool:
        return all(rule.judge(auth, document, self._request) for rule in self.rules)

    def step(self, image: Image, kind: Kind, above: int = 0) -> Step:
        """A change as a step of this view, with the document as it is sent. above: see Step."""
        return Step(image.change.seq, kind, image.key, "" if kind is Kind.DELETE else self._text(image), above)

    def _text(self, image: Image) -> str:
        if image.new is None:
            return ""
        if not self._shown and image.text is not None:
            return image.text
        return json.dumps({name: image.new[name] for name in self._names}).decode()


def is_decided_by_images(question: Question, audience: Audience, read: frozenset[str]) -> bool:
    """Kind A of hard-parts §2.2: filter and rule read only the record, and the caller by equality; no window, no other records.

    read: the columns that filter and rules read. Blobs are in no image, and of a large value it is known only that it is large.
    """
    asked, fields = question.asked, question.collection.fields
    if question.limited or asked.expand or audience.elsewhere or audience.uses_time:
        return False
    searched = audience.searched | judging.searched(asked.filters)
    if any(tables.may_be_large(fields[name]) for name in searched):
        return False
    shown: Iterable[Field] = asked.fields or question.collection.public
    return not any(field.value_type is Type.BLOB for field in (*shown, *(fields[name] for name in read)))


def _is_long(value: Any) -> bool:
    """Whether an image might have a hole where this value is."""
    return not tables.is_short(value)


def _kind(was: bool, now: bool) -> Kind | None:
    if now:
        return Kind.UPDATE if was else Kind.INSERT
    return Kind.DELETE if was else None


def too_large(most: int) -> AlyxError:
    """The error of a view without a limit that has more rows than one may have."""
    message = f"The live query has more than {most} documents."
    return AlyxError("RESULT_TOO_LARGE", message, hint="Ask for fewer by a filter, or for a window by sort and limit.")
