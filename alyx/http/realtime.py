"""The routes of live queries (contract §5): the WebSocket, tickets for browsers, and event streams on the URL of a list.

They judge what a handshake or a list request brings (offer, origin, ticket, cursor) and hand over a connection with its client;
what a live query is, `realtime` knows. Nothing here goes into a log: URLs hold tickets.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias
from urllib.parse import unquote_plus

from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from alyx.auth.tickets import LIFETIME, Tickets
from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.http import envelope, records
from alyx.http.message import OFFER, Header, Request, Response, Takeover, json_response
from alyx.http.origin import Origins
from alyx.http.routes import Route
from alyx.http.stream import Stream
from alyx.http.websocket import WebSocket
from alyx.realtime.outlet import Client, Outlet, Session

PATH: Final = "/api/realtime"
Credentials: TypeAlias = Callable[[str | None], tuple[Identity, float | None]]
"""The whole Authorization header -> who sends it, and until when; raises AlyxError UNAUTHORIZED or TOKEN_EXPIRED."""

_VERSION: Final = "13"
_FRESH: Final[list[Header]] = [(b"cache-control", b"no-store")]
_STREAM: Final[list[Header]] = [*_FRESH, records.VARY, (b"x-accel-buffering", b"no"), (b"connection", b"close")]
_PORT: Final = {b"http": b":80", b"https": b":443"}


class Live(Protocol):
    """What the routes need of `realtime.live.Live`."""

    def connect(self, outlet: Outlet, client: Client) -> Session:
        """Take a WebSocket in."""
        ...

    def stream(
        self, outlet: Outlet, client: Client, collection: str, query: str, since: str | None, as_admin: bool
    ) -> Awaitable[Session]:
        """Take an event stream in; raises AlyxError before anything is sent."""
        ...


class Realtime:
    """The endpoints. credentials: judges a token. origins: those that may call besides the server's own."""

    def __init__(self, live: Live, tickets: Tickets, credentials: Credentials, origins: Origins) -> None:
        self._live = live
        self._tickets = tickets
        self._credentials = credentials
        self._origins = origins

    def routes(self) -> list[Route]:
        """`GET /api/realtime` and `POST /api/realtime/ticket`."""
        return [Route("GET", PATH, self.connect), Route("POST", f"{PATH}/ticket", self.issue)]

    async def connect(self, request: Request) -> Response:
        """Open a WebSocket; what is asked without one is 426."""
        if OFFER not in request.scope or request.header(b"sec-websocket-version") not in (None, _VERSION):
            return upgrade_required(request)
        accepted = shake_hands(request)
        self._check_origin(request)
        _, taken = take_parameters(request.query, "ticket")
        client = await self._client(request, taken["ticket"])
        socket = WebSocket(lambda outlet: self._live.connect(outlet, client))
        headers: list[Header] = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", accepted.encode()),
        ]
        return Takeover(101, socket, headers)

    async def stream(self, request: Request, collection: str) -> Response:
        """Answer a list with a stream of its changes. Whatever is wrong is raised before the head is said."""
        query, taken = take_parameters(request.query, "ticket", "since", "as_admin")
        client = await self._client(request, taken["ticket"])
        as_admin = request.raw_header(b"alyx-as-admin") == b"true" or _flag(taken["as_admin"])
        if as_admin:
            records.audit(request)
        since = request.header(b"last-event-id") or taken["since"] or None
        chunked = request.scope["http_version"] != "1.0"
        stream = Stream(chunked=chunked)
        stream.session = await self._live.stream(stream, client, collection, query, since, as_admin)
        headers = [*_STREAM, (b"transfer-encoding", b"chunked")] if chunked else _STREAM
        return Takeover(200, stream, headers, b"text/event-stream")

    async def issue(self, request: Request) -> Response:
        """Give a ticket for `?ticket=` to a caller who has a token."""
        identity, expires = self._credentials(request.header(b"authorization"))
        if identity.id is None:
            raise AlyxError("UNAUTHORIZED", "A ticket is for a caller who is signed in; others need none.")
        ticket = await self._tickets.issue(identity, expires)
        return json_response({"ticket": ticket, "expires_in": LIFETIME}, 200, _FRESH)

    async def _client(self, request: Request, ticket: str | None) -> Client:
        """Who connects: by the ticket, if there is one, else by the header."""
        if ticket is not None:
            request.identity, expires = await self._tickets.redeem(ticket)
        else:
            expires = self._credentials(request.header(b"authorization"))[1]
        return Client(request.identity, expires, request.client_ip, request.request_id)

    def _check_origin(self, request: Request) -> None:
        """A browser sends a WebSocket's handshake from any page, and CORS does not hold it back: so the origin must be ours, or
        one that may call (RFC 6455 §10.2)."""
        origin = request.raw_header(b"origin")
        if origin is None or self._origins.allows(origin):
            return
        scheme, _, place = origin.lower().partition(b"://")
        host = (request.raw_header(b"host") or b"").lower()
        port = _PORT.get(scheme, b"")
        # Only a proxy knows whether the client speaks TLS. Who says so without one shuts out nobody but itself: no page can.
        proxied = (request.raw_header(b"x-forwarded-proto") or b"").partition(b",")[0].strip().lower()
        exposed = proxied == b"https" and scheme != b"https"
        if not place or exposed or place.removesuffix(port) != host.removesuffix(port):
            raise AlyxError(
                "FORBIDDEN",
                "Pages of this origin may not connect.",
                hint="server.cors.allowed_origins in alyx.yaml names those that may.",
            )


def upgrade_required(request: Request) -> Response:
    """426: this path speaks WebSocket only."""
    refusal = AlyxError("UPGRADE_REQUIRED", "This path speaks WebSocket.", hint="Connect with a WebSocket client (version 13).")
    response = envelope.build(refusal, request.request_id)
    offer: list[Header] = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-version", b"13")]
    response.headers = [*(response.headers or []), *offer]
    return response


def shake_hands(request: Request) -> str:
    """Judge the handshake; gives the value of Sec-WebSocket-Accept. Raises AlyxError BAD_REQUEST that says what is wrong."""
    headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]])
    answer = ServerProtocol().accept(Handshake(request.path, headers, request.method))
    if answer.status_code != 101:
        told = answer.body.decode() if answer.body else ""
        fault = re.sub(r"^Failed to open a WebSocket connection: |\.\n.*$", "", told, flags=re.DOTALL)
        raise AlyxError("BAD_REQUEST", f"That is not a valid WebSocket handshake: {fault}.")
    return answer.headers["Sec-WebSocket-Accept"]


def take_parameters(query: str, *names: str) -> tuple[str, dict[str, str | None]]:
    """Take parameters out of a query string. Gives the rest, as it was sent, and the value of each name, None if absent.

    Raises AlyxError INVALID_QUERY for one that stands twice.
    """
    taken: dict[str, str | None] = dict.fromkeys(names)
    rest = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        name = unquote_plus(name)
        if name not in taken:
            rest.append(part)
        elif taken[name] is not None:
            raise AlyxError("INVALID_QUERY", f"The parameter {name} stands twice.")
        else:
            taken[name] = unquote_plus(value)
    return "&".join(rest), taken


def _flag(text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise AlyxError("INVALID_QUERY", "as_admin is `true` or `false`.")
    return text == "true"
