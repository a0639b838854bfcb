"""`alyx migrate`: shows and makes the way from the database to schema.yaml. The migrator does the work; this asks and prints."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from alyx.app.refusal import Refusal
from alyx.cli import console, project
from alyx.cli.lazy import Commands


@click.group(cls=Commands)
def migrate() -> None:
    """Bring the database to schema.yaml, and back.

    Changes are safe, need care (--yes), or are destructive (--accept-data-loss).
    """


@migrate.command()
def plan() -> None:
    """Show what apply would do, and why."""
    from alyx.cli import screen

    migrator, source = _begin()
    found = migrator.plan(source.schema)
    if project.answer_json(_plan_document(found)):
        return
    if found.empty:
        console.good("The database is at the schema")
        for remark in found.remarks:
            console.warn(remark)
        return
    screen.show_plan(found)
    if found.blocked:
        console.line("\nStored records stand in the way; mend them first.")
    elif found.changes:
        console.line(f"\n{_command_for(found.level)} [calm]does this[/]")
    else:
        console.line(f"\n{_command_for('safe')} [calm]runs them[/]")


@migrate.command()
@click.argument("name")
@click.option("--description", help="A sentence that stands in the file.")
def create(name: str, description: str | None) -> None:
    """Write the difference as a file.

    That is the difference between the database and schema.yaml; the file is the next one of the migrations folder.
    """
    migrator, source = _begin()
    written = migrator.create(source.schema, name, description)
    if project.answer_json({"files": [str(path) for path in written]}):
        return
    if not written:
        console.good("There is no difference to write")
        return
    for path in written:
        console.good(f"Wrote {_short(path)}")
    waits = bool(migrator.status().pending)
    console.line("[calm]`alyx migrate apply` runs what waits.[/]" if waits else "[calm]They hold what was applied already.[/]")


@migrate.command()
@click.option("--yes", is_flag=True, help="Also make changes that need care.")
@click.option("--accept-data-loss", is_flag=True, help="Also make changes that lose data.")
@click.pass_context
def apply(context: click.Context, yes: bool, accept_data_loss: bool) -> None:
    """Bring the database to the schema.

    Runs the pending files, then what is safe in the difference to schema.yaml. The difference is made as a whole or not at all:
    where it needs care or loses data nothing of it is done without the flag.
    """
    migrator, source = _begin()
    done = migrator.apply(source.schema, yes=yes, accept_data_loss=accept_data_loss)
    document = {
        "applied": [file.path.name for file in done.files],
        "changes": [item.document() for item in done.changes],
        "refused": [item.document() for item in done.refused],
        "remarks": list(done.remarks),
    }
    if project.answer_json(document):
        context.exit(0 if done.ok else 1)
    for file in done.files:
        console.good(file.path.name)
    for item in done.changes:
        console.good(item.title)
    for remark in done.remarks:
        console.note(remark)
    if not done.ok:
        raise Refusal("the difference to the schema was not applied", _refused_hint(done.refused), reasons=list(done.reasons))
    if not done.changed:
        console.good("The database is at the schema already")


@migrate.command()
def status() -> None:
    """List what was applied and what waits."""
    migrator, _ = _begin(schema=False)
    found = migrator.status()
    document = {
        "applied": [asdict(step) for step in found.applied],
        "pending": [{"version": file.version, "name": file.name, "file": file.path.name} for file in found.pending],
        "problems": list(found.problems),
    }
    if project.answer_json(document):
        return
    rows = [
        [
            f"{step.id}",
            f"{step.version:03d}_{step.name}" if step.version is not None else step.name,
            step.kind,
            step.applied_at[:19],
        ]
        for step in found.applied
    ]
    rows += [["", file.path.name, "file", "pending"] for file in found.pending]
    if rows:
        console.table([[console.plain(cell) for cell in row] for row in rows], ["", "Migration", "Kind", "Applied (UTC)"])
    else:
        console.line("Nothing was applied yet, and nothing waits.")
    for problem in found.problems:
        console.warn(problem)


@migrate.command()
@click.argument("steps", type=click.IntRange(min=1), default=1)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rollback(steps: int, yes: bool) -> None:
    """Undo the last steps.

    STEPS is how many (default 1); a step is a file or a planned migration. If data goes with them, somebody at the keyboard is
    asked; it is kept for 30 days in any case.
    """
    migrator, _ = _begin(schema=False)
    if not yes and sys.stdin.isatty() and (taken := migrator.preview_rollback(steps).taken):
        goes = ", ".join(str(item) for item in taken)
        project.confirm(f"This takes away {goes}. Roll back?", f"this takes away {goes}")
    done = migrator.rollback(steps)
    document = {
        "rolled_back": [asdict(step) for step in done.steps],
        "remarks": list(done.remarks),
        "taken": [asdict(item) for item in done.taken],
    }
    if project.answer_json(document):
        return
    for step in done.steps:
        console.good(f"Rolled back {step.name}")
    for remark in done.remarks:
        console.note(remark)
    console.line(f"[calm]{_after_rollback([step.kind for step in done.steps])}[/]")


@migrate.command("empty-trash")
@click.option("--yes", is_flag=True, help="Do not ask.")
def empty_trash(yes: bool) -> None:
    """Erase what rollbacks would bring back.

    Records and values that a migration took away are kept for 30 days. Without them a rollback still works, but brings back empty
    fields and collections.
    """
    migrator, _ = _begin(schema=False)
    if not yes:
        project.confirm("Erase what migrations took away?", "this erases what a rollback would bring back")
    removed = migrator.empty_trash()
    if project.answer_json({"removed": removed}):
        return
    tables = "1 table" if removed == 1 else f"{removed} tables"
    console.good(f"Erased {tables}" if removed else "The trash is empty")


@migrate.command()
@click.pass_context
def drift(context: click.Context) -> None:
    """Compare the tables with the history.

    Exit code 1 if somebody changed them by hand.
    """
    migrator, source = _begin_whatever_the_schema()
    found = migrator.drift(source and source.schema)
    code = 1 if found.found else 0
    if project.answer_json({"drift": list(found.found), "remarks": list(found.remarks)}):
        context.exit(code)
    for text in found.found:
        console.line(f"  [bad]✗[/] {console.plain(text)}")
    for remark in found.remarks:
        console.line(f"  [calm]{console.plain(remark)}[/]")
    if not found.found:
        console.good("The tables are what the history says")
    context.exit(code)


@migrate.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Tell whether all of it agrees.

    That is the migration files, schema.yaml and the database; exit code 1 if they do not.
    """
    migrator, source = _begin()
    found = migrator.check(source.schema)
    code = 0 if found.ok else 1
    if project.answer_json({"ok": found.ok, "problems": list(found.problems)}):
        context.exit(code)
    for problem in found.problems:
        console.line(f"  [bad]✗[/] {console.plain(problem)}")
    if found.ok:
        console.good("Files, schema and database agree")
    context.exit(code)


