"""Hostile bodies: syntax, encodings, types, sizes, depth, names, keys, batches."""

from __future__ import annotations

import json

from tests.hostile.words import ABSENT, FROZEN, HIDDEN, ONE, THING, THINGS, Hostile, broken, send

_DEEP_LIST = "[" * 20_000 + "]" * 20_000
_DEEP_OBJECT = '{"a":' * 5_000 + "1" + "}" * 5_000
_BATCH = "/api/batch"


def _of(**fields: object) -> str:
    return json.dumps({"title": "t", **fields})


def _raw(text: str) -> str:
    return '{"title":"t",' + text + "}"


SYNTAX = [
    broken("nothing at all", ""),
    broken("blanks", "   \n"),
    broken("a lone brace", "{"),
    broken("a half string", '{"title":"'),
    broken("a trailing comma", '{"title":"t",}'),
    broken("single quotes", "{'title':'t'}"),
    broken("a comment", '{"title":"t"}//x'),
    broken("two values", '{"title":"t"}{"title":"u"}'),
    broken("a bare word", "title"),
    broken("NaN", _raw('"ratio":NaN')),
    broken("Infinity", _raw('"ratio":Infinity')),
    broken("minus Infinity", _raw('"ratio":-Infinity')),
    broken("a number with leading zeros", _raw('"count":007')),
    broken("a hexadecimal number", _raw('"count":0x10')),
    broken("a number that begins with plus", _raw('"count":+1')),
    broken("a number that ends with a dot", _raw('"ratio":1.')),
    broken("an unknown escape", '{"title":"\\x41"}'),
    broken("a control character in a string", b'{"title":"a\nb"}'),
    broken("a raw NUL in a string", b'{"title":"a\x00b"}'),
    broken("NUL bytes", b"\x00\x00\x00"),
    broken("a byte order mark", b'\xef\xbb\xbf{"title":"t"}'),
    broken("UTF-16", '{"title":"t"}'.encode("utf-16")),
    broken("UTF-32", '{"title":"t"}'.encode("utf-32-le")),
    broken("latin-1", '{"title":"\xe9"}'.encode("latin-1")),
    broken("an overlong slash", b'{"title":"\xc0\xaf"}'),
    broken("a surrogate in UTF-8", b'{"title":"\xed\xa0\x80"}'),
    broken("a code point beyond Unicode", b'{"title":"\xf4\x90\x80\x80"}'),
    broken("a cut UTF-8 sequence", b'{"title":"\xe2\x82"}'),
    broken("the same key twice", '{"title":"a","title":"b"}'),
    broken("the same key twice, once escaped", '{"title":"a","t\\u0069tle":"b"}'),
    broken("the same key twice inside json", _raw('"meta":{"a":1,"a":2}')),
    broken("20,000 lists in each other", _DEEP_LIST),
    broken("5,000 objects in each other", _DEEP_OBJECT),
    broken("33 lists inside a json field", _raw('"meta":' + "[" * 33 + "]" * 33)),
    broken("an unclosed depth", "[" * 100_000),
    broken("an integer of 5,000 digits", _raw('"count":' + "9" * 5_000)),
    broken("2^64 inside json", _raw('"meta":[18446744073709551616]')),
    broken("2^63 inside json", _raw('"meta":{"a":9223372036854775808}')),
    broken("1e999", _raw('"ratio":1e999')),
    broken("-1e400 inside json", _raw('"meta":-1e400')),
    broken("XML", "<?xml version='1.0'?><a/>"),
    broken("a form", "title=t&count=1"),
    broken("a pickle", b"\x80\x04\x95\x00."),
]

SHAPES = [
    send("null", "null"),
    send("true", "true"),
    send("a number", "5"),
    send("a string", '"title"'),
    Hostile("POST an empty list", "POST", THINGS, 201, None, b"[]", (("content-type", "application/json"),)),
    send("a list of null", "[null]"),
    send("a list of lists", "[[{}]]"),
    send("a list with one bad record", '[{"title":"t"},{"title":5}]', ("1.title", "invalid_type")),
    send("1,001 records", json.dumps([{"title": "t"}] * 1001)),
    send("an empty object", "{}", ("title", "required")),
    send("null for what is required", '{"title":null}', ("title", "required")),
    send("null where null is not allowed", _of(count=None), ("count", "required")),
]

