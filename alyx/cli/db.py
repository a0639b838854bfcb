"""`alyx db`: records in and out of files, sample data, a fresh start. Works on the database of this folder, served or not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from alyx.app.refusal import Refusal
from alyx.cli import console, project
from alyx.cli.lazy import Commands, invocation
from alyx.schema.model import Schema

_CSV, _LINES = "csv", "jsonl"
_SUFFIXES = {".csv": _CSV, ".jsonl": _LINES, ".ndjson": _LINES, ".json": _LINES}


@click.group(cls=Commands)
def db() -> None:
    """Import, export, dump, seed and reset the database of this folder."""


_format = click.option("--format", "format_", type=click.Choice([_CSV, _LINES]), help="Default: by the file's name, else jsonl.")


@db.command("import")
@click.argument("collection")
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False))
@_format
@click.option("--atomic", is_flag=True, help="All rows or none, in one transaction; they are held in memory.")
@click.option("--skip-existing", is_flag=True, help="Leave out rows whose id is there already.")
def import_(collection: str, file: str, format_: str | None, atomic: bool, skip_existing: bool) -> None:
    """Bring rows of a file into a collection.

    FILE is CSV or JSON lines; - is standard input.
    Every row is checked as a create would be; ids and all other values are kept. Rows go in by the thousand, a transaction each.
    After the first fault nothing more is written, and the rest is only checked. In CSV an empty cell is null, "" is empty text.
    """
    from alyx.app import build, transfer
    from alyx.records.transfer import Incoming

    config = project.config()
    source = build.read_source(config)
    incoming = Incoming(project.collection(source.schema, collection), source.metadata)

    async def run() -> transfer.Report:
        with _reading(file) as lines:
            rows = incoming.csv(lines) if _format_of(file, format_) == _CSV else incoming.json_lines(lines)
            async with build.database(config, patient=True) as engine:
                return await transfer.bring_in(engine, rows, atomic=atomic, skip_existing=skip_existing)

    build.require_migrated(config, source)
    report = project.wait(run)
    _tell(report, f"into {collection}", file)


@db.command()
@click.argument("collection")
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False), default="-")
@_format
def export(collection: str, file: str, format_: str | None) -> None:
    """Write a collection to a file.

    FILE (default: standard output) is CSV or JSON lines, in the order of the key.
    Internal fields are part of it. What is exported can be imported again and gives the same values.
    """
    from alyx.app import build, transfer
    from alyx.records.transfer import Outgoing

    config = project.config()
    source = build.read_source(config)
    outgoing = Outgoing(project.collection(source.schema, collection), source.metadata)

    async def run() -> int:
        count = 0
        with _writing(file) as out:
            async with build.database(config, patient=True) as engine:
                async for line in transfer.lines_out(engine, outgoing, _format_of(file, format_)):
                    out.write(line)
                    count += 1
        return count - (_format_of(file, format_) == _CSV)

    build.require_migrated(config, source)
    count = project.wait(run)
    if file != "-" and not project.answer_json({"exported": count, "file": file}):
        console.good(f"Exported {_records(count)} of {collection} to {file}")


@db.command()
@click.argument("target", default="-")
def dump(target: str) -> None:
    """Write the whole database to a file.

    TARGET is a file (or -) of JSON lines, or a folder with one file for each collection. A folder is what TARGET is if it
    exists as one or ends in /. All of it is read at one moment, so that it fits together. `alyx db seed` takes such a file
    back.
    """
    from alyx.app import build, transfer

    config = project.config()
    source = build.read_source(config)
    folder = Path(target) if target.endswith("/") or Path(target).is_dir() else None

    async def run() -> int:
        async with build.database(config, patient=True) as engine:
            if folder is not None:
                return await transfer.dump(engine, source.schema, source.metadata, _into_folder(folder, source.schema))
            with _writing(target) as out:
                return await transfer.dump(engine, source.schema, source.metadata, _into_file(out))

    build.require_migrated(config, source)
    count = project.wait(run)
    if target != "-" and not project.answer_json({"dumped": count, "target": target}):
        console.good(f"Dumped {_records(count)} to {target}")


@db.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def seed(files: tuple[Path, ...]) -> None:
    """Bring sample data in.

    FILES are YAML or JSON (`posts: [{...}]`) or dumps (.jsonl); without any it is seed.yaml beside alyx.yaml. All or nothing.
    A row whose id is there already is left alone, so seeding twice changes nothing.
    """
    from alyx.app import build, transfer
    from alyx.base.errors import SourceError
    from alyx.records.transfer import Row

    config = project.config()
    source = build.read_source(config)
    reader = transfer.SeedReader(source.schema, source.metadata)
    rows: list[Row] = []
    files = files or (config.folder / "seed.yaml",)
    for file in files:
        rows += reader.read(file)
    if reader.faults:
        raise SourceError(reader.faults)

    async def run() -> transfer.Report:
        async with build.database(config, patient=True) as engine:
            return await transfer.bring_in(engine, rows, atomic=True, skip_existing=True)

    build.require_migrated(config, source)
    report = project.wait(run)
    if reader.without_key:
        console.warn(f"{_records(reader.without_key)} without an id: seeding again will make them again")
    _tell(report, "", ", ".join(str(file) for file in files))


@db.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Delete every record.

    The database is then built anew from the migrations and schema.yaml.
    """
    from alyx.app import build, reset

    config = project.config()
    source = build.read_source(config)
    if not yes:
        project.confirm(f"Delete every record in {config.database_path}?", "this deletes every record")
    reset.reset(config, source)
    if not project.answer_json({"reset": str(config.database_path)}):
        console.good(f"{config.database_path} is empty, with the tables of {config.schema_file.name}")


