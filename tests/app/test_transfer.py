"""Records in files: what goes out comes in again the same, and every fault is told with its line."""

from __future__ import annotations

import time

import apsw
import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from alyx.base import json
from alyx.database import tables
from alyx.database.sqlite import errors
from alyx.database.sqlite.connection import connect
from alyx.database.work import drive
from alyx.records import transfer
from alyx.records.transfer import Fault, Incoming, Outgoing, Refused, Row
from alyx.schema import load

SCHEMA = """
version: 1
collections:
  things:
    fields:
      id:      { type: uuid, primary: true, default: auto }
      name:    { type: string, unique: true, maxLength: 40 }
      note:    { type: text, nullable: true }
      kind:    { type: select, select: { values: [a, b] }, default: a }
      tags:    { type: select, select: { values: [x, y], maxSelect: 2 }, nullable: true }
      data:    { type: json, nullable: true }
      count:   { type: int, default: 0 }
      ratio:   { type: float, nullable: true }
      price:   { type: decimal, scale: 2, nullable: true }
      on:      { type: bool, default: false }
      raw:     { type: blob, nullable: true }
      day:     { type: date, nullable: true }
      secret:  { type: string, nullable: true, internal: true }
      parent:  { type: uuid, nullable: true, references: things.id }
      made:    { type: timestamp, default: now }
      changed: { type: timestamp, default: now, onUpdate: now }
"""


@pytest.fixture(scope="module")
def schema():
    return load.loads(SCHEMA)


@pytest.fixture(scope="module")
def metadata(schema):
    return tables.build(schema)


@pytest.fixture
def database(tmp_path, metadata):
    connection = connect(tmp_path / "t.db")
    table = metadata.tables["things"]
    for statement in (CreateTable(table), *map(CreateIndex, table.indexes)):
        connection.execute(str(statement.compile(dialect=sqlite.dialect())))
    yield connection
    connection.close()


@pytest.fixture
def incoming(schema, metadata):
    return Incoming(schema.collections["things"], metadata)


@pytest.fixture
def outgoing(schema, metadata):
    return Outgoing(schema.collections["things"], metadata)


def run(database, work):
    """Drive work as an engine does, in one transaction."""

    def execute(statement):
        try:
            return database.execute(statement.sql, list(statement.params)).fetchall()
        except apsw.Error as error:
            raise errors.translate(error, database) from None

    database.execute("BEGIN")
    try:
        result = drive(work, execute)
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
    return result


def bring(database, rows, **options):
    options = {"skip_existing": False, "whole": True} | options
    return run(database, transfer.insert(list(rows), **options))


def everything(database, outgoing):
    return [json.loads(text) for text in run(database, outgoing.page())[0]]


FULL = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "name": 'say "hi", you\r\nthere',
    "note": "",
    "kind": "b",
    "tags": ["x", "y"],
    "data": {"a": [1, None, "x,y"], "b": 1.5},
    "count": 9223372036854775807,
    "ratio": -0.1,
    "price": "12.30",
    "on": True,
    "raw": "AAEC",
    "day": "2026-11-20",
    "secret": "s3",
    "parent": None,
    "made": "2026-03-01T08:00:00.123456Z",
    "changed": "2026-03-01T08:00:00.000001Z",
}
SPARSE = FULL | {
    "id": "01890a5d-ac96-774b-bcce-b302099a8058",
    "name": " 😀 led, trailed ",
    "note": None,
    "tags": None,
    "data": None,
    "ratio": None,
    "price": None,
    "on": False,
    "raw": None,
    "day": None,
    "secret": "",
    "parent": FULL["id"],
    "count": -9223372036854775808,
}


def lines(text):
    return [line.encode() for line in text.splitlines(keepends=True)] if isinstance(text, str) else text


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_goes_out_comes_in_again_the_same(form, database, incoming, outgoing, tmp_path):
    rows = [incoming.check(number, doc) for number, doc in enumerate((FULL, SPARSE), 1)]
    assert bring(database, rows).inserted == 2
    assert everything(database, outgoing) == [FULL, SPARSE]
    texts = run(database, outgoing.page())[0]
    if form == "csv":
        written = outgoing.csv_header() + "".join(outgoing.csv_line(text) for text in texts)
    else:
        written = "".join(text + "\n" for text in texts)
    database.execute("DELETE FROM things WHERE parent IS NOT NULL; DELETE FROM things")
    path = tmp_path / "file"
    path.write_bytes(written.encode())
    with path.open("rb") as source:
        again = list(incoming.csv(source) if form == "csv" else incoming.json_lines(source))
    assert bring(database, again).inserted == 2
    assert everything(database, outgoing) == [FULL, SPARSE]


def test_in_csv_an_empty_cell_is_null_and_two_quotes_are_the_empty_text(incoming):
    (row,) = incoming.csv([b"name,note,secret\n", b'n,"",\n'])
    assert row.values["note"] == ""
    assert row.values["secret"] is None


def test_in_csv_an_empty_cell_of_a_field_that_cannot_be_null_takes_the_default(incoming):
    (row,) = incoming.csv([b"name,kind,count,on\n", b"n,,,\n"])
    assert (row.values["kind"], row.values["count"], row.values["on"]) == ("a", 0, False)


