"""One-time tickets: who may not send a header (a browser's WebSocket or EventSource) shows one in the URL instead (contract §5).

Called by the routes of `realtime`. A ticket stands for the caller who asked for it, as long as the caller's token would; it is
good for one use within half a minute. They lie in the database, so that any worker takes what another gave, and only as hashes,
so that whoever reads the file cannot use them. What nobody used in time is removed by the engine (`database/sqlite/upkeep.py`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa

from alyx.base import clock, json
from alyx.base.errors import AlyxError
from alyx.base.identity import ANONYMOUS, Identity
from alyx.database.compile import compile_query
from alyx.database.work import Work

T = TypeVar("T")
Bearer: TypeAlias = tuple[Identity, float | None]
"""Who somebody is, and until when, in seconds since 1970; None: for ever."""

LIFETIME: Final = 30
"""Seconds for which a ticket is good."""
_LONGEST: Final = 100

_TABLE = sa.Table("_alyx_tickets", sa.MetaData(), *(sa.Column(name) for name in ("hash", "identity", "expires_at")))
_KEEP = compile_query(sa.insert(_TABLE).values({column.name: sa.bindparam(column.name) for column in _TABLE.columns}))
_TAKE = compile_query(
    sa.delete(_TABLE).where(_TABLE.c.hash == sa.bindparam("hash")).returning(_TABLE.c.identity, _TABLE.c.expires_at)
)


class Writes(Protocol):
    """What the tickets need of an engine."""

    def write(self, work: Callable[[], Work[T]]) -> Awaitable[T]:
        """Run work in a transaction of its own; returns when its commit is on disk."""
        ...


class Tickets:
    """The tickets of a database."""

    def __init__(self, engine: Writes) -> None:
        self._engine = engine

    async def issue(self, identity: Identity, expires: float | None) -> str:
        """A new ticket for this caller. expires: when the caller's token ends."""
        ticket = secrets.token_urlsafe(32)
        now = clock.seconds()
        whom = json.dumps({"values": dict(identity.values), "expires": expires}).decode()

        def work() -> Work[None]:
            yield _KEEP.bind({"hash": _hash(ticket), "identity": whom, "expires_at": now + LIFETIME})

        await self._engine.write(work)
        return ticket

    async def redeem(self, ticket: str) -> Bearer:
        """Who shows this ticket, which uses it up.

        Raises AlyxError UNAUTHORIZED for one that is unknown, used or too old, TOKEN_EXPIRED if the token behind it is.
        """
        if not 0 < len(ticket) <= _LONGEST:
            raise _unauthorized()

        def work() -> Work[list[Any]]:
            return (yield _TAKE.bind({"hash": _hash(ticket)}))

        found = await self._engine.write(work)
        now = clock.seconds()
        if not found or found[0][1] <= now:
            raise _unauthorized()
        whom = json.loads(found[0][0])
        expires = whom["expires"]
        if expires is not None and expires <= now:
            raise AlyxError(
                "TOKEN_EXPIRED", "The access token behind the ticket has expired.", hint="Sign in again or refresh it."
            )
        values = whom["values"]
        return (Identity(values) if values else ANONYMOUS), expires


def _hash(ticket: str) -> bytes:
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(ticket.encode(errors="surrogatepass")).digest()


def _unauthorized() -> AlyxError:
    return AlyxError(
        "UNAUTHORIZED", "The ticket is not valid.", hint="A ticket is good for one use within 30 s: ask for another one."
    )
