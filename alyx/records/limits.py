"""The limits of the record API (alyx.yaml `limits`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """filter: bytes of one filter. expand_rows: records that one answer may bring by expand. batch: operations of a batch.
    create_many: documents of one create. json_depth: nesting of a body."""

    filter: int = 2048
    expand_rows: int = 1000
    batch: int = 100
    create_many: int = 1000
    json_depth: int = 32


NEEDLE = 256
"""Bytes of a like pattern, a contains or starts_with needle, a search text: longer ones make SQLite spend seconds in one function
call, where nothing can stop it (hard-parts §5.1)."""

PAGE_DEFAULT = 100
PAGE_MOST = 1000