def _into_folder(folder: Path, schema: Schema) -> Callable[[str, list[str]], None]:
    """Writes each collection to a file of its own; those that are there already are written anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in schema.collections:
        (folder / f"{name}.jsonl").write_bytes(b"")

    def take(name: str, texts: list[str]) -> None:
        with (folder / f"{name}.jsonl").open("a", encoding="utf-8", newline="\n") as out:
            out.writelines(text + "\n" for text in texts)

    return take


def _into_file(out: IO[str]) -> Callable[[str, list[str]], None]:
    """Writes everything to one stream, each line with its collection."""

    def take(name: str, texts: list[str]) -> None:
        out.writelines(f'{{"collection":"{name}","doc":{text}}}\n' for text in texts)

    return take


def _format_of(file: str, chosen: str | None) -> str:
    return chosen or _SUFFIXES.get(Path(file).suffix.lower(), _LINES)


@contextmanager
def _reading(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as opened:
        yield opened


@contextmanager
def _writing(file: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdout
        return
    with Path(file).open("w", encoding="utf-8", newline="\n") as opened:
        yield opened


def _tell(report: Any, where: str, file: str) -> None:
    faults = [{"line": f.line, "field": f.field, "message": f.message} for f in report.faults]
    counted = {"inserted": report.inserted, "skipped": report.skipped, "faults": faults}
    if not report.faults:
        if not project.answer_json(counted):
            skipped = f", left {report.skipped} that were there" if report.skipped else ""
            console.good(f"Brought {_records(report.inserted)} {where}".rstrip() + skipped)
        return
    if not invocation().json:
        for fault in report.faults:
            console.note(f"{file}: {fault}")
    stands = f"{_records(report.inserted)} of earlier lines are in" if report.inserted else "nothing was written"
    count = "one row" if len(faults) == 1 else f"{len(faults)} faults"
    raise Refusal(f"{file} cannot be brought in: {count}; {stands}", _resume_hint(report), **counted)


def _resume_hint(report: Any) -> str | None:
    return "mend the file and import it again with --skip-existing" if report.inserted else None


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"
