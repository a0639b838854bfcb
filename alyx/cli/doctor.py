"""`alyx doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from alyx.cli import console, project
from alyx.cli.lazy import Command

_MARKS = {"ok": "[good]✓[/]", "warn": "[hint]![/]", "fail": "[bad]✗[/]"}


@click.command(cls=Command)
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check settings, schema, database, migrations, secret, port, disk and clock; exit code 1 if anything fails."""
    from alyx.app import doctor as checks

    findings = list(checks.examine(project.config()))
    failed = [finding for finding in findings if finding.state == "fail"]
    code = 1 if failed else 0
    if project.answer_json({"ok": not failed, "checks": [asdict(finding) for finding in findings]}):
        context.exit(code)
    for finding in findings:
        first, *rest = finding.text.splitlines() or [""]
        console.line(f"  {_MARKS[finding.state]} [name]{finding.name:<15}[/] {console.plain(first)}")
        for line in rest:
            console.line(f"    {'':<15} {console.plain(line)}")
        if finding.mend:
            console.line(f"    {'':<15} [hint]→ {console.plain(finding.mend)}[/]")
    warned = sum(finding.state == "warn" for finding in findings)
    console.line(f"\n  {len(findings) - warned - len(failed)} ok, {warned} to look at, {len(failed)} failed")
    context.exit(code)
