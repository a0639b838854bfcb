"""Whatever a client writes as `where`, it is a rule that works or a plain refusal."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa

from alyx.base.errors import AlyxError
from alyx.database import tables
from alyx.rules.book import RuleBook
from tests.rules.differential import database, run
from tests.rules.random_rules import SCHEMA, Records

WORDS = [
    *(
        "doc",
        "auth",
        "request",
        "collections",
        ".",
        ".",
        ".",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
    ),
    *("==", "!=", "<", ">=", "&&", "||", "in", "has", "size", "exists", "all", "map", "type", "int", "string", "matches", "null"),
    *(
        "i",
        "s",
        "j",
        "l",
        "p",
        "q",
        "u",
        "c",
        "a",
        "list",
        "id",
        "claims",
        "getHours",
        "substring",
        "x",
        "true",
        "1",
        "2.5",
        "3u",
    ),
    *(
        "'a'",
        "'(['",
        "b'a'",
        "9223372036854775807",
        "timestamp",
        "duration",
        "'1h'",
        "'2026-01-01T00:00:00Z'",
        "rows",
        "'\\u0000'",
    ),
]
WHOLE = [
    *(
        "doc.i",
        "doc.s",
        "doc.j.a",
        "doc.l",
        "doc.p",
        "doc.u",
        "doc.n",
        "doc.c",
        "auth.id",
        "auth.claims.teams",
        "auth.claims",
        "null",
    ),
    *(
        "1",
        "'a'",
        "2.5",
        "[1, 'a']",
        "{'a': 1}",
        "3u",
        "b'x'",
        "true",
        "timestamp('2026-01-01T00:00:00Z')",
        "doc.j",
        "type(doc.j)",
    ),
    *("doc.j.list", "18446744073709551615u", "doc.j['é'].x[0]", "duration('1h')", "(doc.c ? doc.i : 2)", "[doc.n, doc.i]", "int"),
]
FORMS = [
    *("{} == {}", "{} < {}", "{} in {}", "{} + {}", "!({})", "{} && {}", "{} ? {} : {}", "size({})", "has({}.a)", "{}[{}]"),
    *("{}.exists(x, x == {})", "{}.all(x, x < {})", "{}.contains({})", "{}.matches({})", "string({})", "{}.map(x, x)", "-{}"),
    *("[{}, {}]", "{} / {}", "{}.getHours({})", "{}.substring({})", "int({})", "{}.filter(x, {}) == {}", "{} || {}"),
]


def _texts(source: random.Random, count: int) -> list[str]:
    made = [" ".join(source.choices(WORDS, k=source.randint(1, 12))) for _ in range(count)]
    for _ in range(count * 4):
        sides = [_value(source), _value(source)]
        made.append(f"{sides[0]} {source.choice(['==', '!=', '<', '>=', 'in'])} {sides[1]}")
    return made


def _value(source: random.Random) -> str:
    if source.random() < 0.6:
        return source.choice(WHOLE)
    form = source.choice(FORMS)
    return "(" + form.format(*(source.choice(WHOLE) for _ in range(form.count("{}")))) + ")"


@pytest.mark.slow
def test_no_text_breaks_the_parser_the_check_or_the_query() -> None:
    metadata, records = tables.build(SCHEMA), Records(5)
    book = RuleBook.load(SCHEMA, metadata)
    docs = [records.record(number) for number in range(10)]
    connection = database(docs, [])
    caller = {"id": "a", "claims": {"teams": ["a", {"b": 1}], "x": 2.5}}
    table = metadata.tables["docs"]
    worked, refusals = 0, set()
    for text in _texts(random.Random(4), 2000):
        try:
            rule = book.where("docs", text)
        except AlyxError as error:
            refusals.add(error.code)
            continue
        condition = rule.where(caller, table)
        statement = sa.select(table.c["id"])
        found = run(connection, statement if condition is None else statement.where(condition), rule.binds(caller, {}))
        assert {row[0] for row in found} == {doc["id"] for doc in docs if rule.judge(caller, doc, {})}, text
        worked += 1
    assert refusals == {"INVALID_QUERY"}
    assert worked > 300