def _begin(*, schema: bool = True) -> tuple[Any, Any]:
    """The migrator, and the checked schema unless the command does without."""
    from alyx.app import build

    config = project.config()
    build.require_schema_file(config)
    source = build.read_source(config) if schema else None
    return build.migrator(config), source


def _begin_whatever_the_schema() -> tuple[Any, Any]:
    """The migrator, and the schema if it is good: without it, only what rules read cannot be compared."""
    from alyx.base.errors import SourceError

    try:
        return _begin()
    except SourceError:
        console.note("schema.yaml has mistakes: the tables are compared with the history alone; `alyx migrate plan` shows them")
        return _begin(schema=False)


def _after_rollback(kinds: list[str]) -> str:
    files = kinds.count("file")
    if files:
        waits = "The file waits" if files == 1 else f"{files} files wait"
        return f"{waits} again: `alyx dev` or `alyx migrate apply` would run {'it' if files == 1 else 'them'}."
    return "schema.yaml still says otherwise: `alyx dev` or `alyx migrate apply` would make it again."


def _plan_document(found: Any) -> dict[str, Any]:
    return {
        "empty": found.empty,
        "level": found.level,
        "blocked": found.blocked,
        "pending": [file.path.name for file in found.pending],
        "changes": [item.document() for item in found.changes],
        "remarks": list(found.remarks),
    }


def _command_for(level: str) -> str:
    flag = {"safe": "", "needs_care": " --yes", "destructive": " --accept-data-loss"}[level]
    return f"[name]alyx migrate apply{flag}[/]"


def _refused_hint(refused: Any) -> str:
    if any(item.blocked for item in refused):
        return "mend the records that are named, or change the schema"
    flag = "--accept-data-loss" if any(item.level == "destructive" for item in refused) else "--yes"
    return f"`alyx migrate apply {flag}` does it all the same"


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
