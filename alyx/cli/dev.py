"""`alyx dev`."""

from __future__ import annotations

import time

import click

from alyx.cli import project
from alyx.cli.lazy import Command, invocation


@click.command(cls=Command)
@click.option("--accept-data-loss", is_flag=True, help="Apply changes that lose data without asking.")
@click.pass_context
def dev(context: click.Context, accept_data_loss: bool) -> None:
    """Serve this folder, and bring every edit into force as it is saved.

    Safe changes of schema.yaml are applied to the database at once, others are asked for. A broken file changes nothing.
    """
    began = time.monotonic()
    from alyx.app import dev as developing
    from alyx.cli import screen

    terminal = screen.Terminal(interactive=screen.interactive())
    try:
        developing.run(project.config(), terminal, named=invocation().config, accept_data_loss=accept_data_loss, began=began)
    except KeyboardInterrupt:
        context.exit(130 if terminal.asking else 0)