def test_a_byte_order_mark_line_ends_of_windows_and_blank_lines_are_taken(incoming):
    rows = list(incoming.csv([b"\xef\xbb\xbfname,note\r\n", b"a,b\r\n", b"\r\n", b"c,d"]))
    assert [(row.line, row.values["name"], row.values["note"]) for row in rows] == [(2, "a", "b"), (4, "c", "d")]
    (row,) = incoming.json_lines([b'\xef\xbb\xbf{"name":"a"}\r\n', b"\n"])
    assert row.values["name"] == "a"


def test_a_quoted_cell_may_span_lines_and_faults_name_the_line_where_the_row_begins(incoming):
    found = list(incoming.csv(lines('name,note,count\na,"x\ny",1\nb,"z\n",many\n')))
    assert found[0].values["note"] == "x\ny"
    assert [(fault.line, fault.field) for fault in found[1]] == [(4, "count")]


def test_a_cell_of_very_many_lines_is_read_in_time_that_grows_with_its_length(incoming):
    text = "one of very many lines\n" * 40_000
    started = time.process_time()
    (row,) = incoming.csv(lines(f'name,note\na,"{text}"\n'))
    # About 0.1 s; counting the quotes of the whole cell at each of its lines takes half a minute.
    assert time.process_time() - started < 3
    assert row.values["note"] == text


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("name,nope\na,b\n", 1, "no such field"),
        ("name,name\na,b\n", 1, "stands twice"),
        ("name,note\na\n", 2, "1 cells, but the first line names 2"),
        ('name,note\na,"b\n', 2, "never closed"),
        ('name,note\na,b"c"\n', 2, "quote stands in the wrong place"),
        ("name,on\na,perhaps\n", 2, ""),
        ("name,day\na,2026-02-30\n", 2, ""),
        ("name,data\na,{\n", 2, ""),
        ("note\nx\n", 2, "required"),
    ],
)
def test_a_fault_in_a_csv_file_is_told_with_its_line(incoming, text, line, part):
    found = [fault for faults in incoming.csv(lines(text)) if isinstance(faults, list) for fault in faults]
    assert found
    assert found[0].line == line
    assert part in str(found[0])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"{\n", 1),
        (b'{"name":"a","name":"b"}\n', 1),
        (b'{"name":"a"}\n[]\n', 2),
        (b"\n\xff\n", 2),
        (b'{"nam":"a"}', 1),
        (b"{}", 1),
    ],
)
def test_a_fault_in_a_json_file_is_told_with_its_line(incoming, text, line):
    found = [faults for faults in incoming.json_lines(text.splitlines(keepends=True)) if isinstance(faults, list)]
    assert found[0][0].line == line


def test_all_faults_of_a_row_are_told(incoming):
    faults = incoming.check(7, {"name": "x" * 41, "kind": "c", "nope": 1})
    assert {fault.field for fault in faults} == {"name", "kind", "nope"}
    assert {fault.line for fault in faults} == {7}


def test_a_row_that_refers_to_a_later_one_is_inserted_after_it(database, incoming, outgoing):
    rows = [incoming.check(1, SPARSE), incoming.check(2, FULL)]
    assert bring(database, rows).inserted == 2
    assert [doc["id"] for doc in everything(database, outgoing)] == [FULL["id"], SPARSE["id"]]


def test_a_row_that_refers_to_nothing_is_refused_or_waits(database, incoming):
    row = incoming.check(3, SPARSE)
    with pytest.raises(Refused) as caught:
        bring(database, [row])
    assert caught.value.faults == [Fault(3, "", "refers to a record that does not exist")]
    assert bring(database, [row], whole=False).waiting == (row,)


def test_a_value_that_stands_already_is_refused_with_line_and_field_and_nothing_is_kept(database, incoming, outgoing):
    rows = [incoming.check(1, {"name": "a"}), incoming.check(2, {"name": "a"})]
    with pytest.raises(Refused) as caught:
        bring(database, rows)
    assert [(fault.line, fault.field) for fault in caught.value.faults] == [(2, "name")]
    assert everything(database, outgoing) == []


def test_rows_whose_id_is_there_can_be_left_alone(database, incoming, outgoing):
    bring(database, [incoming.check(1, FULL)])
    done = bring(database, [incoming.check(1, FULL | {"note": "new"}), incoming.check(2, SPARSE)], skip_existing=True)
    assert (done.inserted, done.skipped) == (1, 1)
    assert everything(database, outgoing)[0]["note"] == ""


def test_an_export_goes_page_by_page_in_the_order_of_the_key(database, incoming, outgoing, monkeypatch):
    bring(database, [incoming.check(n, {"name": f"n{n}"}) for n in range(transfer.CHUNK + 5)])
    texts, after = run(database, outgoing.page())
    assert len(texts) == transfer.CHUNK
    rest, end = run(database, outgoing.page(after))
    assert (len(rest), end) == (5, None)
    ids = [json.loads(text)["id"] for text in texts + rest]
    assert ids == sorted(ids)
    seen = []
    assert run(database, transfer.dump([outgoing], lambda _, page: seen.append(len(page)))) == transfer.CHUNK + 5
    assert seen == [transfer.CHUNK, 5]


def test_the_columns_of_a_csv_file_may_stand_in_any_order_and_be_few(incoming):
    (row,) = incoming.csv([b"note,name\n", b"x,y\n"])
    assert isinstance(row, Row)
    assert (row.values["name"], row.values["note"]) == ("y", "x")
