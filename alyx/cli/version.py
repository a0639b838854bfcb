"""`alyx version`."""

from __future__ import annotations

import json
import platform

import click

from alyx import __version__
from alyx.cli.lazy import Command, invocation


@click.command(cls=Command)
def version() -> None:
    """Print the version of Alyx, Python and SQLite."""
    import apsw

    found = {"alyx": __version__, "python": platform.python_version(), "sqlite": apsw.sqlite_lib_version()}
    if invocation().json:
        click.echo(json.dumps(found))
    else:
        click.echo(f"alyx {found['alyx']} (Python {found['python']}, SQLite {found['sqlite']})")
