"""Joins what makes live queries: the queries themselves, channels, tickets, and their routes.

Made by `build.Program` where `realtime.enabled` says so, once for its whole life; a reload brings other rules into force under
the open connections. Decides nothing itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from alyx.auth.tickets import Tickets
from alyx.auth.tokens import Verifier
from alyx.database.sqlite.engine import Engine
from alyx.http.origin import Origins
from alyx.http.realtime import Realtime
from alyx.http.settings import Cors
from alyx.realtime.admission import Admission
from alyx.realtime.channels import Channels
from alyx.realtime.live import Live
from alyx.realtime.peers import Relay
from alyx.realtime.settings import Settings
from alyx.records.limits import Limits
from alyx.records.records import Records


class LiveQueries:
    """The live queries of a program. engine: started. records: of the schema that is served. relay: the way to other workers."""

    def __init__(
        self, settings: Settings, engine: Engine, verifier: Verifier, records: Records, limits: Limits, relay: Relay | None
    ) -> None:
        self._engine = engine
        self._verifier = verifier
        self._limits = limits
        admission = Admission(records.planner, engine)
        self._channels = Channels(admission.kinds, admission.judge, relay)
        self._live = Live(engine, settings, verifier.authenticate, records.planner, limits, self._channels)

    def routes(self, cors: Cors) -> Realtime:
        """The endpoints. cors: the origins that may call."""
        return Realtime(self._live, Tickets(self._engine), self._verifier.credentials, Origins(cors))

    def adopt(self, records: Records) -> None:
        """Go on with another schema and other rules."""
        admission = Admission(records.planner, self._engine)
        self._channels.adopt(admission.kinds, admission.judge)
        self._live.serve(records.planner, self._limits, self._channels)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the changes for as long as the block runs."""
        await self._channels.start()
        await self._live.start()
        try:
            yield
        finally:
            await self._live.stop()
            await self._channels.stop()

    def drain(self) -> None:
        """The server stops: take nobody in."""
        self._live.shut()

    def numbers(self) -> dict[str, float]:
        """A source for metrics."""
        return {**self._live.numbers(), **self._channels.numbers()}

    def health(self) -> Mapping[str, Any]:
        """A part of /health."""
        return self._live.health()
