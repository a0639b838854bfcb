"""What has to be done now and then, as work for the writer: retention of the change log, of stored answers, of tickets.

Started by the engine in the background. Small pieces, so that no write waits long behind them (hard-parts §4.4).
"""

from __future__ import annotations

from alyx.database.work import Statement, Work

LINES = 5_000
"""Lines of the change log removed in one transaction."""
ANSWERS = 500
"""Stored answers removed in one transaction; each may be as large as a page of records."""
TICKETS = 5_000
"""One-time tickets removed in one transaction."""

_LAST = """
WITH head AS (SELECT seq, at FROM _alyx_changes ORDER BY seq LIMIT ?)
SELECT coalesce((SELECT min(seq) - 1 FROM head WHERE at >= ?), (SELECT max(seq) FROM head))
"""


def trim(before: int, lines: int = LINES) -> Work[int]:
    """Remove the oldest lines of the change log, as far as they are older than `before` (Unix milliseconds); how many went.

    Only a head of the log goes, up to the first line that must stay, so that what is left has no gap; low_water, the highest
    number removed, moves in the same transaction.
    """
    ((last,),) = yield Statement(_LAST, (lines, before))
    if last is None:
        return 0
    yield Statement("DELETE FROM _alyx_changes WHERE seq <= ?", (last,))
    ((removed,),) = yield Statement("SELECT changes()")
    if removed:
        yield Statement("UPDATE _alyx_feed SET low_water = max(low_water, ?)", (last,))
    return int(removed)


def expire(before: str, answers: int = ANSWERS) -> Work[int]:
    """Remove stored answers of Idempotency-Key requests made before `before` (API form); how many went."""
    yield Statement(
        "DELETE FROM _alyx_idempotency WHERE rowid IN"
        " (SELECT rowid FROM _alyx_idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)",
        (before, answers),
    )
    ((removed,),) = yield Statement("SELECT changes()")
    return int(removed)


def expire_tickets(now: float, tickets: int = TICKETS) -> Work[int]:
    """Remove one-time tickets that are no longer good at `now` (Unix seconds); how many went."""
    yield Statement(
        "DELETE FROM _alyx_tickets WHERE hash IN (SELECT hash FROM _alyx_tickets WHERE expires_at <= ? LIMIT ?)", (now, tickets)
    )
    ((removed,),) = yield Statement("SELECT changes()")
    return int(removed)
