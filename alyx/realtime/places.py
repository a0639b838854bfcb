"""How many connections one user, one address and the process may have. Pure."""

from __future__ import annotations

from collections import Counter

from alyx.base.addresses import is_local, subscriber
from alyx.realtime.outlet import Client
from alyx.realtime.settings import Settings


class Places:
    """Counts connections. Those of this very machine count for the process alone: behind a proxy that is not trusted, or in a
    test, everybody has its address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._taken: dict[object, tuple[str | None, str | None]] = {}
        self._users: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def take(self, holder: object, client: Client) -> str | None:
        """Count a connection; what stands against it, or None. The user is the one who opened it."""
        settings = self._settings
        if len(self._taken) >= settings.max_connections:
            return "the server has too many live connections"
        local = is_local(client.ip)
        user = None if local else client.identity.id
        address = None if local else subscriber(client.ip)
        if user is not None and settings.max_connections_per_user and self._users[user] >= settings.max_connections_per_user:
            return "this user has too many live connections"
        most = settings.max_connections_per_address
        if address is not None and most and self._addresses[address] >= most:
            return "this address has too many live connections"
        self._taken[holder] = user, address
        if user is not None:
            self._users[user] += 1
        if address is not None:
            self._addresses[address] += 1
        return None

    def give_back(self, holder: object) -> None:
        """A connection is gone; one that was not counted is nothing."""
        for count, name in zip((self._users, self._addresses), self._taken.pop(holder, (None, None)), strict=True):
            if name is not None:
                count[name] -= 1
                if not count[name]:
                    del count[name]
