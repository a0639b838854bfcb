"""Which indexes a collection has: those it declares and those that its fields imply.

Pure names and columns; `database.tables` builds them, `load` checks that their names do not collide, `diff` compares them.
"""

from __future__ import annotations

import hashlib

from alyx.schema.model import Collection, Index


def indexes(collection: Collection) -> list[Index]:
    """Every index of a collection, declared or implied: `unique`, `index`, and each foreign key (contract §1, hard-parts §3)."""
    found = list(collection.indexes)
    led = {index.fields[0] for index in found}
    for field in collection.fields.values():
        if field.primary:
            continue
        if field.unique:
            found.append(Index(index_name("uq", collection.name, field.name), (field.name,), unique=True))
        elif field.index or (field.reference and field.name not in led):
            found.append(Index(index_name("idx", collection.name, field.name), (field.name,)))
    return found


def index_name(prefix: str, collection: str, field: str) -> str:
    """The name of an implied index, at most 63 bytes (PostgreSQL's limit): a long one is cut and ends in a hash of the whole."""
    name = f"{prefix}_{collection}_{field}"
    return name if len(name) <= 63 else f"{name[:54]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
