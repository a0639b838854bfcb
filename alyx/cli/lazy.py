"""click groups whose sub-commands are imported when they are called, and the options that every command takes.

Used by `root` and by the modules that hold a group of their own.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(slots=True)
class Invocation:
    """The options shared by all commands, wherever on the line they stand.

    config: the alyx.yaml named by --config, None for the one in this folder.
    """

    config: Path | None = None
    json: bool = False
    debug: bool = False


def invocation() -> Invocation:
    """The shared options of the command that runs."""
    found = click.get_current_context().find_root().ensure_object(Invocation)
    assert isinstance(found, Invocation)
    return found


class Command(click.Command):
    """A command that also takes the shared options after its name."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.params.extend(_shared())


class Commands(click.Group):
    """A group that knows its sub-commands by `module:name` and a line of help; imports one when it is called.

    commands_at: name -> (`module:attribute`, help line).
    """

    command_class = Command

    def __init__(self, *args: Any, commands_at: dict[str, tuple[str, str]] | None = None, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self._at = commands_at or {}
        self.params.extend(_shared())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order in which a newcomer meets them."""
        return [*self._at, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module now."""
        if cmd_name not in self._at:
            return super().get_command(ctx, cmd_name)
        module, _, name = self._at[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, but with the help lines of the table, so that `alyx --help` imports no command."""
        if not self._at:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._at.items()])


def _shared() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=_store("config"),
            help="The alyx.yaml to use (default: the one in this folder).",
        ),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_store("json"), help="Answer as JSON, for scripts."),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_store("debug"),
            help="Show the traceback of an unexpected error.",
        ),
    ]


def _store(name: str) -> Any:
    def callback(context: click.Context, _option: click.Parameter, value: Any) -> None:
        found = context.find_root().ensure_object(Invocation)
        if value:
            setattr(found, name, value)

    return callback