TYPES = [
    send("a number as a string", '{"title":1}', ("title", "invalid_type")),
    send("a list as a string", '{"title":["t"]}', ("title", "invalid_type")),
    send("an object as a string", '{"title":{"$ne":null}}', ("title", "invalid_type")),
    send("a bool as a string", '{"title":true}', ("title", "invalid_type")),
    send("a string as an int", _of(count="1"), ("count", "invalid_type")),
    send("a bool as an int", _of(count=True), ("count", "invalid_type")),
    send("a fraction as an int", _of(count=1.5), ("count", "invalid_type")),
    send("an object as an int", _of(count={"$gt": 0}), ("count", "invalid_type")),
    send("an increment in a create", _of(count={"$inc": 1}), ("count", "invalid_type")),
    send("a string as a float", _of(ratio="1.5"), ("ratio", "invalid_type")),
    send("a string as a bool", _of(done="false"), ("done", "invalid_type")),
    send("0 as a bool", _of(done=0), ("done", "invalid_type")),
    send("a list as a bool", _of(done=[]), ("done", "invalid_type")),
    send("a number as a timestamp", _of(at=1700000000), ("at", "invalid_timestamp")),
    send("an object as a timestamp", _of(at={}), ("at", "invalid_timestamp")),
    send("a string as a select list", _of(tags="x"), ("tags", "invalid_type")),
    send("a list as a select", _of(kind=["a"]), ("kind", "invalid_type")),
    send("numbers in a select list", _of(tags=[1]), ("tags", "invalid_type")),
    send("a number as a blob", _of(data=1), ("data", "invalid_type")),
    send("a list as a decimal", _of(price=[]), ("price", "invalid_type")),
    send("a number as a uuid", _of(owner_id=5), ("owner_id", "invalid_uuid")),
    send("a number as richtext", _of(rich=5), ("rich", "invalid_type")),
]
"""A JSON type that does not fit. uuid, date, timestamp, e-mail and URL may also say `invalid_type`; the driver allows both."""

VALUES = [
    send("an empty text", '{"title":""}', ("title", "min_length")),
    send("a text too long", json.dumps({"title": "x" * 51}), ("title", "max_length")),
    send("a text too long in code points", json.dumps({"title": "\U0001f600" * 51}, ensure_ascii=False), ("title", "max_length")),
    send("a megabyte of text", json.dumps({"title": "x" * 1_000_000}), ("title", "max_length")),
    send("an escaped NUL", '{"title":"a\\u0000b"}', ("title", "invalid_type")),
    send("a lone high surrogate", '{"title":"\\ud800"}', ("title", "invalid_type")),
    send("a lone low surrogate", '{"title":"\\udc00x"}', ("title", "invalid_type")),
    send("surrogates in the wrong order", '{"title":"\\udc00\\ud800"}', ("title", "invalid_type")),
    send("NUL inside json", _raw('"meta":{"a":"\\u0000"}'), ("meta", "invalid_type")),
    send("NUL in a key inside json", _raw('"meta":{"\\u0000":1}'), ("meta", "invalid_type")),
    send("a lone surrogate inside json", _raw('"meta":["\\udfff"]'), ("meta", "invalid_type")),
    send("a pattern not met", _of(slug="Not A Slug"), ("slug", "pattern")),
    send("a pattern met before a line end", _of(slug="ok\n<script>"), ("slug", "pattern")),
    send("a trailing line end behind $", _of(slug="ok\n"), ("slug", "pattern")),
    send("below the minimum", _of(count=-6), ("count", "min_value")),
    send("2^63", _raw('"count":9223372036854775808'), ("count", "max_value")),
    send("-2^63-1", _raw('"count":-9223372036854775809'), ("count", "min_value")),
    send("an integer of 20 digits", _raw('"count":99999999999999999999'), ("count", "max_value")),
    send("an unknown choice", _of(kind="c"), ("kind", "invalid_select")),
    send("a choice in capitals", _of(kind="A"), ("kind", "invalid_select")),
    send("too many choices", _of(tags=["x", "y", "z"]), ("tags", "max_select")),
    send("one unknown choice among several", _of(tags=["x", "q"]), ("tags", "invalid_select")),
    send("a timestamp without offset", _of(at="2026-03-01T08:00:00"), ("at", "invalid_timestamp")),
    send("a leap second", _of(at="2026-06-30T23:59:60Z"), ("at", "invalid_timestamp")),
    send("hour 24", _of(at="2026-03-01T24:00:00Z"), ("at", "invalid_timestamp")),
    send("30 February", _of(at="2026-02-30T00:00:00Z"), ("at", "invalid_timestamp")),
    send("the year 10000", _of(at="10000-01-01T00:00:00Z"), ("at", "invalid_timestamp")),
    send("the year 0", _of(at="0000-01-01T00:00:00Z"), ("at", "invalid_timestamp")),
    send("the year 9999 beyond UTC", _of(at="9999-12-31T23:59:59-01:00"), ("at", "invalid_timestamp")),
    send("digits of another script in a timestamp", _of(at="２０２６-03-01T08:00:00Z"), ("at", "invalid_timestamp")),
    send("a timestamp with a quote", _of(at="2026-03-01T08:00:00Z' OR '1'='1"), ("at", "invalid_timestamp")),
    send("a date with a time", _of(day="2026-03-01T00:00:00Z"), ("day", "invalid_date")),
    send("a date without zeros", _of(day="2026-3-1"), ("day", "invalid_date")),
    send("31 April", _of(day="2026-04-31"), ("day", "invalid_date")),
    send("a uuid too short", _of(owner_id="018f2b6e"), ("owner_id", "invalid_uuid")),
    send("a uuid with a quote", _of(owner_id="018f2b6e-0000-7c52-9d0e-00000000000'"), ("owner_id", "invalid_uuid")),
    send("an e-mail without @", _of(mail="ada"), ("mail", "invalid_email")),
    send("an e-mail with a line end", _of(mail="a@b.example\r\nBcc: c@d.example"), ("mail", "invalid_email")),
    send("two e-mails", _of(mail="a@b.example,c@d.example"), ("mail", "invalid_email")),
    send("a javascript URL", _of(site="javascript:alert(1)"), ("site", "invalid_url")),
    send("a data URL", _of(site="data:text/html,<script>alert(1)</script>"), ("site", "invalid_url")),
    send("a URL without a scheme", _of(site="example.com"), ("site", "invalid_url")),
    send("a URL with a line end", _of(site="https://a.example/\r\nX: y"), ("site", "invalid_url")),
    send("base64 with bad letters", _of(data="a*b="), ("data", "invalid_type")),
    send("base64 without padding", _of(data="YQ"), ("data", "invalid_type")),
    send("a decimal with words", _of(price="ten"), ("price", "invalid_type")),
    send("a decimal NaN", _of(price="NaN"), ("price", "invalid_type")),
    send("a decimal with too many digits", _of(price="9" * 40), ("price", "max_value")),
    send("a decimal with an exponent of a million", _of(price="1e1000000"), ("price", "invalid_type")),
]

