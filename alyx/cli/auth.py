"""`alyx auth token`: a token to try rules with, until there are accounts."""

from __future__ import annotations

import click

from alyx.cli import console, options, project
from alyx.cli.lazy import Commands


@click.group(cls=Commands)
def auth() -> None:
    """Tokens for development."""


@auth.command()
@click.option("--id", "user_id", required=True, help="The user's id: `auth.id` in rules.")
@click.option("--role", default="user", show_default=True, help="`auth.role` in rules; `admin` is the administrator.")
@click.option("--email", help="`auth.email` in rules.")
@click.option("--verified", is_flag=True, help="`auth.verified` in rules.")
@click.option("--claims", help='`auth.claims` in rules, as JSON: \'{"team": "red"}\'.')
@click.option("--ttl", help="How long it is good, such as 12h (default: auth.jwt.access_ttl).")
def token(user_id: str, role: str, email: str | None, verified: bool, claims: str | None, ttl: str | None) -> None:
    """Make an access token for any user, for development.

    It is signed with the secret of `alyx dev` or of alyx.yaml, so that whoever may read those can be anybody.
    """
    from alyx.app import build
    from alyx.app import secret as secrets
    from alyx.auth import tokens

    config = project.config()
    seconds = options.seconds(ttl, "--ttl")
    given = options.json_object(claims, "--claims")
    if not user_id or not role:
        raise click.BadParameter("it cannot be empty", param_hint="--role" if user_id else "--id")
    build.require_schema_file(config)
    secret, made = secrets.for_development(config)
    settings = config.tokens(secret)
    text = tokens.issue(settings, user_id, role=role, email=email, verified=verified, claims=given, ttl=seconds)
    lasts = seconds if seconds is not None else settings.access_ttl
    if project.answer_json({"token": text, "expires_in": int(lasts)}):
        return
    click.echo(text)
    if made:
        console.note(f"Made the development secret {made}.")
    console.note(f"For development: {user_id}, role {role}, good for {int(lasts)} s. Send it as `Authorization: Bearer <token>`.")
