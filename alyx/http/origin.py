"""CORS: which origins may call, and what a browser is told about it (Fetch standard, CORS protocol).

Called by the edge. Pure; decides nothing about rights: CORS restrains browsers, never other clients.
"""

from __future__ import annotations

import re

from alyx.http.message import Header, Request, Response
from alyx.http.settings import Cors

_LOCAL = re.compile(r"https?://(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.ASCII)
_TOKENS = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{1,1024}")
_VARY: Header = (b"vary", b"Origin")
_EXPOSED: Header = (b"access-control-expose-headers", b"ETag, Location, Retry-After, X-Request-ID, Idempotency-Replayed")


class Origins:
    """The configured origins, ready to be asked."""

    def __init__(self, settings: Cors) -> None:
        exact = [origin.rstrip("/").lower() for origin in settings.allowed_origins if origin != "*"]
        self._any = "*" in settings.allowed_origins
        self._exact = frozenset(origin for origin in exact if "*" not in origin)
        self._patterns = [_pattern(origin) for origin in exact if "*" in origin]
        if settings.localhost:
            self._patterns.append(_LOCAL)
        self._credentials = settings.allow_credentials
        self._methods = ", ".join(settings.allowed_methods).encode()
        self._echo = "*" in settings.allowed_headers
        self._headers = ", ".join(settings.allowed_headers).encode()
        self._max_age = b"%d" % settings.max_age
        self.active = self._any or bool(self._exact or self._patterns)

    def headers(self, request: Request) -> list[Header]:
        """What is added to every answer. `Vary: Origin` also where there is no origin, so that no cache mixes answers up."""
        origin = request.raw_header(b"origin")
        if self._any:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED] if origin is not None else []
        if origin is None or not self._allows(origin):
            return [_VARY]
        allowed: list[Header] = [(b"access-control-allow-origin", origin), _VARY, _EXPOSED]
        if self._credentials:
            allowed.append((b"access-control-allow-credentials", b"true"))
        return allowed

    def allows(self, origin: bytes) -> bool:
        """Whether pages of this origin may call."""
        return self._any or self._allows(origin)

    def preflight(self, request: Request) -> Response | None:
        """204 for a preflight, also for an origin that is not allowed (it then carries no permission); None for anything else."""
        origin = request.raw_header(b"origin")
        if request.method != "OPTIONS" or origin is None or request.raw_header(b"access-control-request-method") is None:
            return None
        vary: Header = (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers")
        if not self.active or not (self._any or self._allows(origin)):
            return Response(204, headers=[vary])
        wanted = request.raw_header(b"access-control-request-headers")
        names = wanted if self._echo and wanted is not None and _TOKENS.fullmatch(wanted) else self._headers
        return Response(
            204,
            headers=[
                vary,
                (b"access-control-allow-methods", self._methods),
                (b"access-control-allow-headers", names),
                (b"access-control-max-age", self._max_age),
            ],
        )

    def _allows(self, origin: bytes) -> bool:
        text = origin.decode("latin-1").lower()
        return text in self._exact or any(pattern.fullmatch(text) for pattern in self._patterns)


def _pattern(origin: str) -> re.Pattern[str]:
    """`https://*.example.com`: a star stands for one or more labels, never for a dot alone, a slash or a port."""
    parts = [re.escape(part) for part in origin.split("*")]
    return re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*".join(parts), re.ASCII)