NAMES = [
    send("an unknown field", _of(nope=1), ("nope", "unknown_field")),
    send("an internal field", _of(secret="x"), ("secret", "unknown_field")),
    send("a field in capitals", _of(TITLE="x"), ("TITLE", "unknown_field")),
    send("a field with a quote", json.dumps({"title": "t", 'title"; DROP TABLE things; --': 1})),
    send("__proto__", _raw('"__proto__":{"role":"admin"}'), ("__proto__", "unknown_field")),
    send("constructor", _raw('"constructor":{"prototype":{}}'), ("constructor", "unknown_field")),
    send("__class__", _raw('"__class__":"x"'), ("__class__", "unknown_field")),
    send("rowid", _of(rowid=1), ("rowid", "unknown_field")),
    send("_rowid_", _of(_rowid_=1), ("_rowid_", "unknown_field")),
    send("an empty name", _raw('"":1'), ("", "unknown_field")),
    send("expand as a field", _of(expand={}), ("expand", "unknown_field")),
    send("a Cyrillic letter in a name", _raw('"tіtle":"x"')),
    send("a name with NUL", _raw('"a\\u0000":1')),
    send("a lone surrogate in a name", _raw('"\\ud800":1')),
    send("500 unknown names", json.dumps({"title": "t"} | {f"n{index}": 1 for index in range(500)})),
]

