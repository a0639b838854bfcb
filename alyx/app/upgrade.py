"""Brings the database to the schema before it is served: what is done by itself, what is asked, what is refused.

Called by `serve` and dev mode. The migrator judges changes; here stands only who may agree to them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from alyx.app import build
from alyx.app.build import Source
from alyx.app.refusal import Refusal
from alyx.app.screen import Screen
from alyx.config import Config
from alyx.database.migrations import Migrator, files
from alyx.database.migrations.results import Applied, Plan
from alyx.schema.yaml import Node

Ask = Callable[[str], Awaitable[bool | None]]


def for_production(config: Config, source: Source, screen: Screen, *, migrate: bool) -> None:
    """Refuse an unmigrated database, or with `migrate` apply what is safe; refuse one whose tables were changed by hand so far
    that requests would fail. Raises Refusal or MigrationError.
    """
    migrator = build.migrator(config)
    plan = migrator.plan(source.schema)
    if not plan.empty and not migrate:
        raise Refusal(
            f"the database is not at {config.schema_file.name}: {summary(plan)}",
            "`alyx migrate plan` shows it; `alyx migrate apply`, or `alyx serve --migrate`, does what is safe",
        )
    _require_whole(migrator.drift().found)
    applied = migrator.apply(source.schema)
    if not applied.ok:
        raise Refusal(
            "the database cannot be brought to the schema by what is safe alone",
            "look at `alyx migrate plan`, then run `alyx migrate apply --yes` or `--accept-data-loss`",
            reasons=list(applied.reasons),
        )
    if applied.changed:
        screen.done(told(applied))
    for text in migrator.drift(source.schema).found:
        screen.remark(f"changed by hand: {text}")


def _require_whole(drift: Sequence[str]) -> None:
    """Tables and columns that are gone make every request for them fail."""
    missing = [text for text in drift if text.endswith(("the table is missing", "the column is missing"))]
    if missing:
        raise Refusal(
            "the tables are not what the history of migrations says",
            "undo what was done by hand, or restore a backup; `alyx migrate drift` shows all of it",
            reasons=missing,
        )


@dataclass(frozen=True)
class Consent:
    """What dev mode may do. ask: how it asks; accept_data_loss: it need not; write: changes become migration files first."""

    ask: Ask
    accept_data_loss: bool = False
    write: bool = False


async def for_development(config: Config, source: Source, screen: Screen, consent: Consent) -> bool:
    """Apply what is safe, ask for the rest. True if anything was done. Raises Refusal or MigrationError if it stays undone."""
    migrator = build.migrator(config)
    plan = await asyncio.to_thread(migrator.plan, source.schema)
    if not plan.empty:
        screen.plan(plan)
        await _obtain(config, plan, consent)
        losing = await asyncio.to_thread(_losing, migrator, plan)
        if losing and not consent.accept_data_loss:
            await _consent(consent.ask, f"{', '.join(losing)} may lose data. Run it?", "alyx migrate apply")
        if consent.write and plan.changes:
            for path in await asyncio.to_thread(migrator.create, source.schema, _file_name(plan)):
                screen.done(f"Wrote {path.name}")
    # Whatever was judged is permitted now; a row that came in between still stops it.
    lose = plan.level == "destructive"
    applied = await asyncio.to_thread(
        migrator.apply, source.schema, yes=plan.level == "needs_care" or lose, accept_data_loss=lose
    )
    if not applied.ok:
        raise Refusal("the database was not changed", "alyx migrate plan", reasons=list(applied.reasons))
    if applied.changed:
        screen.done(told(applied))
    return applied.changed


async def _obtain(config: Config, plan: Plan, consent: Consent) -> None:
    """Get the agreement that a plan needs. Raises Refusal without it."""
    if plan.blocked:
        raise Refusal("stored records stand in the way of this change", "mend them, or change the schema")
    if not config.values["dev.auto_migrate"]:
        raise Refusal("the database is not at the schema, and dev.auto_migrate is off", "run `alyx migrate apply`")
    if plan.level == "destructive" and not consent.accept_data_loss:
        await _consent(consent.ask, "This loses data. Do it?", "alyx migrate apply --accept-data-loss")
    elif plan.level == "needs_care" and not consent.accept_data_loss:
        await _consent(consent.ask, "This needs care. Do it?", "alyx migrate apply --yes")


def _losing(migrator: Migrator, plan: Plan) -> list[str]:
    """The pending files that may lose something, unless nothing was ever applied: then there is nothing to lose."""
    if not plan.pending or not migrator.status().applied:
        return []
    waiting = {file.path for file in plan.pending}
    found = files.read_folder(plan.pending[0].path.parent)
    return [file.path.name for file in found if file.path in waiting and any(_loses(node) for node in file.nodes)]


def _loses(operation: Node) -> bool:
    """Whether it drops, runs SQL of its own, or puts values into another type."""
    kind = operation.get("type")
    if kind is not None and kind.value == "modify_field":
        return _type(operation.get("from")) != _type(operation.get("to"))
    return kind is not None and kind.value in ("drop_collection", "drop_field", "sql")


def _type(definition: Node | None) -> object:
    found = definition.get("type") if definition is not None else None
    return found.value if found is not None else None


def _file_name(plan: Plan) -> str:
    """A name for a migration file, from its first change."""
    return re.sub(r"[^a-z0-9]+", "_", plan.changes[0].title.lower()).strip("_")[:50]


async def _consent(ask: Ask, question: str, command: str) -> None:
    answer = await ask(question)
    if answer is None:
        raise Refusal("the database was not changed: this needs somebody's yes", f"run `{command}`")
    if not answer:
        raise Refusal("the database was not changed", f"change the schema back, or run `{command}`")


def summary(plan: Plan) -> str:
    """A plan in a few words."""
    parts = []
    if plan.pending:
        parts.append("1 migration file waits" if len(plan.pending) == 1 else f"{len(plan.pending)} migration files wait")
    if plan.changes:
        titles = ", ".join(item.title for item in plan.changes[:3])
        parts.append(titles + (f" and {len(plan.changes) - 3} more" if len(plan.changes) > 3 else ""))
    return "; ".join(parts)


def told(applied: Applied) -> str:
    """What was done, in a few words."""
    parts = [f"{file.path.name}" for file in applied.files] + [item.title for item in applied.changes]
    return "Migrated: " + ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")
