"""The driver behind two small functions, so that rows are typed once. Used by the migrator's parts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import apsw


def rows(connection: apsw.Connection, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement; all its rows."""
    return connection.execute(sql, tuple(params)).fetchall()


def register(connection: apsw.Connection, name: str, function: Callable[[Any], Any]) -> None:
    """Put a function of one value on a connection."""
    connection.create_scalar_function(name, cast("Any", function), 1, flags=apsw.SQLITE_DIRECTONLY)
