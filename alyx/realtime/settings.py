"""The limits of realtime (alyx.yaml `realtime` and `limits.realtime_messages`)."""

from __future__ import annotations

from dataclasses import dataclass

from alyx.base.units import Rate


@dataclass(frozen=True, slots=True)
class Settings:
    """max_connections: of this process, WebSockets and event streams together. max_connections_per_user and _per_address: of this
    process; 0 is no limit, and clients on this machine do not count for them. max_subscriptions: of one connection. messages:
    rate of a connection, None is no limit. pause: least seconds between two times that a live query is asked anew."""

    max_connections: int = 10_000
    max_connections_per_user: int = 1_000
    max_connections_per_address: int = 1_000
    max_subscriptions: int = 100
    messages: Rate | None = None
    pause: float = 0.05
