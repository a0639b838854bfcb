"""What a user sees when something fails: one message, a hint, an exit code; never a traceback unless asked for.

Called by `root` for everything that a command raises.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import click

from alyx.app.refusal import Refusal
from alyx.base.errors import AlyxError, SourceError

FAILED, MISUSE, INTERRUPTED = 1, 2, 128 + signal.SIGINT


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Show the error; returns the exit code of contract §8."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        click.echo("", err=True)
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has seen enough (`| head`); without this the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, click.UsageError) and not as_json:
        error.show()
        return MISUSE
    if debug:
        traceback.print_exception(error)
    found = describe(error)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(error, found)
    return MISUSE if isinstance(error, click.UsageError) else FAILED


def describe(error: BaseException) -> dict[str, Any]:
    """An error as data: `error`, `code`, `hint`, and whatever belongs to its kind."""
    if isinstance(error, SourceError):
        faults = [
            {"file": f.file, "line": f.line, "column": f.column, "path": f.path, "message": f.message, "hint": f.hint}
            for f in error.faults
        ]
        return {"error": str(error), "code": "INVALID_SOURCE", "faults": faults}
    if isinstance(error, AlyxError):
        details = [{"field": d.field, "code": d.code, "message": d.message} for d in error.details]
        return {"error": error.message, "code": error.code, "hint": error.hint, "details": details}
    if isinstance(error, Refusal):
        return {"error": error.message, "code": "FAILED", "hint": error.hint, **error.data}
    from alyx.database.migrations.errors import MigrationError
    from alyx.database.work import DatabaseError

    if isinstance(error, DatabaseError):
        return {"error": str(error), "code": "FAILED", "hint": "`alyx doctor` tells more"}
    if isinstance(error, MigrationError):
        return {"error": error.message, "code": "FAILED", "hint": error.hint, "reasons": error.reasons}
    if isinstance(error, click.ClickException):
        return {
            "error": error.format_message(),
            "code": "USAGE" if isinstance(error, click.UsageError) else "FAILED",
            "hint": None,
        }
    if isinstance(error, OSError) and error.strerror:
        return {
            "error": f"{error.strerror}: {error.filename}" if error.filename else error.strerror,
            "code": "FAILED",
            "hint": None,
        }
    return {
        "error": f"something unexpected happened: {type(error).__name__}: {error}",
        "code": "UNEXPECTED",
        "hint": "run the same command with --debug to see where; please report it",
    }


def show(error: BaseException, found: dict[str, Any]) -> None:
    """Print an error for a person, on standard error."""
    from alyx.cli import console

    if isinstance(error, SourceError):
        console.faults(error.faults)
    else:
        lines = [f"{detail['field']}: {detail['message']}" for detail in found.get("details", [])]
        console.error(str(found["error"]), found.get("hint"), [*lines, *found.get("reasons", [])])
