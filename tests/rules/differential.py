"""Runs random rules three ways - SQL on SQLite, generated Python, Google's CEL - and returns where they differ."""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple

import apsw
import sqlalchemy as sa
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from sqlalchemy.dialects import sqlite

from alyx.database import tables
from alyx.database.sqlite import functions
from alyx.rules.book import Rule, RuleFault
from tests.rules.conftest import read_rule
from tests.rules.random_rules import DOCS, ROWS, SCHEMA, Records, Rules, oracle_caller, oracle_record

RECORDS, BATCH = 30, 50
NOW = "2026-11-20T10:00:00.000000Z"
METADATA = tables.build(SCHEMA)
DIALECT = sqlite.dialect()
_DYN = cel.Type.DYN
ENVIRONMENT = cel.NewEnv(
    variables={"doc": _DYN, "auth": _DYN, "request": _DYN, "rows": cel.Type.List(_DYN)}, extensions=[ext_strings.ExtStrings()]
)


class Difference(NamedTuple):
    """A decision that is not the same everywhere. way: sql, python or values."""

    way: str
    rule: str
    twin: str
    record: dict[str, Any]
    caller: dict[str, Any]
    ours: object
    theirs: object


class Result(NamedTuple):
    """What a run found."""

    rules: int
    refused: list[str]
    decisions: int
    true: int
    differences: list[Difference]


def database(docs: list[dict[str, Any]], rows: list[dict[str, Any]]) -> apsw.Connection:
    """The records in a database in memory."""
    connection = apsw.Connection(":memory:")
    functions.register(connection)
    for of, records in ((DOCS, docs), (ROWS, rows)):
        table = METADATA.tables[of.name]
        connection.execute(str(sa.schema.CreateTable(table).compile(dialect=DIALECT)))
        names = ", ".join(f'"{name}"' for name in of.fields)
        marks = ", ".join("?" for _ in of.fields)
        for record in records:
            values = [tables.stored(field, record[name]) for name, field in of.fields.items()]
            connection.execute(f'INSERT INTO "{of.name}" ({names}) VALUES ({marks})', values)
    return connection


def run(connection: apsw.Connection, statement: Any, binds: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A statement with its parameters."""
    compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    params = compiled.construct_params(binds)
    return list(connection.execute(str(compiled), [params[name] for name in compiled.positiontup]))


def differ(count: int, seed: int = 1) -> Result:
    """Judge `count` random rules on 30 records each."""
    refused: list[str] = []
    differences: list[Difference] = []
    decisions = true = 0
    for start in range(0, count, BATCH):
        source, records = Rules(seed * 1_000_003 + start), Records(seed * 1_000_003 + start)
        docs = [records.record(number) for number in range(RECORDS)]
        rows = [records.record(number, ROWS) for number in range(records.random.choice([0, 1, 3]))]
        connection = database(docs, rows)
        theirs_docs, theirs_rows = [oracle_record(doc) for doc in docs], [oracle_record(row) for row in rows]
        for _ in range(min(BATCH, count - start)):
            pair, caller = source.rule(), records.caller()
            try:
                rule = read_rule(SCHEMA, METADATA, pair.ours)
            except RuleFault as error:
                refused.append(f"{pair.ours} :: {error.message}")
                continue
            wanted = _oracle(pair.theirs, theirs_docs, theirs_rows, caller)
            found = _ours(connection, rule, docs, caller)
            decisions += len(docs)
            true += sum(wanted)
            for way, verdicts in found.items():
                for doc, ours, theirs in zip(docs, verdicts, wanted, strict=True):
                    if ours is not theirs:
                        differences.append(Difference(way, pair.ours, pair.theirs, doc, caller, ours, theirs))
    return Result(count, refused, decisions, true, differences)


def _oracle(text: str, docs: list[dict[str, Any]], rows: list[dict[str, Any]], caller: dict[str, Any]) -> list[bool]:
    program = ENVIRONMENT.compile(text, disable_check=True)  # int and double compare at run time
    request = {"time": NOW}
    found = []
    for doc in docs:
        result = program.eval(data={"doc": doc, "auth": oracle_caller(caller), "request": request, "rows": rows})
        found.append(result.type() == cel.Type.BOOL and result.value() is True)
    return found


def _ours(connection: apsw.Connection, rule: Rule, docs: list[dict[str, Any]], caller: dict[str, Any]) -> dict[str, list[object]]:
    request = {"time": NOW, "ip": "::1", "method": "GET", "body": None}
    table = METADATA.tables["docs"]
    condition = rule.where(caller, table)
    statement = sa.select(table.c["id"])
    binds = rule.binds(caller, request)
    try:
        rows = run(connection, statement if condition is None else statement.where(condition), binds)
        passed = {row[0] for row in rows}
        found: dict[str, list[object]] = {"sql": [doc["id"] in passed for doc in docs]}
    except apsw.Error as error:
        found = {"sql": [f"died: {error}"] * len(docs)}
    if rule.looks_elsewhere:
        statement = rule.holds_for_values(caller)
        try:
            found["values"] = [bool(run(connection, statement, binds | rule.doc_binds(doc))) for doc in docs]
        except apsw.Error as error:
            found["values"] = [f"died: {error}"] * len(docs)
    else:
        found["python"] = [rule.judge(caller, doc, request) for doc in docs]
    return found


def main(count: int, seed: int) -> None:
    """Print the counts and the first differences."""
    started = time.perf_counter()
    result = differ(count, seed)
    took = time.perf_counter() - started
    print(f"{result.rules} rules, {len(result.refused)} refused, {result.decisions} decisions, {result.true} true, {took:.1f} s")
    print(f"{len(result.differences)} differences in {len({item.rule for item in result.differences})} rules")
    shown: set[str] = set()
    for item in result.differences:
        if item.rule not in shown and len(shown) < 12:
            shown.add(item.rule)
            print("-", item.way, item.rule, "|", item.ours, item.theirs, item.record, item.caller, sep="\n    ")
    reasons: dict[str, int] = {}
    for text in result.refused:
        reason = text.rsplit(" :: ", 1)[1]
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, number in sorted(reasons.items(), key=lambda each: -each[1])[:15]:
        print(number, reason)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
