"""`alyx init`: a new project from a template. Writes files; starts nothing."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from alyx.app.refusal import Refusal
from alyx.cli import console
from alyx.cli.lazy import Command, invocation

TEMPLATES = Path(__file__).parent / "templates"
_RENAMED = {"gitignore": ".gitignore"}
"""Stored without the dot, since build tools treat a file of that name as theirs."""
_KEPT = {"README.md", ".gitignore"}
"""What a fresh repository has already; left as it is."""


@click.command(cls=Command)
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--template",
    default="basic",
    show_default=True,
    type=click.Choice(["basic", "blog", "chat"]),
    help="basic: one collection. blog: users, posts, comments, and sample data. chat: live rooms, and a page in web/.",
)
def init(directory: Path, template: str) -> None:
    """Start a new project in DIRECTORY (default: here).

    Nothing is ever overwritten: a README.md or .gitignore of yours stays, and a folder that has a project already is refused.
    """
    files = read_template(template)
    standing = [name for name in files if (directory / name).exists()]
    if set(standing) - _KEPT:
        place = "this folder" if directory == Path() else str(directory)
        names = ", ".join(sorted(set(standing) - _KEPT))
        raise Refusal(f"{place} already has {names}", "choose an empty folder: alyx init myapp", files=standing)
    files = {name: data for name, data in files.items() if name not in standing}
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(data)
    if invocation().json:
        click.echo(json.dumps({"directory": str(directory), "template": template, "files": sorted(files)}))
        return
    _next_steps(directory, files)


def read_template(name: str) -> dict[str, bytes]:
    """The files of a template: path below the project's folder, with `/` -> content."""
    root = TEMPLATES / name
    found = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {_RENAMED.get(place, place): path.read_bytes() for place, path in found.items()}


def _next_steps(directory: Path, files: dict[str, bytes]) -> None:
    console.good(f"Wrote {', '.join(sorted(files))}" + ("" if directory == Path() else f" in {directory}"))
    console.line("\nNext:")
    if directory != Path():
        console.line(f"  [name]cd {console.plain(shlex.quote(str(directory)))}[/]")
    console.line("  [name]alyx dev[/]            serve it at http://127.0.0.1:8090 and follow your edits")
    if "seed.yaml" in files:
        console.line("  [name]alyx db seed seed.yaml[/]  bring in sample data")
    if "web/index.html" in files:
        console.line(
            "  [name]python3 -m http.server --bind 127.0.0.1 --directory web 8000[/]\n"
            "                       in another terminal: the page, at http://127.0.0.1:8000"
        )
