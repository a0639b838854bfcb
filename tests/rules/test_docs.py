"""docs/rules.md says what the code does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from alyx.database import tables
from alyx.rules import functions
from alyx.rules.book import RuleBook, RuleFault
from alyx.schema import load
from alyx.schema.model import Type
from tests.rules.conftest import collection, read_rule, schema

TEXT = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
CHANNELS = re.findall(r"```yaml\n(channels:.*?)```", TEXT, re.DOTALL)
EXAMPLES = re.findall(r"```cel\n(.*?)```", TEXT, re.DOTALL)
UUID = Type.UUID
DOCS = collection(
    "docs",
    author_id=UUID,
    team_id=UUID,
    status=Type.STRING,
    title=Type.STRING,
    views=Type.INT,
    publish_at={"type": Type.TIMESTAMP, "nullable": True},
    created_at=Type.TIMESTAMP,
    meta={"type": Type.JSON, "nullable": True},
    total={"type": Type.DECIMAL, "scale": 2},
    tags={"type": Type.SELECT, "select_values": ("a",), "max_select": 2},
    f=Type.FLOAT,
    data=Type.BLOB,
)
SCHEMA = schema(DOCS, collection("members", team_id=UUID, user_id=UUID, level=Type.INT), collection("bans", user_id=UUID))
METADATA = tables.build(SCHEMA)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_read_rule_that_stands(example: str) -> None:
    read_rule(SCHEMA, METADATA, example.strip())


@pytest.mark.parametrize("example", CHANNELS)
def test_every_example_of_channels_stands(example: str) -> None:
    stem = "version: 1\ncollections: { any: { fields: { id: { type: uuid, primary: true } } } }\n"
    made = replace(SCHEMA, channels=load.loads(stem + example).channels)
    book = RuleBook.load(made, METADATA)
    assert all(book.channel(kind) for kind in made.channels)


def test_every_function_is_in_the_table_and_the_table_invents_none() -> None:
    table = TEXT.split("## Functions")[1].split("### What differs")[0]
    named = set(re.findall(r"(?<![\w'])([a-z][A-Za-z_]+)(?=\()|`(get[A-Za-z]+)`", table))
    names = {one or other for one, other in named}
    known = {name for name in functions.TABLE if name[0].isalpha()}
    macros = {"exists", "all", "exists_one", "filter", "map", "has", "type"}
    assert known | macros <= names | {"exists_one", "filter", "map"}
    assert names <= known | macros


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("doc.title.trim().lowerAscii() + 'a' == 'ba'", True),
        ("doc.title.charAt(0) == 'a' && doc.title.substring(1) == 'b' && doc.title.substring(0, 1) == 'a'", True),
        ("doc.title.indexOf('a') == 0 && doc.title.replace('ab', 'x') == 'b'", True),
        ("int(doc.f) == 1 && int(doc.created_at) == 1 && double(doc.views) == 1.5 && string(doc.views) == '1'", True),
        ("doc.f / 2.0 * 3.0 - 1.0 > 0.0 && doc.views % 2 == 1", True),
        ("size(doc.title) == 1 && size(doc.tags) == 1 && size(doc.meta.list) == 1 && size(doc.data) == 1", True),
        ("doc.title.matches('^[A-Za-z0-9_-]+(a|b){1,3}\\\\.x$')", True),
        ("request.time - doc.created_at > duration('1h') && (request.time - doc.created_at).getHours() > 1", True),
        ("doc.created_at.getDayOfWeek('+02:00') == 1 && doc.created_at.getDayOfYear() == 1", True),
        ("(request.time - doc.created_at).getMilliseconds() == 1", False),
        ("doc.title.matches('\\\\w+')", False),
        ("doc.title.matches('(?i)a')", False),
        ("doc.title.matches('a+?')", False),
        ("doc.title.lastIndexOf('a') == 1", False),
        ("doc.title.replace(doc.status, 'a') == 'b'", False),
        ("doc.title.replace('a', doc.status) == 'b'", False),
        ("doc.meta.a == doc.meta.b", False),
    ],
)
def test_the_marks_of_the_table_are_true(text: str, readable: bool) -> None:
    read_rule(SCHEMA, METADATA, text, operation="create")
    if readable:
        read_rule(SCHEMA, METADATA, text)
    else:
        with pytest.raises(RuleFault):
            read_rule(SCHEMA, METADATA, text)
