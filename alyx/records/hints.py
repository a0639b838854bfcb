"""What to tell the operator about a list or a rule that reads a whole table, and which index would help. Pure.

Called by `records` with lines of the database's query plans; names fields and collections, never values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from alyx.records.query import Filter, ListQuery

SLOW = 0.05
"""Seconds after which a list is worth a remark: on a small table a scan is what the database should do."""

_TABLE = re.compile(r"SCAN (\S+)")


def of_list(collection: str, asked: ListQuery, scans: Sequence[str]) -> str | None:
    """One sentence, or None where the plan reads no table through. scans: lines of the query plan."""
    tables = _tables(scans)
    if not tables:
        return None
    single = [each for each in asked.filters if isinstance(each, Filter)]
    fields = [each.operand.field.name for each in single if each.operator in ("eq", "in") and not each.operand.through]
    fields += [key.operand.field.name for key in asked.sort[:-1] if not key.operand.through]
    wanted = ", ".join(dict.fromkeys(fields))
    reads = f"a list of {collection} reads all of {', '.join(tables)}"
    if asked.search is not None:
        return f"{reads}: search looks at every record"
    return f"{reads}; an index on [{wanted}] may help" if wanted else f"{reads}: its filters or its read rule use no index"


def of_rule(collection: str, operation: str, elsewhere: Collection[str], scans: Sequence[str]) -> str | None:
    """One sentence about a rule that looks into other collections without an index, or None. elsewhere: which it looks into."""
    # A rule's tables stand under names such as members_1 in its plan.
    read = [
        name for name in sorted(elsewhere) if any(re.fullmatch(rf"{re.escape(name)}(_\d+)?", table) for table in _tables(scans))
    ]
    if not read:
        return None
    return f"the {operation} rule of {collection} reads all of {', '.join(read)} each time: index what it compares there"


def _tables(scans: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(match[1] for line in scans if (match := _TABLE.match(line))))
