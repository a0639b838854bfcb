"""What realtime asks of the database, as work in one read transaction, so that rows and their place in the log belong together.

Generators of statements; called by `live` (snapshots, resuming), the pump (records too large for the log, audiences) and the
refresher. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from alyx.base import json
from alyx.base.identity import Identity
from alyx.database.compile import Query, compile_query
from alyx.database.feed import Change, Position, read_history, read_nonce, read_position
from alyx.database.work import Work
from alyx.realtime.deltas import Step
from alyx.realtime.images import Document, Image
from alyx.realtime.tokens import Token
from alyx.realtime.views import Group, View
from alyx.records.access import Access
from alyx.records.plan import Planner
from alyx.records.selecting import Selection, select
from alyx.rules.elsewhere import Elsewhere
from alyx.schema.model import Collection

REPLAYED = 5_000
"""Lines of a collection that a resume replays; a client that missed more gets a snapshot, which is less to send."""
OVERLOOKED = 500_000
"""Lines of the whole log among which a resume looks for those of its collection: 0.6 µs each."""
SEARCHED = 50_000
"""Lines of the log that a resume looks at for the collections that its view depends on."""
AUDIENCE = 10_000
"""Callers that a change may concern before all of a view are asked anew."""


class Snapshot(NamedTuple):
    """Rows and where the log stood. total: rows of the view without its limit. soonest: when time alone changes the view, as far
    as rows tell; None if never."""

    position: Position
    selection: Selection
    total: int
    soonest: str | None


class Resumed(NamedTuple):
    """What a client missed. steps: of a view that images decide. selection: what the client holds, of any other."""

    position: Position
    steps: list[Step]
    selection: Selection | None
    total: int | None
    soonest: str | None


def snapshot(planner: Planner, view: View, access: Access, expand_rows: int, *, counted: bool) -> Work[Snapshot]:
    """The view as one caller may see it. counted: whether the total is wanted, which beyond the limit is a statement more."""
    position = yield from read_position()
    selection = yield from select(planner, view.prepared, access, expand_rows)
    total = len(selection.keys)
    if counted and selection.more and view.question.limited:
        total = yield from _total(planner, view, access)
    return Snapshot(position, selection, total, (yield from _soonest(planner, view, access)))


def both(
    planner: Planner, view: View, access: Access, other: View, other_access: Access, expand_rows: int
) -> Work[tuple[Selection, Snapshot]]:
    """What one caller sees, and what another does at the same moment."""
    before = yield from select(planner, view.prepared, access, expand_rows)
    return before, (yield from snapshot(planner, other, other_access, expand_rows, counted=False))


def resume(
    planner: Planner, group: Group, access: Access, token: Token, watched: Iterable[str], expand_rows: int
) -> Work[Resumed | None]:
    """What happened since a token; None where that cannot be told and the client must start over.

    The caller has compared the token's mark. watched: the collections that the view depends on besides its own.
    """
    view = group.view
    position = yield from read_position()
    if not (yield from _is_of_this_history(token, position)):
        return None
    if view.by_images:
        steps = yield from _replay(planner, group, access, token, position)
        if steps is None:
            return None
        total = None
        if group.count is None:
            total = yield from _total(planner, view, access)
        return Resumed(position, steps, None, total, None)
    if view.uses_time or (yield from _has_changed({view.collection.name, *watched}, token.seq, position.seq)):
        return None
    selection = yield from select(planner, view.prepared, access, expand_rows)
    return Resumed(position, [], selection, None, (yield from _soonest(planner, view, access)))


def count(planner: Planner, view: View, access: Access) -> Work[tuple[Position, int]]:
    """How many rows a view has, and as of when."""
    position = yield from read_position()
    return position, (yield from _total(planner, view, access))


def _total(planner: Planner, view: View, access: Access) -> Work[int]:
    plan, values = planner.plan_list(view.prepared, access)
    total: int = (yield plan.total.bind(values))[0][0]
    return total


def stored(planner: Planner, collection: Collection, key: Any) -> Work[tuple[int, Document | None, str | None]]:
    """A record as it stands in the table: the change that it is true for, the document with internal fields, its public text."""
    position = yield from read_position()
    document, text = yield from _stored(planner, collection, key)
    return position.seq, document, text


def audience(planner: Planner, view: View, document: Document, ip: str) -> Work[dict[str, list[Any]] | None]:
    """Whom a record may concern by way of other collections: auth field -> values. None: everybody.

    Everybody also if a caller whose values stand nowhere may see it.
    """
    nobody = Access(Identity(view.nobody), ip=ip)
    if (yield from _holds(planner, view, nobody, document)):
        return None
    found: dict[str, list[Any]] = {}
    for elsewhere in view.audience.elsewhere:
        for column, field in list(elsewhere.by_auth.items())[:1]:
            query = _audience(planner, elsewhere, column) if elsewhere.doc_fields else None
            if query is None:
                return None
            rows = yield query.bind(elsewhere.binds(document) | {"most": AUDIENCE + 1})
            if len(rows) > AUDIENCE:
                return None
            found.setdefault(field, []).extend(row[0] for row in rows)
    return found


def _holds(planner: Planner, view: View, access: Access, document: Document) -> Work[bool]:
    for rule in view.rules:
        if not rule.looks_elsewhere:
            if not rule.judge(access.auth, document, access.request()):
                return False
            continue
        query = planner.plan_rule(rule, access)
        if not (yield query.bind(access.binds(rule) | rule.doc_binds(document))):
            return False
    return True


def _audience(planner: Planner, elsewhere: Elsewhere, column: str) -> Query | None:
    def build() -> Query | bool:
        statement = elsewhere.audience(column)
        return compile_query(statement.limit(sa.bindparam("most")), light=True) if statement is not None else False

    found = planner.once(("audience", elsewhere, column), build)
    return found if isinstance(found, Query) else None


def _stored(planner: Planner, collection: Collection, key: Any) -> Work[tuple[Document | None, str | None]]:
    rows = yield planner.plan_stored(collection).bind({"key": key})
    if not rows:
        return None, None
    text, hidden = rows[0]
    document: Document = json.loads(text)
    return (document | json.loads(hidden) if hidden is not None else document), text


def _is_of_this_history(token: Token, position: Position) -> Work[bool]:
    if token.epoch != position.epoch or not position.low_water <= token.seq <= position.seq:
        return False
    if token.seq == 0:
        return token.nonce == 0
    return (yield from read_nonce(token.seq)) == token.nonce


def _replay(planner: Planner, group: Group, access: Access, token: Token, position: Position) -> Work[list[Step] | None]:
    """The steps since a token, one a record: from its first old document to how it stands now."""
    view = group.view
    if position.seq - token.seq > OVERLOOKED:
        return None
    lines = yield from read_history(view.collection.name, token.seq, REPLAYED + 1)
    if len(lines) > REPLAYED:
        return None
    steps = []
    for image in _spans(lines, view.collection.key.name):
        if view.needs(image):
            image.read(*(yield from _stored(planner, view.collection, image.key)))
        kind = view.kind_for(access.auth, image)
        if kind is not None:
            steps.append(view.step(image, kind))
    return steps


def _spans(lines: Sequence[Change], key_name: str) -> Iterator[Image]:
    """One image for each record: what it was before the first of its lines, and after the last."""
    found: dict[str, Image] = {}
    for line in lines:
        image = Image(line, key_name)
        first = found.pop(line.doc_id, None)
        if first is not None:
            image.begin(first)
        found[line.doc_id] = image
    yield from found.values()


def _has_changed(collections: Iterable[str], after: int, last: int) -> Work[bool]:
    if last - after > SEARCHED:
        return True
    for name in collections:
        if (yield from read_history(name, after, 1)):
            return True
    return False


def _soonest(planner: Planner, view: View, access: Access) -> Work[str | None]:
    """The least value in the future among the columns that the rules compare with the time; the future of the moment at which the
    rows were judged, or what lies between the two would be forgotten."""
    if not view.times:
        return None
    now = access.request()["time"]
    found: list[str] = []
    for column in view.times:
        rows = yield _next(planner, view.collection, column).bind({"now": now})
        found += [row[0] for row in rows if row[0] is not None]
    return min(found, default=None)


def _next(planner: Planner, collection: Collection, column: str) -> Query:
    def build() -> Query:
        moment = planner.metadata.tables[collection.name].c[column]
        select = sa.select(moment).where(moment > sa.bindparam("now")).order_by(moment).limit(sa.literal_column("1"))
        return compile_query(select, light=True)

    return planner.once(("next", collection.name, column), build)
