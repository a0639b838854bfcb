"""`alyx serve`."""

from __future__ import annotations

import time

import click

from alyx.cli import project
from alyx.cli.lazy import Command


@click.command(cls=Command)
@click.option("--migrate", is_flag=True, help="First bring the database to schema.yaml as far as that is safe.")
@project.listens
@click.pass_context
def serve(context: click.Context, migrate: bool) -> None:
    """Serve in production until SIGTERM or Ctrl-C; requests in flight are finished.

    Needs auth.jwt.secret (32 bytes or more) and a database that is migrated.
    """
    began = time.monotonic()
    from alyx.app import serve as serving
    from alyx.cli import screen

    config = project.config()
    try:
        told = screen.for_serve(as_json=config.logging(dev=False).format == "json")
        context.exit(serving.run(config, told, migrate=migrate, began=began))
    except KeyboardInterrupt:
        context.exit(0)
