"""`alyx rules`: who may do what, tested and explained. Reads the schema; `explain` also reads a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from alyx.app.refusal import Refusal
from alyx.base.errors import AlyxError
from alyx.cli import console, options, project
from alyx.cli.lazy import Commands
from alyx.schema.model import JUDGED


@click.group(cls=Commands)
def rules() -> None:
    """Explain and test who may do what."""


@rules.command()
@click.argument("collection")
@click.argument("operation", type=click.Choice(JUDGED))
@click.argument("record", required=False)
@click.option("--data", help="What a create or an update brings, as JSON.")
@click.option("--id", "user_id", help="Who asks: `auth.id`. Without it nobody is signed in.")
@click.option("--role", help="`auth.role` (default with --id: user).")
@click.option("--email", help="`auth.email`.")
@click.option("--claims", help="`auth.claims`, as JSON.")
@click.pass_context
def explain(
    context: click.Context,
    collection: str,
    operation: str,
    record: str | None,
    data: str | None,
    user_id: str | None,
    role: str | None,
    email: str | None,
    claims: str | None,
) -> None:
    """Show which part of a rule decides.

    About OPERATION on RECORD (its id) in COLLECTION; exit code 1 if it is refused. A create needs --data and no RECORD. Rules
    that look into other collections are asked in the database of this folder.
    """
    from alyx.app import build

    given, brought = options.json_object(claims, "--claims"), options.json_object(data, "--data")
    caller = {"id": user_id, "email": email, "role": role or ("user" if user_id else None), "claims": given}
    question = {"collection": collection, "operation": operation, "id": record, "data": brought, "auth": caller}
    body = json.dumps({name: value for name, value in question.items() if value is not None}).encode()
    config = project.config()
    source = build.read_source(config)
    project.collection(source.schema, collection)

    async def run() -> bytes:
        async with build.database(config) as engine:
            try:
                return (await build.record_api(config, source, engine).explain(body)).body
            except AlyxError as error:
                if error.code != "DOCUMENT_NOT_FOUND":
                    raise
                raise Refusal(
                    f"there is no record {record} in {collection}", f"`alyx db export {collection}` lists them"
                ) from error

    build.require_migrated(config, source)
    found = json.loads(project.wait(run))
    if not project.answer_json(found):
        for step in found["rules"]:
            _show(step)
        console.line(f"\n  {'[good]allowed[/]' if found['allowed'] else '[bad]refused[/]'}")
    context.exit(0 if found["allowed"] else 1)


@rules.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def test(context: click.Context, file: Path | None) -> None:
    """Run the cases of rules_tests.yaml.

    FILE is another one than that beside the schema. Exit code 1 if a case fails. A case names a collection, an operation, who
    asks (auth), the record (doc), records of other collections (given), and expects allow or deny. The database is not touched.
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


_MARKS = {"true": "[good]true [/]", "false": "[bad]false[/]", "error": "[hint]error[/]"}


def _show(judged: dict[str, Any]) -> None:
    missing = "  [calm](no rule: admins only)[/]" if judged["missing"] else ""
    console.line(f"\n  [name]{judged['operation']}[/]{missing}")
    _show_step(judged["because"], 2)


def _show_step(step: dict[str, Any], depth: int) -> None:
    """A condition and those inside it; what did not decide is dim, and the innermost that did has a mark that needs no colour."""
    text = console.plain(" ".join(step["text"].split()))
    reason = f"  [calm]{console.plain(step['reason'])}[/]" if step.get("reason") else ""
    parts = step.get("parts", ())
    mark = "  ← decides" if step["decided"] and not any(inner["decided"] for inner in parts) else ""
    console.line(f"{'  ' * depth}{_MARKS[step['outcome']]} {text if step['decided'] else f'[calm]{text}[/]'}{reason}{mark}")
    for inner in parts:
        _show_step(inner, depth + 1)
