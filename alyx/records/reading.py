"""Reads as work for the database: list and get, and their expansions (contract §3).

Generators of statements, so they run in one read transaction on whichever thread the engine chooses. Called by `records`.
"""

from __future__ import annotations

from typing import Any

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.database.work import Row, Rows, Statement, Work
from alyx.records import cursor, shape
from alyx.records.access import Access
from alyx.records.plan import Planner, PreparedList
from alyx.records.query import Expansion, invalid


def list_documents(planner: Planner, prepared: PreparedList, access: Access, expand_rows: int) -> Work[bytes]:
    """One page as the body of the answer."""
    asked = prepared.asked
    plan, values = planner.plan_list(prepared, access)
    rows: Rows = (yield plan.page.bind(values)) if asked.limit else []
    more = len(rows) > asked.limit
    if more:
        rows.pop()
    total = None
    if asked.count:
        if asked.limit and not more and not asked.cursor and (rows or not asked.offset):
            total = asked.offset + len(rows)
        else:
            total = (yield plan.total.bind(values))[0][0]
    texts = [row[0] for row in rows]
    if asked.expand and rows:
        first = 1 + len(asked.sort)
        texts = yield from expand_page(planner, asked.expand, texts, [row[first:] for row in rows], access, expand_rows)
    after = cursor.encode(prepared.order, rows[-1][1 : 1 + len(asked.sort)]) if more and rows else None
    return shape.page(texts, total, asked, after)


def get_document(statement: Statement) -> Work[str]:
    """One record as its text. Raises AlyxError DOCUMENT_NOT_FOUND, also where the caller may not read it."""
    rows = yield statement
    if not rows:
        raise not_found()
    text: str = rows[0][0]
    return text


def get_expanded(
    planner: Planner, statement: Statement, expand: tuple[Expansion, ...], access: Access, expand_rows: int
) -> Work[str]:
    """One record with its relations. Raises AlyxError DOCUMENT_NOT_FOUND."""
    rows = yield statement
    if not rows:
        raise not_found()
    texts = yield from expand_page(planner, expand, [rows[0][0]], [rows[0][1:]], access, expand_rows)
    return texts[0]


def expand_page(
    planner: Planner, expand: tuple[Expansion, ...], texts: list[str], links: list[Row], access: Access, expand_rows: int
) -> Work[list[str]]:
    """The documents of one answer with their relations; links: for each the values that lead to each expansion.

    expand_rows: records that they may bring. Raises AlyxError INVALID_QUERY beyond them.
    """
    return (yield from _expand(planner, expand, texts, links, access, _Budget(expand_rows)))


def not_found() -> AlyxError:
    """What a record answers that is not there or that the caller may not know of."""
    return AlyxError("DOCUMENT_NOT_FOUND", "There is no such document.")


class _Budget:
    """How many more records an answer may bring by expand."""

    def __init__(self, rows: int) -> None:
        self.most = rows
        self.left = rows

    def spend(self, rows: int) -> None:
        self.left -= rows
        if self.left < 0:
            raise invalid(f"expand would bring more than {self.most} records", "Ask for fewer documents or expand less")


def _expand(
    planner: Planner, expansions: tuple[Expansion, ...], texts: list[str], links: list[Row], access: Access, budget: _Budget
) -> Work[list[str]]:
    """Each text with `expand` added: level by level, one statement a relation, whatever the number of records.

    links: per text the values that lead to each expansion. A target that the caller may not read is left out.
    """
    members: list[list[str]] = [[] for _ in texts]
    for position, expansion in enumerate(expansions):
        wanted = list(dict.fromkeys(link[position] for link in links if link[position] is not None))
        found = (yield from _targets(planner, expansion, wanted, access, budget)) if wanted else {}
        for index, link in enumerate(links):
            targets = found.get(link[position], [])
            if expansion.reverse:
                members[index].append(f'"{expansion.name}":[{",".join(targets)}]')
            elif targets:
                members[index].append(f'"{expansion.name}":{targets[0]}')
    return [f'{text[:-1]},"expand":{{{",".join(parts)}}}}}' for text, parts in zip(texts, members, strict=True)]


def _targets(
    planner: Planner, expansion: Expansion, wanted: list[Any], access: Access, budget: _Budget
) -> Work[dict[Any, list[str]]]:
    """The texts of a relation's records by the value that leads to them."""
    query = planner.plan_expand(expansion, access)
    read = planner.book.of(expansion.collection).read
    values = access.binds(read) | {"keys": json.dumps(wanted).decode(), "limit": budget.left + 1}
    rows = yield query.bind(values)
    budget.spend(len(rows))
    texts = [row[1] for row in rows]
    if expansion.nested and rows:
        texts = yield from _expand(planner, expansion.nested, texts, [row[2:] for row in rows], access, budget)
    found: dict[Any, list[str]] = {}
    for row, text in zip(rows, texts, strict=True):
        found.setdefault(row[0], []).append(text)
    return found
