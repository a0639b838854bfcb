"""`alyx rules`: who may do what, tested and explained. Reads the schema; `explain` also reads a record."""

from __future__ import annotations

from pathlib import Path

import click

from alyx.app.refusal import Refusal
from alyx.cli import console, project
from alyx.cli.lazy import Commands


@click.group(cls=Commands)
def rules() -> None:
    """Explain and test who may do what."""


@rules.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def test(context: click.Context, file: Path | None) -> None:
    """Run the cases of FILE (default: rules_tests.yaml beside the schema); exit code 1 if one fails.

    A case names a collection, an operation, who asks (auth), the record (doc), records of other collections (given), and
    expects allow or deny. The database is not touched.
    """
    from alyx.app import build, rule_cases

    config = project.config()
    source = build.read_source(config)
    path = file or config.schema_file.with_name(rule_cases.FILE)
    if not path.exists():
        raise Refusal(f"there is no {path}", "write one; docs/rules.md shows how a case looks")
    outcomes = rule_cases.run(rule_cases.read(path, source), source)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    document = [
        {
            "name": outcome.case.name,
            "line": outcome.case.line,
            "passed": outcome.passed,
            "expected": "allow" if outcome.case.allowed else "deny",
            "got": "allow" if outcome.allowed else "deny",
            "rule": outcome.rule,
        }
        for outcome in outcomes
    ]
    if project.answer_json({"passed": len(outcomes) - len(failed), "failed": len(failed), "cases": document}):
        context.exit(1 if failed else 0)
    for outcome in outcomes:
        mark = "[good]✓[/]" if outcome.passed else "[bad]✗[/]"
        console.line(f"  {mark} {console.plain(outcome.case.name)}")
        if not outcome.passed:
            got = "allowed" if outcome.allowed else "denied"
            where = f"{path.name}:{outcome.case.line}"
            console.line(f"      {got} by {outcome.operation}: [name]{console.plain(outcome.rule)}[/]  [calm]{where}[/]")
    console.line(f"\n  {len(outcomes) - len(failed)} passed, {len(failed)} failed")
    context.exit(1 if failed else 0)
