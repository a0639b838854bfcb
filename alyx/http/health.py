"""GET /health, /health/live, /health/ready: whether the process lives, whether it can serve, and how its parts do.

Anybody may ask, so nothing here names a path, a version of a library or a message of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from alyx.http.message import Header, Request, Response, json_response
from alyx.http.routes import Route

Component = Callable[[], Mapping[str, Any]]
"""How a part does now: at least `status`, which is `healthy`, `degraded` (serves, but not fully) or `unhealthy`."""

_FRESH: list[Header] = [(b"cache-control", b"no-store")]
_ORDER = {"healthy": 0, "degraded": 1, "unhealthy": 2}


class Health:
    """Asks the parts. version: Alyx's own. components: name -> how it does."""

    def __init__(self, version: str, components: Mapping[str, Component]) -> None:
        self.version = version
        self.components = dict(components)
        self._draining = False
        self._since = monotonic()

    def report(self) -> dict[str, Any]:
        """The worst of the parts is the status of the whole. uptime: seconds."""
        parts = {name: _ask(component) for name, component in self.components.items()}
        worst = max((str(part["status"]) for part in parts.values()), key=lambda status: _ORDER[status], default="healthy")
        return {
            "status": worst,
            "version": self.version,
            "uptime": round(monotonic() - self._since, 3),
            "components": parts,
        }

    def drain(self) -> None:
        """From now on it is not ready: the server stops, and only finishes what it has."""
        self._draining = True

    def is_ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return not self._draining and self.report()["status"] != "unhealthy"

    def _reason(self) -> dict[str, Any]:
        """What the first part that cannot serve says."""
        parts = [_ask(component) for component in self.components.values()]
        return next(({"reason": part["reason"]} for part in parts if part["status"] == "unhealthy" and "reason" in part), {})

    def routes(self) -> list[Route]:
        """The three routes; none judges credentials or counts against a rate."""

        async def whole(request: Request) -> Response:
            report = self.report()
            return json_response(report, 503 if report["status"] == "unhealthy" else 200, _FRESH)

        async def live(request: Request) -> Response:
            return json_response({"status": "ok"}, 200, _FRESH)

        async def ready(request: Request) -> Response:
            if self.is_ready():
                return json_response({"status": "ready"}, 200, _FRESH)
            return json_response({"status": "not_ready", **self._reason()}, 503, [*_FRESH, (b"retry-after", b"1")])

        paths = {"/health": whole, "/health/live": live, "/health/ready": ready}
        return [Route("GET", path, endpoint, identified=False, limited=False) for path, endpoint in paths.items()]


def _ask(component: Component) -> dict[str, Any]:
    """A part that cannot even answer is unhealthy; its exception may hold paths and stays inside."""
    try:
        told = dict(component())
    except Exception:
        return {"status": "unhealthy"}
    if told.get("status") not in _ORDER:
        told["status"] = "unhealthy"
    return told