CHANGES = [
    send("an increment by text", '{"count":{"$inc":"1"}}', ("count", "invalid_type"), method="PATCH", url=ONE),
    send("an increment by null", '{"count":{"$inc":null}}', ("count", "invalid_type"), method="PATCH", url=ONE),
    send("an increment by a fraction", '{"count":{"$inc":0.5}}', ("count", "invalid_type"), method="PATCH", url=ONE),
    send("two increments", '{"count":{"$inc":1,"$dec":1}}', ("count", "invalid_type"), method="PATCH", url=ONE),
    send("an increment of a text", '{"title":{"$inc":1}}', ("title", "invalid_type"), method="PATCH", url=ONE),
    send("an unknown step", '{"count":{"$mul":2}}', ("count", "invalid_type"), method="PATCH", url=ONE),
    send("an increment beyond 64 bit", '{"count":{"$inc":9223372036854775807}}', ("count", "max_value"), method="PATCH", url=ONE),
    send("another key", json.dumps({"id": ABSENT}), ("id", "read_only"), method="PATCH", url=ONE),
    send(
        "a time kept by the server", '{"updated_at":"2020-01-01T00:00:00Z"}', ("updated_at", "read_only"), method="PATCH", url=ONE
    ),
    send("null for what is required", '{"title":null}', ("title", "required"), method="PATCH", url=ONE),
    send("an internal field", '{"secret":"x"}', ("secret", "unknown_field"), method="PATCH", url=ONE),
    send("a list", "[{}]", method="PATCH", url=ONE),
    send("half of a replacement", "{}", ("title", "required"), method="PUT", url=ONE),
    send("a replacement with another key", _of(id=ABSENT), ("id", "read_only"), method="PUT", url=ONE),
    send("a replacement by a list", "[]", method="PUT", url=ONE),
    send("an absent record", '{"count":1}', method="PATCH", url=f"{THINGS}/{ABSENT}", status=404, code="DOCUMENT_NOT_FOUND"),
    send("a hidden record", '{"count":1}', method="PATCH", url=f"{THINGS}/{HIDDEN}", status=404, code="DOCUMENT_NOT_FOUND"),
    send("a hidden record", _of(), method="PUT", url=f"{THINGS}/{HIDDEN}", status=404, code="DOCUMENT_NOT_FOUND"),
    send("a frozen record", '{"count":1}', method="PATCH", url=f"{THINGS}/{FROZEN}", status=403, code="FORBIDDEN"),
    send("a record made frozen", '{"title":"frozen"}', method="PATCH", url=ONE, status=403, code="FORBIDDEN"),
    send("a forbidden record", '{"title":"forbidden"}', status=403, code="FORBIDDEN"),
    send("a key that is taken", _of(id=THING), status=409, code="UNIQUE_VIOLATION", fault=None),
    send("a key that a hidden record has", _of(id=HIDDEN), status=409, code="UNIQUE_VIOLATION"),
    send("a slug that is taken", _of(slug="taken"), status=409, code="UNIQUE_VIOLATION"),
    send("the same slug twice in one list", json.dumps([{"title": "t", "slug": "s"}] * 2), status=409, code="UNIQUE_VIOLATION"),
    send("an owner who is not there", _of(owner_id=ABSENT), status=409, code="FOREIGN_KEY_VIOLATION"),
    send("upsert that is no bool", _of(), method="PUT", url=f"{ONE}?upsert=1", code="INVALID_QUERY"),
    send(
        "upsert over a hidden record",
        _of(),
        method="PUT",
        url=f"{THINGS}/{HIDDEN}?upsert=true",
        status=409,
        code="UNIQUE_VIOLATION",
    ),
    send("a parameter on a create", _of(), url=f"{THINGS}?filter=x", code="INVALID_QUERY"),
    send("a parameter on a patch", "{}", method="PATCH", url=f"{ONE}?upsert=true", code="INVALID_QUERY"),
    send("a closed collection", '{"word":"x"}', url="/api/collections/closed", status=403, code="FORBIDDEN"),
    send("broken JSON to a closed collection", "{", url="/api/collections/closed", status=403, code="FORBIDDEN"),
    send("broken JSON to no collection", "{", url="/api/collections/nope", status=404, code="COLLECTION_NOT_FOUND"),
]


def _batch(name: str, body: str, **more: object) -> Hostile:
    return send(f"batch: {name}", body, url=_BATCH, **more)  # type: ignore[arg-type]


def _operations(*operations: object) -> str:
    return json.dumps({"operations": list(operations)})


_GOOD = {"method": "POST", "collection": "things", "data": {"title": "t"}}

