"""`alyx dev`."""

from __future__ import annotations

import time

import click

from alyx.cli import project
from alyx.cli.lazy import Command, invocation


@click.command(cls=Command)
@click.option("--accept-data-loss", is_flag=True, help="Apply changes that lose data without asking.")
@click.option("--write-migrations", is_flag=True, help="Write each change as a migration file, and run that.")
@project.listens
@click.pass_context
def dev(context: click.Context, accept_data_loss: bool, write_migrations: bool) -> None:
    """Serve this folder, and bring every edit into force as it is saved.

    Safe changes of schema.yaml are applied to the database at once, others are asked for. A broken file changes nothing.
    """
    began = time.monotonic()
    from alyx.app import dev as developing
    from alyx.app.upgrade import Consent
    from alyx.cli import screen

    terminal = screen.Terminal(interactive=screen.interactive())
    try:
        consent = Consent(terminal.ask, accept_data_loss, write_migrations)
        developing.run(project.config(), terminal, consent, named=invocation().config, began=began)
    except KeyboardInterrupt:
        context.exit(130 if terminal.asking else 0)
