"""How Alyx looks on a terminal: colours, faults with their source line, plans, the start banner.

Used by the commands and by dev mode. Obeys NO_COLOR, and prints plain text where nobody looks (rich does both). rich is
imported at the first line printed, since `alyx version` does without.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alyx.base.errors import SourceFault

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 20
"""Faults shown in full; of more only the number is told."""

_SECRETS = ("secret", "client_secret", "password", "token")
_SECRET_VALUE = re.compile(r"""\b(?:client_secret|secret|password|token)["']?\s*:\s*(?![\s{\[])(.+)""")
"""To the end of the line: what follows in `{ ... }` is hidden, too, rather than half of a value shown."""
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^@\s]+)@")


@cache
def _console(stderr: bool, _stream: int) -> Console:
    from rich.console import Console
    from rich.theme import Theme

    theme = Theme({"name": "bold", "place": "cyan", "hint": "yellow", "good": "green", "bad": "bold red", "calm": "dim"})
    # soft_wrap is per print; a narrow pipe must not break a path in two, hence the width.
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, theme=theme, highlight=False, width=None if stream.isatty() else 240)


def out() -> Console:
    """Standard output."""
    return _console(False, id(sys.stdout))


def err() -> Console:
    """Standard error."""
    return _console(True, id(sys.stderr))


def line(text: str = "") -> None:
    """One line with rich markup on standard output. Whatever a user wrote must pass through `plain` first."""
    out().print(text, soft_wrap=True)


def plain(text: object) -> str:
    """Text with everything that rich would take for markup made harmless."""
    from rich.markup import escape

    return escape(str(text))


def good(text: str) -> None:
    """Something was done."""
    line(f"[good]✓[/] {plain(text)}")


def note(text: str) -> None:
    """A remark in passing, on standard error so that pipes stay clean."""
    err().print(f"[calm]{plain(text)}[/]", soft_wrap=True)


def warn(text: str) -> None:
    """Something to look at; work goes on."""
    err().print(f"[hint]![/] {plain(text)}", soft_wrap=True)


def error(message: str, hint: str | None = None, reasons: Sequence[str] = ()) -> None:
    """Something failed: the message, below it why, and what to do."""
    err().print(f"[bad]Error:[/] {plain(message)}", soft_wrap=True)
    for reason in reasons:
        err().print(f"    {plain(reason)}", soft_wrap=True)
    if hint:
        err().print(f"  [hint]→[/] {plain(hint)}", soft_wrap=True)


def faults(found: Sequence[SourceFault]) -> None:
    """Every fault with its source line and a caret under the place."""
    count = len(found)
    err().print(f"[bad]{'One mistake' if count == 1 else f'{count} mistakes'}[/]", soft_wrap=True)
    for fault in found[:_SHOWN]:
        _fault(fault)
    if count > _SHOWN:
        note(f"... and {count - _SHOWN} more")


def _fault(fault: SourceFault) -> None:
    place = fault.file + (f":{fault.line}" if fault.line else "") + (f":{fault.column}" if fault.line and fault.column else "")
    path = f" [name]{plain(fault.path)}[/]" if fault.path else ""
    err().print(f"\n  [place]{plain(place)}[/]{path}", soft_wrap=True)
    source = source_line(fault)
    if source is not None:
        text, caret = source
        gutter = f"{fault.line:>5} │ "
        err().print(f"[calm]{gutter}[/]{plain(text)}", soft_wrap=True)
        if caret is not None:
            err().print(" " * (len(gutter) - 2) + f"[calm]│[/] {' ' * caret}[bad]^[/]", soft_wrap=True)
    err().print(f"    {plain(fault.message)}", soft_wrap=True)
    if fault.hint:
        err().print(f"    [hint]→ {plain(fault.hint)}[/]", soft_wrap=True)


def source_line(fault: SourceFault, width: int = 100) -> tuple[str, int | None] | None:
    """The line of the file that a fault names, cut to `width` around it, and where the caret stands in it."""
    if not fault.line:
        return None
    try:
        lines = Path(fault.file).read_text("utf-8-sig", errors="replace").splitlines()
        text = lines[fault.line - 1].replace("\t", " ").rstrip()
    except (OSError, IndexError):
        return None
    text = _without_secrets(text)
    of_settings = not fault.path.startswith("collections.")
    if of_settings and fault.path.rpartition(".")[2] in _SECRETS and "*" not in text:
        return None  # the value stands below its key
    caret = fault.column - 1 if fault.column else None
    if len(text) > width:
        start = max(0, (caret or 0) - width // 2)
        caret = caret - start if caret is not None else None
        text = text[start : start + width]
    return text, caret


def _without_secrets(text: str) -> str:
    """A line with stars for values that nobody should read over a shoulder or in a log; a map below such a key is no value."""
    for found in [*_SECRET_VALUE.finditer(text), *_URL_PASSWORD.finditer(text)]:
        start, end = found.span(1)
        text = text[:start] + "*" * (end - start) + text[end:]
    return text


def table(rows: Iterable[Sequence[str]], headings: Sequence[str] = ()) -> None:
    """Columns, aligned, without lines."""
    from rich.table import Table

    made = Table(box=None, show_header=bool(headings), pad_edge=False, header_style="calm", padding=(0, 2, 0, 0))
    listed = list(rows)
    width = max((len(row) for row in listed), default=0)
    for heading in headings or [""] * width:
        made.add_column(heading, overflow="fold")
    for row in listed:
        made.add_row(*row)
    out().print(made)
