"""What to tell the operator about a list that was slow: which table it read through, and which index would help. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alyx.records.query import ListQuery

SLOW = 0.2
"""Seconds after which a list is worth a remark."""

_TABLE = re.compile(r"SCAN (\S+)")


def hint(collection: str, asked: ListQuery, scans: Sequence[str]) -> str | None:
    """One sentence, or None where the plan reads no table through. scans: lines of the query plan. Names fields, never values."""
    tables = [match[1] for line in scans if (match := _TABLE.match(line))]
    if not tables:
        return None
    fields = [each.operand.field.name for each in asked.filters if each.operator in ("eq", "in") and not each.operand.through]
    fields += [key.operand.field.name for key in asked.sort[:-1] if not key.operand.through]
    wanted = ", ".join(dict.fromkeys(fields))
    reads = f"a list of {collection} reads all of {', '.join(dict.fromkeys(tables))}"
    if asked.search is not None:
        return f"{reads}: search looks at every record"
    return f"{reads}; an index on [{wanted}] may help" if wanted else f"{reads}: its filters or its read rule use no index"
