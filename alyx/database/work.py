"""What the layers above hand to an engine: work as a generator of statements.

A piece of work yields a Statement, is sent the rows, and returns its result. It never awaits and never sees a driver, so the
same text runs in SQLite's writer thread and over PostgreSQL's wire, and a test can drive it with a list. The engine decides
where it runs, opens the transaction, and throws a database error into the generator at the yield that caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]
Rows: TypeAlias = list[Row]


class Statement(NamedTuple):
    """Compiled SQL with its values in order.

    light: the planner believes that it is cheap enough for the event loop (key look-ups, index-bound lists up to 100 rows; no
    LIKE, contains, search, matches, JSON paths, counts without a bound). The engine still checks the query plan.
    """

    sql: str
    params: Sequence[Any] = ()
    light: bool = False


Work: TypeAlias = Generator[Statement, Rows, T]


class DatabaseError(Exception):
    """Base of what an engine raises; its text is for the log, never for a client."""


class UniqueViolation(DatabaseError):
    """A value stands already. fields: the columns of the constraint; empty if the engine could not tell."""

    def __init__(self, collection: str, fields: tuple[str, ...]) -> None:
        super().__init__(f"unique: {collection}({', '.join(fields)})")
        self.collection = collection
        self.fields = fields


class ForeignKeyViolation(DatabaseError):
    """A reference points nowhere, or a restricted parent still has children; engines cannot say which field."""


class ConstraintViolation(DatabaseError):
    """Any other constraint: NOT NULL, CHECK, a type that the table refuses."""


class SchemaMoved(DatabaseError):
    """The statement names a table or column that is not there: the schema has changed while the request ran. Answered 503."""


class Timeout(DatabaseError):
    """A read took longer than its limit. Answered 503 QUERY_TIMEOUT."""


class Overloaded(DatabaseError):
    """Too many writes wait, or the log has grown too large. Answered 503 OVERLOADED."""


class Unavailable(DatabaseError):
    """The database cannot be used now (disk full, I/O error, fsync failure); the write was not made. Answered 503.

    reason: a fixed sentence for /health, which anybody may read; the text of the error may name paths.
    """

    def __init__(self, message: str, reason: str = "the database cannot be used") -> None:
        super().__init__(message)
        self.reason = reason


def drive(work: Work[T], execute: Callable[[Statement], Rows]) -> T:
    """Run work to its end where nothing more is needed than its rows; what `execute` raises of DatabaseError is thrown into it.

    The transaction, if there is to be one, is the caller's.
    """
    try:
        statement = next(work)
        while True:
            try:
                rows = execute(statement)
            except DatabaseError as error:
                statement = work.throw(error)
            else:
                statement = work.send(rows)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        work.close()
