"""The `alyx` command: which sub-commands there are, the options all of them share, and how an error becomes an exit code.

Called by `main`. Sub-commands live one module each beside this one and are imported only when asked for, so that `alyx version`
stays quick. Never does any of the work itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from alyx import __version__
from alyx.cli import failure
from alyx.cli.lazy import Commands, Invocation

COMMANDS = {
    "init": ("alyx.cli.init:init", "Start a new project from a template."),
    "dev": ("alyx.cli.dev:dev", "Serve this folder and follow every edit."),
    "serve": ("alyx.cli.serve:serve", "Serve in production."),
    "migrate": ("alyx.cli.migrate:migrate", "Bring the database to schema.yaml, and back."),
    "rules": ("alyx.cli.rules:rules", "Explain and test who may do what."),
    "db": ("alyx.cli.db:db", "Import, export, dump, seed, reset."),
    "auth": ("alyx.cli.auth:auth", "Tokens for development."),
    "doctor": ("alyx.cli.doctor:doctor", "Check that everything is in order."),
    "version": ("alyx.cli.version:version", "Print the version."),
}


class Root(Commands):
    """The top-level group; all ways out of the program pass through its `main`."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run and leave the process: 0 done, 1 failed, 2 misuse of the command line, 130 interrupted (contract §8)."""
        extra.pop("standalone_mode", None)
        words = list(sys.argv[1:] if args is None else args)
        try:
            left = super().main(args=words, prog_name=prog_name or "alyx", standalone_mode=False, **extra)
            code = left if isinstance(left, int) else 0
        except BaseException as error:
            code = failure.report(error, as_json="--json" in words, debug="--debug" in words)
        sys.exit(code)


@click.group(
    cls=Root, commands_at=COMMANDS, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="alyx %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """A backend from two YAML files: tables, REST, rules, live queries.

    Start with `alyx init myapp`, then `alyx dev` inside it.
    """
    context.ensure_object(Invocation)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