BATCHES = [
    _batch("a list", "[]"),
    _batch("null", "null"),
    _batch("no operations", "{}"),
    _batch("an empty list", _operations()),
    _batch("operations that are no list", '{"operations":{"0":{}}}'),
    _batch("an unknown member", '{"operations":[],"atomic":false}'),
    _batch("101 operations", _operations(*[_GOOD] * 101)),
    _batch("an operation that is no object", _operations(None)),
    _batch("no method", _operations({"collection": "things"})),
    _batch("GET", _operations({"method": "GET", "collection": "things", "id": THING})),
    _batch("a method in small letters", _operations({**_GOOD, "method": "post"})),
    _batch("a method that is a list", _operations({**_GOOD, "method": ["POST"]})),
    _batch("PATCH without id", _operations({"method": "PATCH", "collection": "things", "data": {}})),
    _batch("an id that is an object", _operations({"method": "DELETE", "collection": "things", "id": {"$ne": 1}})),
    _batch("an id that is true", _operations({"method": "DELETE", "collection": "select", "id": True})),
    _batch("a collection that is a number", _operations({**_GOOD, "collection": 5})),
    _batch("an unknown member of an operation", _operations({**_GOOD, "path": "/etc/passwd"})),
    _batch("data that is no object", _operations({**_GOOD, "data": "x"})),
    _batch("an unknown collection", _operations({**_GOOD, "collection": "nope"}), status=404, code="COLLECTION_NOT_FOUND"),
    _batch("a table of the server", _operations({**_GOOD, "collection": "_alyx_meta"}), status=404, code="COLLECTION_NOT_FOUND"),
    _batch("sqlite_schema", _operations({**_GOOD, "collection": "sqlite_schema"}), status=404, code="COLLECTION_NOT_FOUND"),
    _batch("a closed collection", _operations({**_GOOD, "collection": "closed"}), status=403, code="FORBIDDEN"),
    _batch("a good one, then a bad one", _operations(_GOOD, {**_GOOD, "data": {"title": 5}}), fault=("title", "invalid_type")),
    _batch(
        "a good one, then one for a hidden record",
        _operations(_GOOD, {"method": "DELETE", "collection": "things", "id": HIDDEN}),
        status=404,
        code="DOCUMENT_NOT_FOUND",
    ),
    _batch(
        "ten good ones, then a slug that is taken",
        _operations(*[_GOOD] * 10, {**_GOOD, "data": {"title": "t", "slug": "taken"}}),
        status=409,
        code="UNIQUE_VIOLATION",
    ),
    _batch(
        "a delete, then a refusal", _operations({"method": "DELETE", "collection": "things", "id": THING}, {**_GOOD, "data": {}})
    ),
    _batch("the same operation key twice", '{"operations":[],"operations":[]}', code="INVALID_JSON"),
    _batch("5,000 levels", '{"operations":' + "[" * 5_000 + "]" * 5_000 + "}", code="INVALID_JSON"),
]

_MANY = 9_900_000
"""Bytes just below the limit of a body."""


def large() -> list[Hostile]:
    """Bodies of ten megabytes, made when they are asked for."""
    return [
        broken("10 MB of brackets", "[" * _MANY),
        broken("10 MB of blanks", " " * _MANY),
        broken("10 MB of backslashes in a string", '{"title":"' + "\\" * _MANY),
        broken("10 MB of noughts", '{"count":1' + "0" * _MANY + "}"),
        broken("10 MB of digits behind a point", '{"ratio":0.' + "1" * _MANY),
        send("10 MB of one text", json.dumps({"title": "x" * _MANY}), ("title", "max_length")),
        send("10 MB of emoji", json.dumps({"title": "\U0001f600" * (_MANY // 4)}, ensure_ascii=False), ("title", "max_length")),
        send("10 MB in an unknown field", json.dumps({"title": "t", "nope": "x" * _MANY}), ("nope", "unknown_field")),
        send("10 MB in a name", json.dumps({"title": "t", "x" * _MANY: 1})),
        send("10 MB of base64 that is none", json.dumps({"title": "t", "data": "*" * _MANY}), ("data", "invalid_type")),
        send("10 MB of a pattern not met", json.dumps({"title": "t", "slug": "a" * _MANY + "!"})),
        send("10 MB of an e-mail", json.dumps({"title": "t", "mail": "a@" + "a." * (_MANY // 2)})),
        send("10 MB of tags", json.dumps({"title": "", "rich": "<b>" * (_MANY // 3)})),
        send("a million numbers in json", json.dumps({"title": "", "meta": [1] * 1_000_000})),
        send("a million objects in json", json.dumps({"title": "", "meta": [{}] * 1_000_000})),
        send("300,000 names in json", json.dumps({"title": "", "meta": {f"k{index}": 0 for index in range(300_000)}})),
        send("300,000 unknown names", json.dumps({"title": "t"} | {f"k{index}": 0 for index in range(300_000)})),
        send("1,000 records, all bad", json.dumps([{"title": 5, "count": "x", "nope": 1}] * 1000)),
        send("a million records", "[" + ",".join(['{"title":5}'] * 800_000) + "]"),
        send("a million choices", json.dumps({"title": "t", "tags": ["x"] * 1_000_000})),
        send("batch: a million operations", '{"operations":[' + ",".join(["{}"] * 1_000_000) + "]}", url=_BATCH),
    ]


TABLE: list[Hostile] = [*SYNTAX, *SHAPES, *TYPES, *VALUES, *NAMES, *CHANGES, *BATCHES]
