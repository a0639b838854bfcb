"""`alyx rules`: who may do what, tested and explained. Reads the schema; `explain` also reads a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from alyx.app.refusal import Refusal
from alyx.cli import console, project
from alyx.cli.lazy import Commands
from alyx.schema.model import Operation


@click.group(cls=Commands)
def rules() -> None:
    """Explain and test who may do what."""


@rules.command()
@click.argument("collection")
@click.argument("operation", type=click.Choice(["create", "read", "update", "delete"]))
@click.argument("record", required=False)
@click.option("--doc", help="The record as JSON, instead of the id of a stored one; what is left out has its default, or null.")
@click.option("--change", help="For an update: the fields that it sets, as JSON.")
@click.option("--id", "user_id", help="Who asks: `auth.id`. Without it nobody is signed in.")
@click.option("--role", help="`auth.role` (default with --id: user).")
@click.option("--email", help="`auth.email`.")
@click.option("--claims", help="`auth.claims`, as JSON.")
@click.pass_context
def explain(
    context: click.Context,
    collection: str,
    operation: Operation,
    record: str | None,
    doc: str | None,
    change: str | None,
    user_id: str | None,
    role: str | None,
    email: str | None,
    claims: str | None,
) -> None:
    """Show which part of a rule allows or refuses OPERATION on RECORD (its id) in COLLECTION; exit code 1 if it is refused.

    Rules that look into other collections are asked in the database of this folder.
    """
    from alyx.app import build, explaining

    config = project.config()
    source = build.read_source(config)
    auth = {
        "id": user_id,
        "email": email,
        "role": role or ("user" if user_id else None),
        "verified": False,
        "claims": _object(claims, "--claims"),
    }
    with build.reading(config, source) as connection:
        asked = explaining.ask(
            source,
            connection,
            collection,
            operation,
            auth,
            record=record,
            doc=None if doc is None else _object(doc, "--doc"),
            change=_object(change, "--change"),
        )
        steps = explaining.explain(asked, source, connection)
    allowed = all(step.allowed for step in steps)
    if not project.answer_json({"allowed": allowed, "steps": [step.document() for step in steps]}):
        for step in steps:
            _show(step.document())
        console.line(f"\n  {'[good]allowed[/]' if allowed else '[bad]refused[/]'}")
    context.exit(0 if allowed else 1)


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


_VERDICTS = {True: "[good]true [/]", False: "[bad]false[/]", None: "[hint]error[/]"}


def _show(step: dict[str, Any]) -> None:
    missing = "  [calm](no rule: admins only)[/]" if step["missing"] else ""
    console.line(f"\n  [name]{step['operation']}[/]{missing}")
    _show_part(step["parts"], 2)


def _show_part(part: dict[str, Any], depth: int) -> None:
    """A part and those inside it; what did not decide is dim."""
    text = console.plain(" ".join(part["text"].split()))
    saw = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in part.get("saw", {}).items())
    shown = text if part["decisive"] else f"[calm]{text}[/]"
    console.line(f"{'  ' * depth}{_VERDICTS[part['verdict']]} {shown}" + (f"  [calm]{console.plain(saw)}[/]" if saw else ""))
    for inner in part.get("parts", ()):
        _show_part(inner, depth + 1)


def _object(text: str | None, option: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter("this is not JSON", param_hint=option) from error
    if not isinstance(found, dict):
        raise click.BadParameter("a JSON object is needed", param_hint=option)
    return found
