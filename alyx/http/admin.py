"""Routes for admins (contract §4). What they show is not under the rules, so each of them asks for an admin first."""

from __future__ import annotations

from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.http.message import Request, Response
from alyx.http.routes import Route
from alyx.records.records import Records


def routes(records: Records) -> list[Route]:
    """`POST /api/admin/rules/explain`."""

    async def explain(request: Request) -> Response:
        require_admin(request.identity)
        answer = await records.explain(await request.json_body())
        return Response(answer.status, answer.body)

    return [Route("POST", "/api/admin/rules/explain", explain)]


def require_admin(identity: Identity) -> None:
    """Raises AlyxError UNAUTHORIZED for an anonymous caller, FORBIDDEN for anybody else who is no admin."""
    if identity.id is None:
        raise AlyxError("UNAUTHORIZED", "This needs an admin's access token.")
    if not identity.is_admin:
        raise AlyxError("FORBIDDEN", "This is for admins.")
