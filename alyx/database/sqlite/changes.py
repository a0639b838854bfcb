"""The change log's triggers: every change of a record leaves a line in `_alyx_changes`, in the transaction of the change itself.

Called by the migrator, which drops them before it touches a table and installs them after. Being triggers they also log what
other tools write; so their text uses nothing newer than SQLite 3.38, no function of ours, and names every column as NEW."x"
(hard-parts §1.4, §3). This module never reads the log.

Images are JSON objects in the API's form, put together as text:

- `after` (insert, update) is the whole row, `before` of a delete too. `before` of an update holds the key, what changed, and the
  columns that rules read, because those decide who could see the old record.
- Blobs are in no image. Internal fields are in none that is ever shown; those that rules read go to hidden_before, hidden_after.
- A value over 4 kB is `{"$big": <its length in bytes>}`, to be read from the table. A hash would need a function that other
  tools' SQLite does not have, and nothing needs one: an update that changed such a value says so by having it in `before`. In a
  json field a user may write the same object; a reader then looks into the table in vain, and no harm is done.
- A changed key is logged as delete and insert.
- An infinite float, which only another tool can have written, is null: JSON has no word for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import apsw

from alyx.database import tables
from alyx.database.tables import quoted, sql_literal
from alyx.schema.model import Collection, Field, Schema, Type

PREFIX = "_alyx_log_"

_NUMBER = "UPDATE _alyx_feed SET last_seq = last_seq + 1"
_WRITE = "INSERT INTO _alyx_changes (seq, collection, op, doc_id, before, after, hidden_before, hidden_after, at, nonce)"
_NOW = "CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)"

Observed = Callable[[str], frozenset[str]]
"""collection -> the columns that any rule reads on it."""


def triggers(collection: Collection, observed: frozenset[str]) -> dict[str, str]:
    """The triggers of one collection: name -> CREATE TRIGGER text, exactly as SQLite will keep it."""
    key = collection.key.name
    old, new = _quoted("OLD", key), _quoted("NEW", key)
    changed = _any(f"{_quoted('NEW', name)} IS NOT {_quoted('OLD', name)}" for name in collection.fields if name != key)
    inserted = _line(collection, "insert", new, after=_row(collection, "NEW"), hidden_after=_hidden(collection, observed, "NEW"))
    deleted = _line(collection, "delete", old, before=_row(collection, "OLD"), hidden_before=_hidden(collection, observed, "OLD"))
    made = {
        "insert": ("INSERT", None, inserted),
        "delete": ("DELETE", None, deleted),
        "rekey": ("UPDATE", f"{new} IS NOT {old}", deleted + inserted),
    }
    if changed:
        updated = _line(
            collection,
            "update",
            new,
            before=_changed(collection, observed),
            after=_row(collection, "NEW"),
            hidden_before=_hidden(collection, observed, "OLD"),
            hidden_after=_hidden(collection, observed, "NEW"),
        )
        made["update"] = ("UPDATE", f"{new} IS {old} AND {changed}", updated)
    texts = {}
    for what, (event, condition, body) in made.items():
        name = f"{PREFIX}{collection.name}_{what}"
        when = f" WHEN {condition}" if condition else ""
        texts[name] = (
            f"CREATE TRIGGER {quoted(name)} AFTER {event} ON {quoted(collection.name)} FOR EACH ROW{when} BEGIN {body}END"
        )
    return texts


def install(connection: apsw.Connection, schema: Schema, observed: Observed, *, raised: Iterable[str] = ()) -> list[str]:
    """Make the database's triggers those of the schema; what is right already stays. Returns the names made or dropped.

    raised: collections whose generation goes up by one, so that their older cursors and running subscriptions start over
    (hard-parts §3). Runs in the caller's transaction, or in one of its own. The tables must stand.
    """
    wanted: dict[str, str] = {}
    for collection in schema.collections.values():
        wanted |= triggers(collection, observed(collection.name))
    with connection:
        found = _installed(connection)
        gone = [name for name, text in found.items() if wanted.get(name) != text]
        for name in gone:
            connection.execute(f"DROP TRIGGER {quoted(name)}")
        made = [name for name, text in wanted.items() if found.get(name) != text]
        for name in made:
            connection.execute(wanted[name])
        for name in raised:
            connection.execute(
                "INSERT INTO _alyx_generations (collection, generation) VALUES (?, 1)"
                " ON CONFLICT (collection) DO UPDATE SET generation = generation + 1",
                (name,),
            )
    return list(dict.fromkeys(gone + made))


def drop(connection: apsw.Connection) -> None:
    """Remove every trigger of ours. A table cannot be changed safely below them: a dropped column is refused, a renamed one
    keeps its old name in the images, and a rebuild would log its own deletes (hard-parts §3)."""
    with connection:
        for name in _installed(connection):
            connection.execute(f"DROP TRIGGER {quoted(name)}")


def _installed(connection: apsw.Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?) = ?", (len(PREFIX), PREFIX)
    )
    return {str(name): str(text) for name, text in rows}


def _quoted(image: str, name: str) -> str:
    return f"{image}.{quoted(name)}"


def _line(
    collection: Collection,
    op: str,
    doc_id: str,
    *,
    before: str = "NULL",
    after: str = "NULL",
    hidden_before: str = "NULL",
    hidden_after: str = "NULL",
) -> str:
    """The statements that take the next number and write one line. SQLite has one writer, so numbers follow commits."""
    values = (
        "last_seq",
        sql_literal(collection.name),
        f"'{op}'",
        doc_id,
        before,
        after,
        hidden_before,
        hidden_after,
        _NOW,
        "random()",
    )
    return f"{_NUMBER}; {_WRITE} SELECT {', '.join(values)} FROM _alyx_feed; "  # DDL can bind nothing


def _shown(collection: Collection) -> list[Field]:
    return [field for field in collection.public if field.value_type is not Type.BLOB]


def _row(collection: Collection, image: str) -> str:
    return _object([_member(field, image, first=position == 0) for position, field in enumerate(_shown(collection))])


def _hidden(collection: Collection, observed: frozenset[str], image: str) -> str:
    """The internal fields that rules read, NULL if there are none."""
    fields = [
        field
        for field in collection.fields.values()
        if field.internal and field.name in observed and field.value_type is not Type.BLOB
    ]
    if not fields:
        return "NULL"
    return _object([_member(field, image, first=position == 0) for position, field in enumerate(fields)])


def _changed(collection: Collection, observed: frozenset[str]) -> str:
    """The key, then whatever changed or is read by rules."""
    key = collection.key
    members = [_member(key, "OLD", first=True)]
    for field in _shown(collection):
        if field.name == key.name:
            continue
        member = _member(field, "OLD", first=False)
        if field.name not in observed:
            differs = f"{_quoted('NEW', field.name)} IS NOT {_quoted('OLD', field.name)}"
            member = f"CASE WHEN {differs} THEN {member} ELSE '' END"
        members.append(member)
    return _object(members)


def _object(members: list[str]) -> str:
    return _tree([*members, "'}'"], " || ") if members else "'{}'"


def _member(field: Field, image: str, *, first: bool) -> str:
    opening = "{" if first else ","
    return f"'{opening}\"{field.name}\":' || {_value(field, _quoted(image, field.name))}"


def _value(field: Field, column: str) -> str:
    """SQL for a column as JSON text, never NULL."""
    if field.value_type is Type.BOOL:
        return f"CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END"
    if field.value_type is Type.FLOAT:
        # 17 digits bring every double back; `!` keeps the point in 3.0; x - x is 0 for finite numbers alone.
        return f"CASE WHEN {column} - {column} = 0.0 THEN printf('%!.17g', {column}) ELSE 'null' END"
    text = f"coalesce({column}, 'null')" if tables.stores_json(field) else f"json_quote({column})"
    if not tables.may_be_large(field):
        return text
    # length() counts characters and is cheap, the cast copies; up to LARGE / 4 characters cannot be more than LARGE bytes.
    octets = f"length(CAST({column} AS BLOB))"
    large = f"length({column}) > {tables.LARGE // 4} AND {octets} > {tables.LARGE}"
    return f"CASE WHEN {large} THEN '{{\"$big\":' || {octets} || '}}' ELSE {text} END"


def _any(conditions: Iterable[str]) -> str:
    found = list(conditions)
    return _tree(found, " OR ") if found else ""


def _tree(parts: Sequence[str], operator: str) -> str:
    """Parts joined as a balanced tree: a chain of 500 columns would be deeper than SQLite's limit of 1,000 allows."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_tree(parts[:middle], operator)}{operator}{_tree(parts[middle:], operator)})"
