"""The screen of dev mode and `serve`: what `app` tells, as a person enjoys reading it."""

from __future__ import annotations

import asyncio
import sys

from alyx import __version__
from alyx.app.screen import Screen, Started
from alyx.base import clock, json
from alyx.cli import console, failure, keyboard
from alyx.database.migrations.results import Plan
from alyx.schema.operations import AddCollection, AddField, DropCollection, DropField

MARKS = {"safe": "[good]+[/]", "needs_care": "[hint]~[/]", "destructive": "[bad]-[/]"}
WORDS = {"safe": "safe", "needs_care": "needs care", "destructive": "destructive"}
_MOST_NAMES = 8


class Terminal:
    """Talks to standard output and standard error. interactive: whether questions can be asked.

    asking: a question waits for its answer, or was given up by Ctrl-C.
    """

    def __init__(self, *, interactive: bool) -> None:
        self._interactive = interactive
        self.asking = False

    def started(self, facts: Started) -> None:
        """The banner: what serves, where to click, what is watched."""
        console.line(f"\n  [name]Alyx[/] {__version__}  [calm]ready in {facts.seconds:.1f} s[/]\n")
        rows = [("API", f"{facts.url}/api/collections/{facts.collections[0] if facts.collections else ''}")]
        if facts.docs:
            rows.append(("Docs", f"{facts.url}/docs"))
        if facts.live:
            rows.append(("Live", f"{facts.url}/_alyx/live"))
        rows.append(("Health", f"{facts.url}/health"))
        for name, link in rows:
            console.line(f"  [calm]{name:<11}[/][place]{console.plain(link)}[/]")
        names = ", ".join(facts.collections[:_MOST_NAMES])
        more = len(facts.collections) - _MOST_NAMES
        console.line(f"  [calm]Database   [/]{console.plain(facts.database)}")
        console.line(f"  [calm]Collections[/] {names}" + (f" and {more} more" if more > 0 else ""))
        if facts.workers > 1:
            console.line(f"  [calm]Workers    [/]{facts.workers}")
        if facts.watched:
            console.line(f"\n  [calm]Watching {', '.join(facts.watched)}. Ctrl-C stops.[/]")
        console.line()

    def remark(self, text: str) -> None:
        """Something to look at."""
        console.warn(text)

    def done(self, text: str) -> None:
        """Something was done."""
        console.good(text)

    def note(self, text: str) -> None:
        """Something calm."""
        console.line(f"[calm]{console.plain(text)}[/]")

    def failed(self, error: Exception, *, still: str | None = None) -> None:
        """An error as the command line shows it, and what goes on all the same."""
        failure.show(error, failure.describe(error))
        if still:
            console.note(f"  {still}\n")

    def plan(self, plan: Plan) -> None:
        """The changes with their marks, and why some of them are not simply made."""
        show_plan(plan)

    async def ask(self, question: str) -> bool | None:
        """Wait for y or n on the keyboard without holding anything up; None where there is no keyboard.

        Only what is typed after the question counts.
        """
        if not self._interactive or not keyboard.is_ours():
            return None
        keyboard.forget_typed()
        console.out().print(f"[hint]?[/] {console.plain(question)} [calm](y/N)[/] ", end="", soft_wrap=True)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def typed() -> None:
            if not answer.done():
                answer.set_result(keyboard.read_line())

        # A thread that waits for a line could not be given up when the file is saved again, nor at Ctrl-C.
        loop.add_reader(sys.stdin.fileno(), typed)
        self.asking = True
        try:
            said = (await answer).strip().lower() in ("y", "yes")
            self.asking = False
            return said
        except asyncio.CancelledError:
            console.line()
            raise
        finally:
            loop.remove_reader(sys.stdin.fileno())


class JsonLines:
    """The screen of `serve` where nobody looks: what is told becomes lines of the log, so that a collector can read them all."""

    def started(self, facts: Started) -> None:
        """One line with the facts."""
        self._write("info", f"ready in {facts.seconds:.1f} s", url=facts.url, version=__version__, workers=facts.workers)

    def remark(self, text: str) -> None:
        """A warning."""
        self._write("warning", text)

    def done(self, text: str) -> None:
        """Something was done."""
        self._write("info", text)

    def note(self, text: str) -> None:
        """Something calm."""
        self._write("debug", text)

    def failed(self, error: Exception, *, still: str | None = None) -> None:
        """An error."""
        self._write("error", str(error))

    def plan(self, plan: Plan) -> None:
        """Nothing: what is done is told when it is done."""

    async def ask(self, question: str) -> bool | None:
        """Nobody is here."""
        return None

    def _write(self, level: str, text: str, **more: object) -> None:
        line = json.dumps({"ts": clock.now(), "level": level, "msg": text, "logger": "alyx.app", **more})
        sys.stderr.write(line.decode() + "\n")
        sys.stderr.flush()


def for_serve(*, as_json: bool) -> Screen:
    """The screen of `serve`: a person's at a terminal or with a console log, else lines of JSON."""
    return JsonLines() if as_json and not sys.stdout.isatty() else Terminal(interactive=False)


def interactive() -> bool:
    """Whether somebody sits at a keyboard."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def show_plan(plan: Plan) -> None:
    """The files that wait, then a line for each change; a reason under those that need one, and the rows that matter."""
    for file in plan.pending:
        console.line(f"  [place]▸[/] {console.plain(file.path.name)}  [calm]migration file[/]")
    for item in plan.changes:
        word = "cannot be made" if item.blocked else WORDS[item.level]
        console.line(f"  {MARKS[item.level]} {console.plain(item.title)}  [calm]{word}[/]")
        if item.level != "safe" or item.blocked:
            console.line(f"      [calm]{console.plain(item.reason)}[/]")
        for finding in item.findings:
            console.line(f"      [hint]{console.plain(finding)}[/]")
    for text in (*rename_hints(plan), *plan.remarks):
        console.line(f"  [calm]{console.plain(text)}[/]")


def rename_hints(plan: Plan) -> list[str]:
    """What looks like a field or collection under another name: dropped here, added there, of the same form."""
    steps = [item.change.step for item in plan.changes]
    hints = []
    for old in steps:
        for new in steps:
            match old, new:
                case DropField(), AddField() if old.collection == new.collection and old.field.type is new.field.type:
                    names = old.field.name, new.field.name
                case DropCollection(), AddCollection() if old.collection.fields.keys() == new.collection.fields.keys():
                    names = old.collection.name, new.collection.name
                case _:
                    continue
            hints.append(
                f"Is {names[1]} the former {names[0]}? Then write `renamed_from: {names[0]}` there, and its values stay."
            )
    return hints
